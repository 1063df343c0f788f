"""Check that a configuration can run on this machine: its files, elements, models and engine.

All of it is checked before anything takes time, so that no campaign fails hours after its start.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrove.campaign.configuration.changes import with_changes
from entrove.campaign.configuration.check_magnetism import check_magnetism
from entrove.campaign.configuration.check_models import check_explorer, check_tuned_model
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import KeyPath, problem_at, read_config_file
from entrove.campaign.configuration.places import executors_of
from entrove.campaign.configuration.seeds import Seed, read_seeds
from entrove.campaign.configuration.settled import read_settled, with_settled_version
from entrove.campaign.workspace import Workspace
from entrove.errors import ConfigError, EntroveError
from entrove.execution.checks import check_usable
from entrove.execution.settings import SlurmExecution
from entrove.labelling.checks import check_engine, check_executor
from entrove.models.loaded import LoadedModel
from entrove.sampling.vacuum import describe_vacuum, find_closing
from entrove.structures import species_of

_OF_BAROSTAT = ("ensemble", "barostat_time_fs", "timestep_fs")
"""Keys of `sampling` that decide whether time steps follow the cell."""


@dataclass(frozen=True)
class CheckedCampaign:
    """A configuration that can run on this machine, and what the check has loaded.

    Attributes:
        config: The configuration, with absolute paths and an engine bound to the elements of the
            seeds.
        config_path: The file that it was read from.
        workspace: The files of the campaign; none of them needs to exist.
        seeds: Each phase with its structure.
        model_name: The model that is tuned, as `entrove.models.registry.load` takes it.
        foundation: That model, loaded.
        explorer: The model that explores in its place. None: the foundation model explores the
            first round, the best tuned one all others.
    """

    config: CampaignConfig
    config_path: Path
    workspace: Workspace
    seeds: tuple[Seed, ...]
    model_name: str
    foundation: LoadedModel
    explorer: LoadedModel | None = None

    @property
    def label_cache(self) -> Path:
        """The shared cache of labels that the configuration names, or the campaign's own."""
        return self.config.labelling.cache or self.workspace.label_cache


def check_campaign(
    config_path: Path,
    folder: Path | None = None,
    *,
    runs_here: bool = True,
    changes: Mapping[str, Any] | None = None,
) -> CheckedCampaign:
    """Read a configuration and check that a campaign can run on this machine; nothing is written.

    Args:
        config_path: The YAML file, as `entrove init` writes it.
        folder: Folder of the campaign, instead of the one that the configuration names.
        runs_here: False for a plan, which may be made on a machine without the scheduler.
        changes: Keys that differ from those of the file, see `with_changes`.

    Returns the checked campaign with its models loaded, which takes seconds.

    Raises `ConfigError`, which names the file, the line, the key and the remedy.
    """
    config, seeds = read_campaign(config_path, runs_here=runs_here, changes=changes)
    workspace = Workspace((folder or config_path.parent / config.folder).resolve())
    check_barostat(config_path, config, workspace.config)
    _check_report(config_path)
    structures = [seed.atoms for seed in seeds]
    model_name, foundation = check_tuned_model(config_path, config, structures)
    explorer = check_explorer(config_path, config, structures)
    _check_features(config_path, config, foundation)
    config = with_settled_version(config, workspace.config)
    if runs_here:
        _check_folder(config_path, config, workspace.folder)
    return CheckedCampaign(config, config_path, workspace, seeds, model_name, foundation, explorer)


def read_campaign(
    config_path: Path, *, runs_here: bool = True, changes: Mapping[str, Any] | None = None
) -> tuple[CampaignConfig, tuple[Seed, ...]]:
    """Read a configuration and its seeds, and check that they can be labelled as configured.

    Args:
        config_path: The YAML file.
        runs_here: Whether the executor must be usable on this machine.
        changes: Keys that differ from those of the file, see `with_changes`.

    Returns the configuration and the seeds. Paths of labelling are absolute, and the engine is
    bound to the elements of the seeds, so that its level of theory is final.

    Raises `ConfigError`, which names the file, the line, the key and the remedy.
    """
    config = read_config_file(config_path, CampaignConfig)
    if changes:
        config = with_changes(config_path, config, changes)
    config = config.resolve_control()
    labelling = config.labelling.resolved_against(config_path.parent.absolute())
    config = config.model_copy(update={"labelling": labelling})
    _check_quotas(config_path, config)
    seeds = read_seeds(config_path, config)
    _check_suite(config_path, config, seeds)
    _check_vacuum(config_path, config, seeds)
    check_magnetism(config_path, config, seeds)
    species = species_of([seed.atoms for seed in seeds])
    _check_labelling(config_path, config, species, runs_here=runs_here)
    bound = labelling.model_copy(update={"engine": labelling.engine.bound_to(species)})
    return config.model_copy(update={"labelling": bound}), seeds


def check_barostat(config_path: Path, config: CampaignConfig, settled: Path | None = None) -> None:
    """Refuse NPT runs whose time steps cannot follow the cell.

    Args:
        config_path: The file of the configuration, for the message.
        config: The configuration.
        settled: The resolved configuration of the campaign, which need not exist. One that was
            begun with just this barostat, before this was checked, goes on.

    Raises `ConfigError`.
    """
    sampling = config.sampling
    problem = sampling.problem_of_barostat
    if not problem:
        return
    if settled is not None and settled.exists():
        begun = read_settled(settled).sampling
        if all(getattr(begun, name) == getattr(sampling, name) for name in _OF_BAROSTAT):
            return
    raise problem_at(config_path, ("sampling", "barostat_time_fs"), problem)


def _check_quotas(config_path: Path, config: CampaignConfig) -> None:
    """Refuse quotas for pools that do not exist: their places would silently stay empty."""
    for name in config.selection.quotas:
        if name in config.pools:
            continue
        if name == "ordered":
            remedy = (
                "this pool is switched off by sampling.ordered; set perturbed or random there, "
                "or remove it."
            )
        else:
            near = difflib.get_close_matches(name, config.pools, n=1)
            remedy = (
                f"no such pool; did you mean '{near[0]}'?" if near else "no such pool; remove it."
            )
        raise problem_at(
            config_path,
            ("selection", "quotas", name),
            f"{remedy} Pools of this campaign: {', '.join(config.pools)}",
        )


def _check_suite(config_path: Path, config: CampaignConfig, seeds: Sequence[Seed]) -> None:
    """Refuse thresholds for phases that do not exist: no model could miss them."""
    if config.suite.enabled:
        for key_path, problem in config.suite.unknown_phases(seed.phase for seed in seeds):
            raise problem_at(config_path, ("suite", *key_path), problem)


def _check_vacuum(config_path: Path, config: CampaignConfig, seeds: Sequence[Seed]) -> None:
    """Refuse what would close the vacuum of a slab, layer, wire or molecule."""
    for seed in seeds:
        closing = find_closing(
            seed.phase, seed.atoms, config.regime.pressures_GPa, config.sampling.ensemble
        )
        if closing is not None:
            raise problem_at(config_path, *closing)
        vacuum = describe_vacuum(seed.atoms)
        if vacuum and "ordered" in config.pools:
            raise problem_at(
                config_path,
                ("sampling", "ordered"),
                f"the seed {seed.phase} is {vacuum}, and ordered cells are relaxed as "
                "crystals, without vacuum; give ordered: {perturbed: 0, random: 0}",
            )


def _check_labelling(
    config_path: Path, config: CampaignConfig, species: list[str], *, runs_here: bool
) -> None:
    key_path: KeyPath = ("labelling", "executor", "name")
    try:
        if runs_here:
            check_executor(config.labelling)
            for section, executor in executors_of(config).items():
                key_path = (section, "executor", "name")
                check_usable(executor)
        key_path = ("labelling", "engine", "name")
        check_engine(config.labelling, species)
    except EntroveError as error:
        raise problem_at(config_path, key_path, str(error)) from error


def _check_folder(config_path: Path, config: CampaignConfig, folder: Path) -> None:
    """Refuse a folder in which jobs cannot run, before hours are spent on what comes first."""
    for section, executor in executors_of(config).items():
        if not isinstance(executor, SlurmExecution):
            continue
        try:
            executor.check_folder(folder)
        except EntroveError as error:
            raise problem_at(config_path, (section, "executor", "name"), str(error)) from error


def _check_features(config_path: Path, config: CampaignConfig, model: LoadedModel) -> None:
    """Rows of labels in a model's own features need a model that shows them."""
    if config.entropy.kind != "labels" or config.selection.features in ("auto", "fingerprint"):
        return
    of_layer = config.selection.features == "model"
    if (model.make_features if of_layer else model.make_weight_gradients) is None:
        what = "per-atom features" if of_layer else "gradients by its weights"
        raise problem_at(
            config_path,
            ("selection", "features"),
            f"{model.name} gives no access to its {what}; set it to fingerprint, or tune a "
            "SevenNet or eager NequIP/Allegro model",
        )


def _check_report(config_path: Path) -> None:
    from entrove._optional import require

    try:
        require("plotly", extra="report")
        require("jinja2", extra="report")
    except EntroveError as error:
        raise ConfigError(f"{config_path}: the report cannot be written: {error}") from error
