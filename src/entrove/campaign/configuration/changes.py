"""A configuration in which some keys differ from those of a file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import format_key_path
from entrove.errors import ConfigError


def with_changes(
    config_path: Path, config: CampaignConfig, changes: Mapping[str, Any]
) -> CampaignConfig:
    """Return a configuration in which the keys of `changes` replace those of `config`.

    Args:
        config_path: The file that `config` was read from, for messages.
        config: What the file says.
        changes: Sections and keys as in a file; a section is merged, everything else replaced.

    Raises `ConfigError`, which lists each key that does not fit.
    """
    merged = merge(config.model_dump(exclude_unset=True), changes)
    try:
        return CampaignConfig.model_validate(merged)
    except ValidationError as error:
        changed = ", ".join(format_key_path(key) for key in _keys_of(changes))
        problems = [
            # What concerns several keys has no place of its own.
            f"{config_path}: with {format_key_path(tuple(problem['loc'])) or changed} changed: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from error


def _keys_of(values: Mapping[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all keys that are no sections."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys_of(cast("Mapping[str, Any]", value), (*at, key))
        else:
            yield (*at, key)


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge sections key by key; everything else is replaced.

    >>> merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": 5})
    {'a': {'b': 1, 'c': 4}, 'd': 3, 'e': 5}
    """
    merged = dict(values)
    for key, value in changes.items():
        known = merged.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            sections = cast("Mapping[str, Any]", known), cast("Mapping[str, Any]", value)
            merged[key] = value if _is_another(*sections) else merge(*sections)
        else:
            merged[key] = value
    return merged


def _is_another(known: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether a section gets another name, which says what keys it has: then it is replaced."""
    return "name" in value and known.get("name") != value["name"]
