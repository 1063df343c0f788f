"""The configuration that a campaign was started with, and what may still change."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import format_key_path
from entrove.errors import CampaignError
from entrove.files import replace_text

_HEADER = (
    "# The configuration of this campaign with every key resolved, written by entrove. "
    "Edit your own file instead.\n"
)

FREE_TO_CHANGE = (
    ("stopping",),
    ("model", "device"),
    ("model", "threads"),
    ("model", "verify_batching"),
    ("labelling", "executor"),
    ("labelling", "time_limit_s"),
    ("labelling", "longer_try_factor"),
    ("labelling", "max_attempts"),
    ("labelling", "keep_folders"),
    ("labelling", "cache"),
    ("labelling", "engine", "command"),
    ("labelling", "engine", "pseudopotential_folder"),
    ("labelling", "engine", "potential_folder"),
    ("labelling", "engine", "data_folder"),
    ("labelling", "engine", "device"),
    ("labelling", "engine", "max_scf_steps"),
    ("folder",),
)
"""Keys that determine how much is computed, or where, but not what."""


def settle_config(path: Path, config: CampaignConfig) -> None:
    """Write the resolved configuration, and check that a continued campaign has the same one.

    Raises `CampaignError` when a key that determines what is computed differs.
    """
    wanted = config.model_dump(mode="json")
    if path.exists():
        found = read_settled(path).model_dump(mode="json")
        changed = [key for key in _differences(found, wanted) if not _may_change(key)]
        if changed:
            listing = "; ".join(
                f"{format_key_path(key)}: {_look_up(found, key)!r} before, "
                f"{_look_up(wanted, key)!r} now"
                for key in changed[:5]
            )
            raise CampaignError(
                f"{path.parent}: this campaign was started with another configuration "
                f"({listing}); put the old values back, or choose another folder with --folder"
            )
    text = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
    replace_text(path, _HEADER + text)


def read_settled(path: Path) -> CampaignConfig:
    """Read the configuration of a campaign; keys that were added since get their defaults.

    The default of a key is what was done before the key existed. The version of this file's
    format is that of the folder, which is in the ledger. Raises `CampaignError` when the file has
    keys that this version does not know.
    """
    try:
        return CampaignConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        problems = (
            "; ".join(
                f"{format_key_path(problem['loc'])}: {problem['msg']}"
                for problem in error.errors()[:5]
            )
            if isinstance(error, ValidationError)
            else str(error)
        )
        raise CampaignError(
            f"{path}: this version of Entrove does not understand the configuration that the "
            f"campaign was started with ({problems}); use the version that started it"
        ) from error


def with_settled_version(config: CampaignConfig, settled: Path) -> CampaignConfig:
    """Leave the engine's version out of a campaign that was started before versions counted.

    Args:
        config: The configuration, its engine bound to the version that is installed.
        settled: The file that `settle_config` writes; it need not exist.

    The labels of such a campaign have a level of theory without a version. It goes on with that
    level, and only with labels of the version that has computed the others.
    """
    if not settled.is_file():
        return config
    engine = config.labelling.engine
    if read_settled(settled).labelling.engine.program_version or not engine.program_version:
        return config
    unversioned = engine.model_copy(update={"program_version": ""})
    labelling = config.labelling.model_copy(update={"engine": unversioned})
    return config.model_copy(update={"labelling": labelling})


def _differences(
    found: Any, wanted: Any, at: tuple[str | int, ...] = ()
) -> list[tuple[str | int, ...]]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            different
            for key in {**found, **wanted}
            for different in _differences(found.get(key), wanted.get(key), (*at, key))
        ]
    return [] if found == wanted else [at]


def _may_change(key: tuple[str | int, ...]) -> bool:
    return any(key[: len(free)] == free for free in FREE_TO_CHANGE)


def _look_up(values: Any, key: tuple[str | int, ...]) -> Any:
    for part in key:
        values = values.get(part) if isinstance(values, dict) else None
    return values
