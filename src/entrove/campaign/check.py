"""Check a configuration against the world before anything costs time: files, elements, engines."""

from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.campaign.config import CampaignConfig
from entrove.campaign.config_file import KeyPath, locate, read_config_file
from entrove.campaign.workspace import Workspace
from entrove.errors import ConfigError, EntroveError
from entrove.labelling.checks import check_engine, check_executor
from entrove.models.loaded import LoadedModel
from entrove.structures import copy_structure, read_structures, species_of

LONGEST_REASONABLE_CELL_A = 1000.0


@dataclass(frozen=True)
class Seed:
    """A phase and the structure that it was read from."""

    phase: str
    atoms: Atoms


@dataclass(frozen=True)
class CheckedCampaign:
    """A configuration that can run here, and what the check had to load."""

    config: CampaignConfig
    config_path: Path
    workspace: Workspace
    seeds: tuple[Seed, ...]
    model_name: str  # as `entrove.models.registry.load` takes it
    foundation: LoadedModel


def check_campaign(config_path: Path, folder: Path | None = None) -> CheckedCampaign:
    """Read and check a configuration; nothing is written.

    `folder` overrides the configuration's own. Raises `ConfigError` with file, key and remedy.
    """
    config, seeds = read_campaign(config_path)
    _check_report(config_path)
    model_name, foundation = _check_model(config_path, config, seeds)
    workspace = Workspace((folder or config_path.parent / config.folder).resolve())
    return CheckedCampaign(config, config_path, workspace, seeds, model_name, foundation)


def read_campaign(config_path: Path) -> tuple[CampaignConfig, tuple[Seed, ...]]:
    """Read a configuration and its seeds, and check that they can be labelled as configured.

    Paths of labelling are full ones, and its engine is bound to the elements of the seeds: the level of
    theory is final.
    """
    config = read_config_file(config_path, CampaignConfig)
    labelling = config.labelling.resolved_against(config_path.parent.absolute())
    config = config.model_copy(update={"labelling": labelling})
    seeds = tuple(_read_seed(config_path, config, index) for index in range(len(config.seeds)))
    species = species_of([seed.atoms for seed in seeds])
    _check_labelling(config_path, config, species)
    bound = labelling.model_copy(update={"engine": labelling.engine.bound_to(species)})
    return config.model_copy(update={"labelling": bound}), seeds


def _problem(config_path: Path, key_path: KeyPath, message: str) -> ConfigError:
    return ConfigError(f"{locate(config_path, key_path)}: {message}")


def _read_seed(config_path: Path, config: CampaignConfig, index: int) -> Seed:
    seed = config.seeds[index]
    key_path = ("seeds", index, "file")
    path = config_path.parent / seed.file
    try:
        structures = read_structures(path)
    except EntroveError as error:
        raise _problem(config_path, key_path, str(error)) from error
    if not -len(structures) <= seed.index < len(structures):
        raise _problem(
            config_path,
            ("seeds", index, "index"),
            f"got {seed.index}, but {path} holds {len(structures)} structures; count from 0",
        )
    atoms = copy_structure(structures[seed.index])
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise _problem(
            config_path,
            key_path,
            f"{path}: a seed must be periodic in three dimensions, this one has pbc={atoms.pbc.tolist()}; "
            "give a crystal",
        )
    if max(atoms.cell.lengths()) > LONGEST_REASONABLE_CELL_A:
        raise _problem(
            config_path, key_path, f"{path}: a cell edge of {max(atoms.cell.lengths()):.0f} A; is it in A?"
        )
    return Seed(seed.phase, atoms)


def _check_labelling(config_path: Path, config: CampaignConfig, species: list[str]) -> None:
    key_path = ("labelling", "executor", "name")
    try:
        check_executor(config.labelling)
        key_path = ("labelling", "engine", "name")
        check_engine(config.labelling, species)
    except EntroveError as error:
        raise _problem(config_path, key_path, str(error)) from error


def _check_report(config_path: Path) -> None:
    from entrove._optional import require

    try:
        require("plotly", extra="report")
        require("jinja2", extra="report")
    except EntroveError as error:
        raise ConfigError(f"{config_path}: the report cannot be written: {error}") from error


def _check_model(
    config_path: Path, config: CampaignConfig, seeds: tuple[Seed, ...]
) -> tuple[str, LoadedModel]:
    from entrove.models.registry import load

    try:
        name = _resolve_model(config_path, config.model.name)
        model = load(name, device=config.model.device)
        model.check_species([seed.atoms for seed in seeds])
    except EntroveError as error:
        raise _problem(config_path, ("model", "name"), str(error)) from error
    framework = _framework_of(name)
    if framework != config.training.framework:
        raise _problem(
            config_path,
            ("training", "framework"),
            f"got '{config.training.framework}', but {config.model.name} is a {framework} model; "
            + (
                f"set training.framework to '{framework}'"
                if framework != "foreign"
                else "no framework can tune it"
            ),
        )
    return name, model


def _resolve_model(config_path: Path, name: str) -> str:
    """Find files relative to the configuration, and the checkpoint inside a model bundle."""
    from entrove.training.bundle import checkpoint_of

    base, at, modal = name.partition("@")
    path = config_path.parent / base
    if path.is_dir():
        return checkpoint_of(path)
    return f"{path}{at}{modal}" if path.is_file() else name


def _framework_of(name: str) -> str:
    from entrove.models.registry import ALLEGRO_NAMES, SEVENNET_NAMES

    base = name.partition("@")[0]
    if base in SEVENNET_NAMES or base.endswith(".pth"):
        return "sevennet"
    return "nequip" if base in ALLEGRO_NAMES or base.endswith((".nequip.zip", ".ckpt")) else "foreign"
