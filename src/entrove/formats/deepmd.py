"""DeePMD-kit systems: a folder of type.raw, type_map.raw and set.000/*.npy, or of *.raw files.

Written from the description in DeePMD-kit's documentation ("Data"): one system holds frames of
one list of atoms; coordinates in A, energies in eV, forces in eV/A, virials in eV with
virial = -volume * stress, nine numbers per frame. The usual converter, dpdata, drops a stress
that ASE's structures carry, so that this reader and writer are our own.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers

from entrove.errors import StructureError
from entrove.formats.frame import Frame
from entrove.formats.labels_of_frame import BrokenFrameError, finite

_WIDTHS = {"coord": 3, "box": 9, "energy": 1, "force": 3, "virial": 9}
_PER_ATOM = ("coord", "force")
_TYPES_OF_FRAMES = "real_atom_types"
"""In systems of the mixed kind, the types of each frame; -1 fills up short frames."""


def is_deepmd(folder: Path) -> bool:
    """Whether a folder is a system of DeePMD-kit."""
    return (folder / "type.raw").is_file()


def read_deepmd(folder: Path) -> Iterator[Frame]:
    """Yield the frames of a system, those of set.000 first, in the order of their numbers."""
    try:
        types, of_types = _types(folder)
    except (StructureError, ValueError) as error:
        yield Frame(str(folder), 0, problem=str(error))
        return
    pbc = not (folder / "nopbc").exists()
    index = 0
    sets = sorted((part for part in folder.glob("set.*") if part.is_dir()), key=_number_of_set)
    for part in sets or [folder]:
        try:
            data = _data_of(part, len(types), raw=not sets)
        except (StructureError, ValueError, OSError, EOFError) as error:
            yield Frame(str(folder), index, problem=f"{part.name}: {error}")
            index += 1
            continue
        for row in range(len(data["coord"])):
            values = {name: array[row] for name, array in data.items()}
            yield _frame(
                str(folder), index, values.pop(_TYPES_OF_FRAMES, types), of_types, values, pbc
            )
            index += 1


def _number_of_set(part: Path) -> tuple[float, str]:
    number = part.name.removeprefix("set.")
    return (float(number) if number.isdecimal() else float("inf"), number)


def _types(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The type of each atom, and the atomic number of each type."""
    file = folder / "type.raw"
    if not file.read_text(encoding="utf-8").strip():
        raise StructureError("type.raw is empty; it needs a number for each atom")
    try:
        types = np.loadtxt(file, dtype=int, ndmin=1).ravel()
    except ValueError as error:
        raise StructureError(f"type.raw: {error}") from error
    if types.min() < 0:
        raise StructureError(f"type.raw has the type {types.min()}; types begin with 0")
    names_file = folder / "type_map.raw"
    if not names_file.exists():
        raise StructureError(
            "no type_map.raw, so that nobody knows which elements the types of type.raw are; "
            "write their symbols to it, one per line in the order of the types"
        )
    symbols = names_file.read_text(encoding="utf-8").split()
    unknown = [symbol for symbol in symbols if not atomic_numbers.get(symbol)]
    if unknown or types.max() >= len(symbols):
        raise StructureError(
            f"type_map.raw has {symbols}, but type.raw needs {types.max() + 1} chemical symbols"
        )
    return types, np.array([atomic_numbers[symbol] for symbol in symbols])


def _data_of(part: Path, n_atoms: int, *, raw: bool) -> dict[str, np.ndarray]:
    data: dict[str, np.ndarray] = {}
    for name, width in _WIDTHS.items():
        file = part / f"{name}.{'raw' if raw else 'npy'}"
        if not file.exists():
            continue
        # Mapped, not read: a set may be larger than the memory.
        array = np.loadtxt(file, ndmin=2) if raw else np.load(file, mmap_mode="r")
        shape = (-1, n_atoms, width) if name in _PER_ATOM else (-1, width)
        data[name] = array.reshape(shape)
    file = part / f"{_TYPES_OF_FRAMES}.npy"
    if file.exists():
        data[_TYPES_OF_FRAMES] = np.load(file, mmap_mode="r").reshape(-1, n_atoms)
    if "coord" not in data:
        raise StructureError("no coordinates")
    lengths = {name: len(array) for name, array in data.items()}
    if len(set(lengths.values())) > 1:
        raise StructureError(f"files of different numbers of frames: {lengths}")
    return data


def _require_volume(box: np.ndarray) -> None:
    if not abs(float(np.linalg.det(box))) > 0:
        raise BrokenFrameError(
            "box has no volume; what is not periodic needs a file nopbc beside type.raw"
        )


def _frame(
    source: str,
    index: int,
    types: np.ndarray,
    of_types: np.ndarray,
    values: dict[str, np.ndarray],
    pbc: bool,
) -> Frame:
    box = np.asarray(values["box"], dtype=float).reshape(3, 3) if "box" in values else None
    periodic = pbc and box is not None
    results: dict[str, object] = {}
    notes: tuple[str, ...] = ()
    try:
        real = np.asarray(types) >= 0
        if np.max(types) >= len(of_types):
            raise BrokenFrameError(f"type {np.max(types)} is not in type_map.raw")
        numbers = of_types[np.asarray(types)[real]]
        if pbc and box is not None:
            _require_volume(finite("box", box))
        positions = finite("coord", np.asarray(values["coord"], dtype=float)[real])
        atoms = Atoms(numbers, positions=positions, cell=box if periodic else None, pbc=periodic)
        if "energy" in values:
            results["energy"] = float(finite("energy", np.asarray(values["energy"], float))[0])
        if "force" in values:
            results["forces"] = finite("force", np.asarray(values["force"], dtype=float)[real])
        if "virial" in values and periodic:
            virial = finite("virial", np.asarray(values["virial"], dtype=float)).reshape(3, 3)
            stress = -(virial + virial.T) / 2 / atoms.cell.volume
            results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
            notes = ("stress from virial in eV",)
    except BrokenFrameError as error:
        return Frame(source, index, problem=str(error))
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return Frame(source, index, atoms, notes=notes)
