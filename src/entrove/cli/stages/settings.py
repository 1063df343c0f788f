"""Settings of a stage: sections of a configuration file, changed by options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from pydantic import Field
from rich.console import Console

from entrove.campaign.configuration.changes import merge
from entrove.campaign.configuration.check_models import check_explorer, resolve_model
from entrove.campaign.configuration.config import CampaignConfig, SeedConfig
from entrove.campaign.configuration.config_file import (
    load_yaml,
    problem_at,
    read_config_file,
    validate_values,
)
from entrove.cli.commands.options import say
from entrove.errors import ConfigError, ModelError
from entrove.models.loaded import LoadedModel
from entrove.models.registry import FILE_SUFFIXES, NAMES, load, split_modal

NO_FILE = Path("options of the command line")
"""Stands for a configuration file where none is given: paths are then relative to this folder."""


class StageSettings(CampaignConfig):
    """The sections of a campaign's configuration; name and seeds may be missing."""

    name: str = Field(default="files", description="Name of the campaign.")
    seeds: tuple[SeedConfig, ...] = Field(default=(), description="Crystals to start from.")


@dataclass(frozen=True)
class Given:
    """What a stage command was given.

    Attributes:
        path: The configuration file; it need not exist.
        settings: Its sections, changed by options.
        model_by_option: Whether the model was named by an option: it then explores, and is
            relative to the current folder, not to the file.
    """

    path: Path
    settings: CampaignConfig
    model_by_option: bool = False

    @property
    def model_place(self) -> Path:
        """The path that relative paths of models are taken from."""
        return NO_FILE if self.model_by_option else self.path

    @property
    def seed_files(self) -> list[Path]:
        """Files of the crystals that the configuration names."""
        return [self.path.parent / seed.file for seed in self.settings.seeds]

    def exploring_model(self, structures: Sequence[Atoms]) -> LoadedModel:
        """Load the model that explores, and check that it knows the elements.

        Raises `ConfigError` when it cannot be loaded or used.
        """
        place, settings = self.model_place, self.settings
        if not self.model_by_option:
            explorer = check_explorer(place, settings, structures)
            if explorer is not None:
                return explorer
        return self.learning_model(structures)

    def say_that_it_samples_here(self, messages: Console) -> None:
        """Say that an executor of the configuration is not used, where it names one."""
        name = self.settings.sampling.executor.name
        if name != "local":
            say(
                f"this command runs on this machine: sampling.executor ({name}) is for "
                "'entrove run'",
                to=messages,
            )

    def learning_model(self, structures: Sequence[Atoms]) -> LoadedModel:
        """Load the model that is tuned, and check that it knows the elements.

        Raises `ConfigError` when it cannot be loaded or used.
        """
        place, settings = self.model_place, self.settings.model
        try:
            model = load(resolve_model(place, settings.name), device=settings.device)
            model.check_species(structures)
        except ModelError as error:
            raise problem_at(place, ("model", "name"), str(error)) from error
        return model


def read_settings(
    config: Path | None, assignments: Sequence[str], options: Mapping[str, Any]
) -> Given:
    """Read sections of a configuration and change them.

    Args:
        config: A configuration, as of a campaign; name and seeds may be missing in it. None: all
            keys have their defaults.
        assignments: Texts "section.key=value", with values in YAML.
        options: Values of options by the path of their key, such as "regime.pressures_GPa". None
            stands for an option that was not given.

    What `control` stands for is set, as in a campaign.

    Raises `ConfigError`, which names the key and the remedy, for what does not fit.
    """
    changes: dict[str, Any] = {}
    for key, value in options.items():
        if value is not None:
            changes = merge(changes, _nested(key, value))
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {assignment}: give a key and its value, such as --set training.epochs=10"
            )
        try:
            changes = merge(changes, _nested(key.strip(), load_yaml(text)))
        except yaml.YAMLError as error:
            problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
            raise ConfigError(
                f"--set {assignment}: {problem} (the value is not valid YAML)"
            ) from error
    before = read_config_file(config, StageSettings) if config else StageSettings()
    settings = before
    if changes:
        source = f"{config} with these options" if config else "options"
        merged = merge(before.model_dump(mode="json", exclude_unset=True), changes)
        settings = validate_values(merged, StageSettings, source)
    model_by_option = options.get("model.name") is not None
    return Given(config or NO_FILE, settings.resolve_control(), model_by_option)


def numbers(text: str | None, option: str, example: str) -> list[float] | None:
    """Read numbers that are separated by commas or blanks.

    >>> numbers("300, 1000", "--temperatures-K", "300,800")
    [300.0, 1000.0]

    Raises `ConfigError` for anything else.
    """
    if text is None:
        return None
    try:
        found = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        found = []
    if not found:
        raise ConfigError(f"{option} {text!r}: give numbers, such as {option} {example}")
    return found


def engine_of(text: str | None) -> dict[str, str] | None:
    """Return the section of an engine from its short form.

    >>> engine_of("gpaw"), engine_of("my_package:Calculator")
    ({'name': 'gpaw'}, {'name': 'ase', 'calculator': 'my_package:Calculator'})
    >>> engine_of("7net-0")
    {'name': 'mlip', 'model': '7net-0'}
    """
    if text is None:
        return None
    if ":" in text:
        return {"name": "ase", "calculator": text}
    if split_modal(text)[0] in NAMES or text.endswith(FILE_SUFFIXES):
        return {"name": "mlip", "model": text}
    return {"name": text}


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value
