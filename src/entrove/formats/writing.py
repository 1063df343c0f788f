"""Write labelled structures to the formats that models are trained from."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.errors import ConfigError, StructureError
from entrove.files import replacing
from entrove.formats.ase_files import DATABASE_ARRAYS
from entrove.formats.deepmd_writer import DeepmdWriter
from entrove.formats.frame import Frame, LabelKeys
from entrove.formats.xyz_blocks import is_compressed, open_text, without_compression
from entrove.formats.xyz_writer import STANDARD_NAMES, xyz_text

XYZ_NAMES = {
    "extxyz": STANDARD_NAMES,
    "mace": LabelKeys(energy="REF_energy", forces="REF_forces", stress="REF_stress"),
    "gap": LabelKeys(energy="dft_energy", forces="dft_force", virial="dft_virial"),
    "nep": LabelKeys(energy="energy", forces="force", virial="virial"),
}
"""Names of the labels in the dialects of extended XYZ; virials are in eV."""
FOLDER_FORMATS = ("deepmd-npy", "deepmd-raw")
"""Formats that are a folder of files."""
FORMATS = (*XYZ_NAMES, "ase-db", *FOLDER_FORMATS)
"""What `write_frames` writes."""

XYZ_ENDINGS = (".xyz", ".extxyz")
_DATABASE_ENDINGS = (".db", ".json")

_WITHOUT_COLUMN = {"energies", "stresses"}
"""Results that a row of SQLite has no place for."""
_MOMENTS = "initial_magmoms"
_ROW_ARRAYS = {"numbers", "positions", "tags", "momenta", "masses", _MOMENTS, "initial_charges"}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        count: Number of structures.
        lost: What the format had no place for, as texts.
    """

    count: int
    lost: tuple[str, ...] = ()


def format_of(path: str | Path) -> str:
    """Return the format that a name asks for.

    Raises `StructureError` for a name that asks for none.

    >>> format_of("train.xyz"), format_of("train.xyz.gz"), format_of("train.db")
    ('extxyz', 'extxyz', 'ase-db')
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if _ending_inside(path) in XYZ_ENDINGS:
        return "extxyz"
    if suffix == ".db":
        return "ase-db"
    if not suffix:
        return "deepmd-npy"
    raise StructureError(
        f"{path}: the name does not tell a format; name the file .xyz or .db, give a folder for "
        f"DeePMD, or choose a format: {', '.join(FORMATS)}"
    )


def require_xyz_name(what: str, path: Path, *, may_be_compressed: bool) -> None:
    """Raise `ConfigError` unless the name of a file is one of extended XYZ.

    Args:
        what: What the user gave, with which the message begins.
        path: The file that is to be written.
        may_be_compressed: Whether .gz, .bz2 or .xz may follow.
    """
    ending = _ending_inside(path) if may_be_compressed else path.suffix.lower()
    if ending not in XYZ_ENDINGS:
        raise ConfigError(
            f"{what}: structures are written as extended XYZ; give a name that ends in "
            f"{' or '.join(XYZ_ENDINGS)} ('entrove convert' makes other formats of it)"
        )


def _ending_inside(path: Path) -> str:
    """The ending of a name, without that of a compression."""
    return without_compression(path).suffix.lower()


def write_frames(
    path: str | Path,
    frames: Atoms | Frame | Iterable[Frame | Atoms],
    format_name: str | None = None,
) -> Written:
    """Write structures with their labels in one step, in place of a file of XYZ that is there.

    Args:
        path: A file, or the new folder of DeePMD systems. Extended XYZ whose name ends in .gz,
            .bz2 or .xz is compressed.
        frames: Structures whose calculators carry energy (eV), forces (eV/A) and stress (eV/A^3,
            ASE's sign); `Frame`s must have no problem. They are streamed. Also a single one.
        format_name: One of `FORMATS`; by the name of the file where it is not given.

    Returns how many were written. Every number can be read back exactly, but virials, which are
    a product with the volume, within rounding.
    Raises `StructureError` for a structure that the format cannot hold, for what is no structure,
    for a compressed name of another format than extended XYZ, a folder in the place of a file, a
    database whose name does not end in .db or .json, and one that exists: its rows would be lost.
    """
    format_name = format_name or format_of(path)
    if Path(path).is_dir() and format_name not in FOLDER_FORMATS:
        raise StructureError(f"{path} is a folder; give the name of a file")
    # Iterating over an `Atoms` would yield its atoms.
    given = [frames] if isinstance(frames, Atoms | Frame) else frames
    structures = (_atoms_of(frame) for frame in given)
    if format_name in XYZ_NAMES:
        return _write_xyz(Path(path), structures, XYZ_NAMES[format_name])
    if is_compressed(path):
        raise StructureError(
            f"{path}: only extended XYZ is written compressed; give a name without "
            f"{Path(path).suffix}"
        )
    if format_name == "ase-db":
        if Path(path).suffix.lower() not in _DATABASE_ENDINGS:
            raise StructureError(
                f"{path}: a database of ASE is told by its name; give one that ends in .db"
            )
        if Path(path).exists():
            raise StructureError(
                f"{path} exists, and no rows are added to a database; give a new name, or remove "
                "this file"
            )
        return _write_database(Path(path), structures)
    if format_name in FOLDER_FORMATS:
        return _write_deepmd(Path(path), structures, raw=format_name == "deepmd-raw")
    raise StructureError(f"format '{format_name}' is unknown; choose from {', '.join(FORMATS)}")


def _atoms_of(frame: object) -> Atoms:
    if isinstance(frame, Atoms):
        return frame
    if not isinstance(frame, Frame):
        raise StructureError(
            f"{frame!r:.80} is no structure; give ase.Atoms, or frames of "
            "entrove.formats.read_frames"
        )
    if frame.atoms is None:
        raise StructureError(f"{frame.where}: {frame.problem}; leave broken frames out")
    return frame.atoms


def _write_xyz(path: Path, structures: Iterable[Atoms], names: LabelKeys) -> Written:
    count = 0
    lost: set[str] = set()
    with replacing(path) as unfinished, open_text(unfinished, "wt") as handle:
        for count, atoms in enumerate(structures, start=1):  # noqa: B007
            handle.write(xyz_text(atoms, names, lost))
            if names.virial and not names.stress and _stress_without_volume(atoms):
                lost.add("stress of what has no cell")
    return Written(count, tuple(sorted(lost)))


def _stress_without_volume(atoms: Atoms) -> bool:
    return "stress" in getattr(atoms.calc, "results", {}) and not atoms.cell.volume > 0


def _write_database(path: Path, structures: Iterable[Atoms]) -> Written:
    from ase.db import connect

    count = 0
    lost: set[str] = set()
    is_sqlite = path.suffix.lower() == ".db"
    with replacing(path) as unfinished:
        connection: Any = connect(unfinished, append=False)
        with connection as database:
            for count, atoms in enumerate(structures, start=1):
                data = {
                    key: _in_python(value)
                    for key, value in atoms.info.items()
                    if _has_place(value, is_sqlite=is_sqlite)
                }
                lost |= {str(key) for key in atoms.info.keys() - data.keys()}
                beside = atoms.arrays.keys() - _ROW_ARRAYS
                row = atoms
                if is_sqlite:
                    lost |= _WITHOUT_COLUMN & getattr(atoms.calc, "results", {}).keys()
                    if atoms.has(_MOMENTS) and atoms.arrays[_MOMENTS].ndim == 2:
                        beside.add(_MOMENTS)
                        row = _without_moments(atoms)
                if beside:
                    data[DATABASE_ARRAYS] = {
                        name: _in_python(atoms.arrays[name]) for name in sorted(beside)
                    }
                try:
                    database.write(row, data=data)
                except (TypeError, ValueError) as error:
                    raise StructureError(
                        f"{path}: structure {count} has no place in a database of ASE ({error}); "
                        "write .xyz, or correct its columns"
                    ) from error
        if not count:
            raise StructureError(f"{path}: there is nothing to write")
    return Written(count, tuple(sorted(lost)))


def _in_python(value: Any) -> Any:
    """The value with numbers and texts of Python in place of NumPy's.

    ASE's databases cannot return arrays of text, and those of SQLite take no number of NumPy
    outside of an array.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO":
        return _in_python(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _in_python(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_in_python(part) for part in value]
    return value


def _has_place(value: Any, *, is_sqlite: bool) -> bool:
    """Whether ASE's databases can hold a value of a key."""
    from ase.db.core import object_to_bytes
    from ase.io.jsonio import encode

    try:
        (object_to_bytes if is_sqlite else encode)(_in_python(value))
    except (AttributeError, TypeError, ValueError, RecursionError):
        return False
    return True


def _without_moments(atoms: Atoms) -> Atoms:
    """The structure with its results, but for initial moments of three numbers.

    SQLite returns these as one flat row.
    """
    bare = atoms.copy()
    del bare.arrays[_MOMENTS]
    results = getattr(atoms.calc, "results", {})
    # The copy has no calculator, and one of other initial moments would be none of its own.
    bare.calc = SinglePointCalculator(
        bare, **{name: value for name, value in results.items() if name in all_properties}
    )
    return bare


def _write_deepmd(path: Path, structures: Iterable[Atoms], *, raw: bool) -> Written:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StructureError(f"{path} exists; give a new folder, or remove this one")
    if path.resolve() == Path.cwd():
        raise StructureError(
            f"{path} is the present folder, which cannot be replaced; give the name of a new one"
        )
    path = path.resolve() if path.is_symlink() else path
    unfinished = path.with_name(f".partial-{os.getpid()}-{path.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    count = 0
    try:
        writer = DeepmdWriter(unfinished, raw=raw)
        for count, atoms in enumerate(structures, start=1):  # noqa: B007
            writer.add(atoms)
        writer.close()
        if path.is_dir():
            path.rmdir()
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Written(count, tuple(sorted(writer.lost)))
