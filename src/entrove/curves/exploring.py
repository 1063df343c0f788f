"""Explorations of a study: campaigns that end at the pools of their first round."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.campaign.configuration.changes import merge
from entrove.campaign.configuration.check import (
    CheckedCampaign,
    check_barostat,
    check_campaign,
    read_campaign,
)
from entrove.campaign.configuration.check_models import resolve_model
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.settled import FILTERS_OF_ADMISSIONS, read_settled
from entrove.campaign.journal.progress import ProgressListener
from entrove.campaign.loop import explore_only
from entrove.campaign.stages.context import CampaignRun
from entrove.curves.config import Changes, StudyConfig
from entrove.curves.hashing import digest, hashes_of_modules
from entrove.errors import ConfigError
from entrove.files import hash_of_file
from entrove.labelling.config import LabellingConfig
from entrove.models.registry import split_modal
from entrove.sampling.candidates import Candidate, read_candidates

INDEPENDENT_SEED = 1_000_003
"""Added to the seed of a study for its independent test set; no draw gets that far."""

NOT_EXPLORED_WITH: dict[str, Any] = {
    "name": True,
    "folder": True,
    "selection": True,
    "labelling": True,
    "training": True,
    "validation": True,
    "suite": True,
    "stopping": True,
    "sampling": {"executor", "hold_out"},
}
"""Settings of a campaign that change no exploration, but for `FILTERS_OF_ADMISSIONS` and the
numbers that follow from labels: of admissions, and of independent snapshots."""


WHERE_IT_RUNS = ("device", "threads", "verify_batching")
"""Keys of `model` that say where it is evaluated, or what is checked before."""


def check_changes(config_path: Path, name: str, changes: Changes) -> None:
    """Read a campaign with some keys changed, without loading its models.

    Args:
        config_path: The file of the configuration.
        name: Where the study has the changes, for the message.
        changes: The keys and their values.

    Raises `ConfigError` when the campaign refuses them.
    """
    try:
        read_campaign(config_path, changes=changes)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def exploration_key(
    config_path: Path, config: CampaignConfig, seeds: Sequence[Atoms], *, walkers: bool
) -> str:
    """Hash all that an exploration depends on.

    Args:
        config_path: The file of the configuration, from which models are resolved.
        config: The configuration.
        seeds: Its crystals.
        walkers: Whether walkers run, and not the anchors alone.

    Filters of admissions count where they differ from their defaults, and models where they are
    files, so that other explorations keep the keys which they had before these counted.
    """
    selection, filters = config.selection, {}
    for name in FILTERS_OF_ADMISSIONS:
        value = getattr(selection, name)
        if walkers and value != type(selection).model_fields[name].default:
            filters[name] = value
    return digest(
        config.model_dump(mode="json", exclude=NOT_EXPLORED_WITH),
        selection.admissions_per_label * selection.count,
        config.sampling.independent_per_label * selection.count,
        list(seeds),
        *([filters] if filters else []),
        *hashes_of_models(config_path, models_that_explore(config)),
    )


def models_that_explore(config: CampaignConfig) -> Sequence[str]:
    """Names or files of the models that explore."""
    given = config.model.explore_with or config.model.name
    return [given] if isinstance(given, str) else given


def hashes_of_models(config_path: Path, names: Sequence[str]) -> list[str]:
    """Hashes of the models that are files or come from a module beside them; none of other names.

    Args:
        config_path: The configuration from which files are resolved.
        names: Names or files, with a fidelity or without.
    """
    files = [Path(split_modal(resolve_model(config_path, name))[0]) for name in names]
    of_files = [hash_of_file(file) for file in files if file.is_file()]
    return of_files + hashes_of_modules(names)


def _wherever_it_runs(config: CampaignConfig) -> CampaignConfig:
    """A configuration with the defaults of `WHERE_IT_RUNS`, which change no exploration."""
    fields = type(config.model).model_fields
    defaults = {name: fields[name].default for name in WHERE_IT_RUNS}
    return config.model_copy(update={"model": config.model.model_copy(update=defaults)})


def _as_begun(path: Path, config: CampaignConfig) -> CampaignConfig:
    """The configuration that an exploration goes on with.

    Args:
        path: The resolved configuration in its folder; it need not exist.
        config: That of the study.

    The folder is that of the key, so that whatever has changed since it was begun changes no
    exploration. A campaign of its own would refuse some of these changes.
    """
    if not path.exists():
        # One exploration serves studies with different engines.
        return config.model_copy(update={"labelling": LabellingConfig(), "folder": "."})
    begun = read_settled(path)
    sampling = begun.sampling.model_copy(update={"executor": config.sampling.executor})
    now = {name: getattr(config.model, name) for name in WHERE_IT_RUNS}
    model = begun.model.model_copy(update=now)
    return begun.model_copy(update={"sampling": sampling, "model": model})


@dataclass(frozen=True)
class Explored:
    """A finished exploration: its campaign, and the hash of all that it depends on.

    The campaign of `run` has the engine of the configuration, although nothing was labelled.
    """

    run: CampaignRun
    key: str


@dataclass(frozen=True)
class Explorer:
    """Runs the explorations of a study, each in a folder of its own.

    Attributes:
        study: The settings of the study.
        checked: Its campaign, with the models loaded that all explorations share.
        folder: Where the folders of the explorations are.
        listener: Receives the progress.
    """

    study: StudyConfig
    checked: CheckedCampaign
    folder: Path
    listener: ProgressListener

    def check(self) -> None:
        """Read what all explorations change; raises `ConfigError` for what a campaign refuses."""
        explorations = {
            f"explorations.{name}": changes for name, changes in self.study.explorations.items()
        }
        independent = {"tests.independent": self.study.tests.independent}
        for name, changes in (independent | explorations).items():
            check_changes(self.checked.config_path, name, changes)
        for name, changes in self.study.explorations.items():
            self._check_barostat(name, changes)

    def _check_barostat(self, name: str, changes: Changes) -> None:
        """Refuse NPT whose time steps cannot follow the cell, unless it was begun before that."""
        if any(self.folder.glob(f"{name}-*")):
            return
        path = self.checked.config_path
        config, _ = read_campaign(path, changes=changes)
        try:
            check_barostat(path, config)
        except ConfigError as error:
            raise ConfigError(f"explorations.{name}: {error}") from error

    def explore(self, name: str, draw: int) -> Explored:
        """Run an exploration of a draw; a finished one returns at once."""
        return self._run(name, self.study.explorations[name], draw, walkers=True)

    def independent(self) -> tuple[list[Candidate], str]:
        """Make the independent test set, the anchors of a run with another seed; and its hash."""
        changes = self.study.tests.independent
        found = self._run("independent", changes, INDEPENDENT_SEED, walkers=False)
        return read_candidates(found.run.files.round(0).anchors), found.key

    def _run(self, name: str, changes: Changes, draw: int, *, walkers: bool) -> Explored:
        changes = merge(changes, {"random_seed": self.study.random_seed + draw})
        campaign = self._check(changes)
        config = campaign.config
        structures = [seed.atoms for seed in campaign.seeds]
        key, before = (
            exploration_key(campaign.config_path, given, structures, walkers=walkers)
            for given in (_wherever_it_runs(config), config)
        )
        if (self.folder / f"{name}-{draw}-{before[:10]}").is_dir():
            key = before  # begun when it mattered to the key where it runs
        folder = self.folder / f"{name}-{draw}-{key[:10]}"
        workspace = replace(campaign.workspace, folder=folder.resolve())
        unlabelled = replace(
            campaign, config=_as_begun(workspace.config, config), workspace=workspace
        )
        # The tests of a study come from other draws: it needs no validation set.
        run = explore_only(unlabelled, self.listener, walkers=walkers, hold_out=False)
        return Explored(replace(run, campaign=replace(unlabelled, config=config)), key)

    def _check(self, changes: Changes) -> CheckedCampaign:
        path = self.checked.config_path
        config, seeds = read_campaign(path, changes=changes)
        if config.model != self.checked.config.model:
            return check_campaign(path, changes=changes)
        return replace(self.checked, config=config, seeds=seeds)
