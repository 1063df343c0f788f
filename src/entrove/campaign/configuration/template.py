"""Write a short configuration to start from, as `entrove init` does."""

import filecmp
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any, Literal, get_args

from ase import Atoms

from entrove.campaign.configuration.check_magnetism import moments_to_start_from
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import validate_values, yaml_on_one_line
from entrove.campaign.configuration.locate import FILE_NAME
from entrove.campaign.configuration.schema import EDITOR_LINE, write_schema
from entrove.campaign.configuration.seeds import (
    Seed,
    as_name,
    describe_crystal,
    name_of,
    read_seed,
    repeats_of_one_atom,
)
from entrove.errors import ConfigError
from entrove.files import replace_text
from entrove.labelling.engines.pseudopotentials import find_pseudopotentials
from entrove.sampling.vacuum import describe_vacuum
from entrove.structures import species_of

EngineName = Literal["gpaw", "espresso", "vasp", "cp2k", "ase", "mlip"]
ExecutorName = Literal["local", "slurm"]
Size = Literal["standard", "quick"]

ENGINES = get_args(EngineName)
EXECUTORS = get_args(ExecutorName)
SIZES = get_args(Size)

SILICON_FILE = "diamond.xyz"
"""The seed of a folder that is begun without one."""

QUICK_TEACHER = "7net-l3i5"
"""The potential that labels a quick campaign where no engine was asked for."""

RYDBERG_60_EV = 816.0
"""Cutoff of the wave functions that most pseudopotentials are converged at, in eV."""

STANDARD: dict[str, Any] = {"selection": {"count": 24}, "stopping": {"rounds": 5}}

QUICK: dict[str, Any] = {
    "sampling": {
        "thermalise_steps": 40,
        "chunk_steps": 40,
        "chunks": 3,
        "snapshot_every": 20,
        "biases": [
            {"entropy": "information", "mode": "per_atom", "fractions": [0.6]},
            {"entropy": "none"},
        ],
        "anchors": {"md_steps": 40, "md_snapshots": 2},
        "ordered": {"perturbed": 0, "random": 0},
        "hold_out": {"md_steps": 60, "md_snapshots": 1, "interval": 0.5},
    },
    "selection": {"count": 8},
    "training": {"epochs": 10},
    "suite": {"phonons": {"enabled": False}, "dynamics": {"steps": 300}},
    "stopping": {"rounds": 2},
}
"""What makes a campaign quick: its parts are those of any other, each of them smaller."""

COMMENTS: dict[str, str] = {
    "seeds": "the crystals to start from, one per phase",
    "regime": "where the potential will be used: each pressure with each temperature",
    "model": "the foundation model that explores and is tuned",
    "sampling": "other than the defaults: a quick campaign, or no ordered cells with vacuum",
    "selection": "count: labels per round",
    "labelling": "engine: gpaw, espresso, vasp, cp2k, ase (any calculator), mlip (a potential)",
    "training": "fewer epochs than by default, for a quick campaign",
    "suite": "checks of the model at the end",
    "stopping": "the first of rounds, labels, least_improvement, force_mae_meV_per_A that holds",
}
"""What is said about a section."""

SLURM_HINT = 'executor: {name: slurm, partition: cpu, walltime: "12:00:00", max_jobs: 8}'


@dataclass(frozen=True)
class Choices:
    """What a user decides when a campaign is begun; everything else has a default.

    Attributes:
        engine: What computes the labels; None: GPAW, or for a quick campaign a larger potential.
        engine_argument: `module:factory` of an ASE calculator, or the model of the engine `mlip`.
        executor: Where labels run.
        slurm: Keys of the executor `slurm`.
        non_magnetic: Label magnetic elements without spin polarisation.
        count: Labels per round; None for that of the size.
        size: "quick" shows the whole way in minutes.
    """

    engine: EngineName | None = None
    engine_argument: str | None = None
    executor: ExecutorName = "local"
    slurm: Mapping[str, Any] = field(default_factory=dict)
    non_magnetic: bool = False
    count: int | None = None
    size: Size = "standard"


def write_starting_point(
    folder: Path,
    seed_files: Sequence[Path],
    choices: Choices = Choices(),  # frozen
) -> Path:
    """Create a folder with a short campaign.yaml, its seed structures and a JSON schema.

    Args:
        folder: The folder; the campaign gets its name.
        seed_files: Structure files, one per phase; each phase gets the name of its file. Without
            any, the seed is silicon in the diamond structure.
        choices: Engine, executor, magnetism, size.

    Cells of one atom are repeated, magnetic elements get two spin channels, and slabs, layers,
    wires and molecules no pressure. Characters that a name must not contain are replaced by an
    underscore. Keys that are not in the file have their defaults. Returns the path of the
    configuration.

    Raises `ConfigError` when the folder has a configuration already, or another file of a seed's
    name, two seeds share a name, a choice does not fit, or an engine cannot label these elements,
    and `StructureError` for a file that cannot be a seed. Then nothing is written.
    """
    names = [name_of(path) for path in seed_files]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"two seed files have the same name ({', '.join(names)}), and each phase is named "
            "after its file; rename one of them"
        )
    crystals = [read_seed(path)[0] for path in seed_files]
    require_nothing_replaced(folder, seed_files)
    if not crystals:
        names, crystals = ["diamond"], [_silicon()]
    seeds = [Seed(name, atoms) for name, atoms in zip(names, crystals, strict=True)]
    given = _settings(as_name(folder.resolve().name), seeds, choices)
    files = [path.name for path in seed_files] or [SILICON_FILE]
    given["seeds"] = [
        _seed_entry(name, file, atoms)
        for name, file, atoms in zip(names, files, crystals, strict=True)
    ]
    validate_values(given, CampaignConfig, "these options")
    folder.mkdir(parents=True, exist_ok=True)
    for path in seed_files:
        if not (folder / path.name).exists():
            copyfile(path, folder / path.name)
    if not seed_files:
        replace_text(folder / SILICON_FILE, _silicon_text())
    write_schema(folder, CampaignConfig)
    target = folder / FILE_NAME
    replace_text(target, "\n".join(_lines(target.name, given, seeds, choices)) + "\n")
    return target


def require_nothing_replaced(folder: Path, seed_files: Sequence[Path]) -> None:
    """Raise `ConfigError` where a folder has a configuration, or another file of a seed's name.

    Args:
        folder: The folder of the configuration; it need not exist.
        seed_files: Structure files; without any, the seed is silicon.
    """
    target = folder / FILE_NAME
    if target.exists():
        raise ConfigError(f"{target}: exists already; choose another folder, or edit this file")
    silicon = folder / SILICON_FILE
    others = [
        folder / path.name
        for path in seed_files
        if (folder / path.name).exists()
        and not filecmp.cmp(path, folder / path.name, shallow=False)
    ]
    if not seed_files and silicon.exists() and not _holds(silicon, _silicon_text()):
        others = [silicon]
    for other in others:
        raise ConfigError(
            f"{other}: exists already, with other content than the seed of this name; choose "
            "another folder, or rename one of the two files"
        )


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _silicon() -> Atoms:
    from ase.build import bulk

    return bulk("Si", cubic=True)


def _silicon_text() -> str:
    from ase.io import write

    text = io.StringIO()
    write(text, _silicon(), format="extxyz")
    return text.getvalue()


def magnetic_elements(seed_files: Sequence[Path]) -> list[str]:
    """Return the elements of seeds that can be magnetic, or have magnetic moments in a file."""
    seeds = [Seed(name_of(path), read_seed(path)[0]) for path in seed_files]
    return list(moments_to_start_from(seeds))


def _seed_entry(name: str, file: str, atoms: Atoms) -> dict[str, Any]:
    entry: dict[str, Any] = {"phase": name, "file": file}
    if len(atoms) == 1:
        entry["repeat"] = list(repeats_of_one_atom(atoms))
    return entry


def _settings(name: str, seeds: Sequence[Seed], choices: Choices) -> dict[str, Any]:
    """Return the sections of the file in their order."""
    sized = QUICK if choices.size == "quick" else STANDARD
    pressures = [0.0] if choices.size == "quick" else [0.0, 10.0]
    given: dict[str, Any] = {
        "name": name,
        "seeds": [],
        "regime": {"pressures_GPa": pressures, "temperatures_K": [300.0, 1000.0]},
        "model": {"name": "7net-0"},
        **({"sampling": dict(sized["sampling"])} if "sampling" in sized else {}),
        "selection": dict(sized["selection"]),
        "labelling": {"engine": _engine(seeds, choices), "executor": _executor(choices)},
        **{part: dict(sized[part]) for part in ("training", "suite") if part in sized},
        "stopping": dict(sized["stopping"]),
    }
    if choices.count is not None:
        given["selection"]["count"] = choices.count
    if choices.non_magnetic:
        given["regime"]["non_magnetic"] = True
    if any(describe_vacuum(seed.atoms) for seed in seeds):
        # A pressure would close the vacuum, and random crystals have none.
        given["regime"]["pressures_GPa"] = [0.0]
        given.setdefault("sampling", {})["ordered"] = {"perturbed": 0, "random": 0}
    return given


def _engine(seeds: Sequence[Seed], choices: Choices) -> dict[str, Any]:
    """Return the section of the engine: what it needs, as far as it is known."""
    default = "mlip" if choices.size == "quick" else "gpaw"
    name = choices.engine or default
    species = species_of([seed.atoms for seed in seeds])
    moments = {} if choices.non_magnetic else moments_to_start_from(seeds)
    match name:
        case "gpaw":
            spin = {"spin_polarised": True, "magnetic_moments": moments} if moments else {}
            return {"name": name, **spin}
        case "espresso":
            return {"name": name, **_espresso(species, moments)}
        case "vasp":
            folder = os.environ.get("VASP_PP_PATH") or "FOLDER_WITH_potpaw_PBE"
            spin = {"magnetic_moments": moments} if moments else {}
            return {"name": name, "potential_folder": folder, **spin}
        case "cp2k":
            if moments:
                raise ConfigError(
                    f"{', '.join(moments)} can be magnetic, and the engine cp2k has no key for "
                    "spin; choose another engine, or --non-magnetic"
                )
            return {"name": name}
        case "ase":
            return {"name": name, "calculator": choices.engine_argument or "MODULE:FACTORY"}
        case "mlip":
            return {"name": name, "model": choices.engine_argument or QUICK_TEACHER}


def _espresso(species: Sequence[str], moments: Mapping[str, float]) -> dict[str, Any]:
    found = find_pseudopotentials(species)
    folder, files = found or (
        Path("FOLDER_WITH_UPF_FILES"),
        dict.fromkeys(species, "FILE.UPF"),
    )
    # pw.x takes fractions of the valence electrons, which the elements' usual moments are about.
    spin = {"starting_magnetization": dict.fromkeys(moments, 0.5)} if moments else {}
    return {
        "pseudopotential_folder": str(folder),
        "pseudopotentials": files,
        "cutoff_eV": RYDBERG_60_EV,
        **spin,
    }


def _executor(choices: Choices) -> dict[str, Any]:
    if choices.executor == "local":
        return {"name": "local", "workers": 2}
    defaults = {"walltime": "12:00:00", "max_jobs": 4, "workers_per_node": 1}
    return {"name": "slurm", **defaults, **choices.slurm}


def _lines(
    file_name: str, given: Mapping[str, Any], seeds: Sequence[Seed], choices: Choices
) -> Iterator[str]:
    yield EDITOR_LINE
    yield f"# A campaign of Entrove. Start or continue it with: entrove run {file_name}"
    yield "# Keys that are not here have their defaults, which are the recommended values;"
    yield "# 'entrove reference' explains all of them. Paths are relative to this file."
    for name, value in given.items():
        yield ""
        if name in COMMENTS:
            yield f"# {COMMENTS[name]}"
        if name == "labelling":
            yield from _labelling_lines(value, choices)
        elif name == "seeds":
            yield "seeds:"
            for entry, seed in zip(value, seeds, strict=True):
                yield f"  - {_one_line(entry)}  # {describe_crystal(seed.atoms)}"
        elif isinstance(value, dict):
            yield f"{name}:"
            yield from (f"  {key}: {_one_line(inner)}" for key, inner in value.items())
        else:
            yield f"{name}: {_one_line(value)}"


def _labelling_lines(value: Mapping[str, Any], choices: Choices) -> Iterator[str]:
    yield "labelling:"
    for part in ("engine", "executor"):
        if part == "executor" and choices.executor == "local":
            yield f"  # on a cluster, {SLURM_HINT}"
        yield f"  {part}:"
        yield from (f"    {key}: {_one_line(inner)}" for key, inner in value[part].items())


def _one_line(value: Any) -> str:
    return yaml_on_one_line(_whole(value))


def _whole(value: Any) -> Any:
    """Write 300 for 300.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return value
