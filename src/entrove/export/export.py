"""Export a model bundle for another program, or the labels of its campaign."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ase import Atoms

from entrove._version import __version__
from entrove.campaign.configuration.settled import read_settled
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError, ConfigError, ModelError
from entrove.export.agreement import Check
from entrove.export.dataset import write_dataset
from entrove.export.lammps.folder import write_for_lammps
from entrove.export.scripts import write_script
from entrove.export.source import Source, find_campaign, find_source
from entrove.files import replace_text, require_writable
from entrove.formats.reading import iterate_structures
from entrove.structures import StructureSource, species_of

Target = Literal["lammps", "ase", "torch-sim", "extxyz"]
TARGETS: tuple[str, ...] = get_args(Target)
RECORD = "export.json"


@dataclass(frozen=True)
class Exported:
    """A folder that was written.

    Attributes:
        folder: The folder.
        to: What it is for.
        checks: What was run with the files in it, and what was not.
    """

    folder: Path
    to: str
    checks: tuple[Check, ...]


def export(
    path: str | Path,
    to: Target,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    structures: StructureSource | None = None,
    lammps: str | None = None,
    plugin: str | Path | None = None,
    parallel: bool = False,
) -> Exported:
    """Write a folder with everything that another program needs to run a potential.

    Args:
        path: The folder of a bundle, or of a campaign, or the configuration of one.
        to: "lammps": potential, input and data file; "ase", "torch-sim": the bundle, a structure
            and a script; "extxyz": the labels of the campaign with their provenance.
        out: The folder to write, not the present one; by default `NAME-lammps` and so on in the
            present folder. One that an earlier export wrote is replaced.
        device: Where the checks run, and for which compiled files are made: "auto", "cpu" or
            "cuda".
        structures: Structures, or a file of them, on which the export is checked, the first of
            them also in MD; by default the validation labels, and an example of the bundle for MD.
        lammps: Name or path of LAMMPS' executable; by default `lmp`, if there is one.
        plugin: A plugin with the pair style that LAMMPS loads first.
        parallel: Also write the file for several MPI ranks (SevenNet).

    Returns the folder, and what was checked: energies, forces and stresses of the exported
    potential against those of the framework's own ASE calculator.

    Raises `ModelError` when there is no sound bundle, the export fails, or what was written is not
    the potential of the bundle; `CampaignError` when there are no labels; `ConfigError` for other
    targets, a folder that holds something else or lies in the bundle, and one that cannot be
    written. Then nothing is written.
    """
    if to not in TARGETS:
        raise ConfigError(f"to={to!r}, but a bundle is exported to {', '.join(TARGETS)}")
    if to == "extxyz":
        campaign = _campaign_of(Path(path))
        name = read_settled(campaign.config).name
        folder = Path(out) if out is not None else Path(f"{name}-{to}")
        with _new_folder(folder, campaign.bundle) as place:
            checks = write_dataset(campaign, place, name)
            _write_record(place, to, checks, None)
        return Exported(folder, to, tuple(checks))
    source = find_source(path)
    given = None if structures is None else list(iterate_structures(structures))
    samples = source.validation() if given is None else given
    _check_species(source, [*samples, *source.examples()])
    folder = Path(out) if out is not None else Path(f"{source.name}-{to}")
    examples = given or source.examples()
    with _new_folder(folder, source.folder) as place:
        if to == "lammps":
            checks = write_for_lammps(
                source,
                place,
                examples,
                samples,
                device=device,
                lammps=lammps,
                plugin=None if plugin is None else Path(plugin),
                parallel=parallel,
            )
        else:
            shutil.copytree(source.folder, place / "model")
            checks = write_script(source, place, examples, samples, to=to, device=device)
        _write_record(place, to, checks, source)
    return Exported(folder, to, tuple(checks))


def _check_species(source: Source, structures: Sequence[Atoms]) -> None:
    """The atom types of an export are the elements that the potential was trained on."""
    known = source.bundle.species
    others = [symbol for symbol in species_of(structures) if symbol not in known]
    if others:
        raise ModelError(
            f"{source.folder}: the potential was trained on {', '.join(known)}, and the "
            f"structures hold {', '.join(others)} as well; give structures of its elements with "
            "--structures"
        )


def _campaign_of(path: Path) -> Workspace:
    """Find the campaign that a path stands for, or in whose folder it is."""
    beside = Workspace(path.resolve().parent)
    found = find_campaign(path) or (beside if beside.holds_campaign() else None)
    if found is not None:
        return found
    raise CampaignError(
        f"{path}: holds no campaign, and a bundle does not hold its training labels; give the "
        "folder that 'entrove run' wrote"
    )


@contextmanager
def _new_folder(folder: Path, bundle: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends well.

    Raises `ConfigError` for a folder in that of the bundle, and for others that it cannot replace.
    """
    here = Path.cwd()
    if folder.resolve() in (here, *here.parents):
        raise ConfigError(
            f"{folder}: is the present folder or one that holds it, which an export cannot "
            "replace; name a folder in it with --out"
        )
    if folder.resolve().is_relative_to(bundle.resolve()):
        raise ConfigError(
            f"{folder}: lies in the bundle {bundle.resolve()}, which has its own files only; "
            "name a folder outside of it with --out"
        )
    if folder.exists() and not (folder / RECORD).is_file() and any(_entries(folder)):
        raise ConfigError(
            f"{folder}: exists and was not written by 'entrove export'; choose another --out"
        )
    require_writable(str(folder), folder.absolute().parent)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        retired = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(retired)
        partial.rename(folder)
        shutil.rmtree(retired, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter([folder])


def _write_record(folder: Path, to: str, checks: Sequence[Check], source: Source | None) -> None:
    """Write what was exported and checked, for programs."""
    record = {
        "to": to,
        "entrove_version": __version__,
        "weights_sha256": None if source is None else source.bundle.weights[0].sha256,
        "species": None if source is None else list(source.bundle.species),
        "checks": [check.as_record() for check in checks],
    }
    replace_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
