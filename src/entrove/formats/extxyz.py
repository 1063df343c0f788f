"""One frame of extended XYZ: text to a labelled structure.

The format is that of ASE and quippy: `key=value` pairs in the second line, columns as `Properties`
lists them. Without damage the result equals that of `ase.io.read`, apart from labels that ASE does
not recognise.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.data import atomic_numbers

from entrove.formats.frame import OTHER_RESULTS, OTHER_RESULTS_OF_ATOMS, Frame, LabelKeys
from entrove.formats.label_keys import convergence_in
from entrove.formats.labels_of_frame import BrokenFrameError, finite, take_labels
from entrove.formats.xyz_blocks import XyzBlock, iterate_xyz_blocks
from entrove.formats.xyz_comment import LOGICAL, is_of_cp2k, is_plain_text, parse_comment

DEUTERIUM_MASS = 2.014
_DEUTERIUM = -1
_FORTRAN_EXPONENT = re.compile(r"([\d.])[Dd]([-+]?\d+)$")

_FORMAT_KEYS: dict[str, Callable[[Any], bool]] = {
    "Lattice": lambda value: isinstance(value, np.ndarray),
    "Properties": lambda value: isinstance(value, str) and ":" in value,
    "pbc": lambda value: not isinstance(value, str),
}
"""Keys of the format, and what a value is like that is meant by such a key in another case."""
_ARRAY_NAMES = {"pos": "positions", "species": "symbols", "Z": "numbers", "charge": "charges"}


def read_extxyz(path: str | Path, keys: LabelKeys) -> Iterator[Frame]:
    """Yield the frames of an extended XYZ file; broken ones carry their problem."""
    for block in iterate_xyz_blocks(path):
        yield parse_block(block, str(path), keys)


def parse_block(block: XyzBlock, source: str, keys: LabelKeys) -> Frame:
    """Turn the text of one frame into a `Frame`."""
    try:
        if block.problem:
            raise BrokenFrameError(block.problem)
        return _parse(block, source, keys)
    except BrokenFrameError as error:
        problem = str(error)
    # Columns and values of unforeseen kinds; one such frame must not hide those after it.
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        problem = f"it cannot be read ({type(error).__name__}: {error})"
    problem = f"line {block.line}: {problem}"
    return Frame(source, block.index, problem=problem, converged=_convergence(block))


def _parse(block: XyzBlock, source: str, keys: LabelKeys) -> Frame:
    info, notes = _info(block.comment)
    cell = _cell(info)
    pbc = _pbc(info, default=cell is not None)
    rows = [line.split() for line in block.lines[2 : 2 + block.n_atoms]]
    _check_end(block, rows)
    arrays = _columns(rows, info.pop("Properties", None))
    numbers = _numbers(arrays)
    positions = arrays.pop("positions", None)
    if positions is None or positions.shape != (len(rows), 3):
        raise BrokenFrameError("no column pos with three numbers per atom")
    finite("pos", positions)
    if vectors := block.lines[2 + block.n_atoms :]:
        cell, pbc = _cell_of_vectors(vectors)
    deuterium = numbers == _DEUTERIUM
    if deuterium.any():
        numbers[deuterium] = 1
        notes.append(f"D read as hydrogen of mass {DEUTERIUM_MASS}")
    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=pbc)
    if deuterium.any() and "masses" not in arrays:
        arrays["masses"] = np.where(deuterium, DEUTERIUM_MASS, atoms.get_masses())
    _set_constraint(atoms, arrays)
    found = take_labels(info, arrays, atoms.cell, len(atoms), keys)
    return Frame(source, block.index, *_finish(atoms, info, arrays, found, notes))


def _info(comment: str) -> tuple[dict[str, Any], list[str]]:
    """The keys of a comment line with their values, and notes.

    A line that is no list of pairs is one text in plain XYZ, and damage in extended XYZ.
    """
    try:
        info = _with_usual_case(parse_comment(comment))
    except BrokenFrameError:
        if not is_plain_text(comment):
            raise
        return {"comment": comment}, ["the comment, no list of key=value, is kept as text"]
    if not is_of_cp2k(comment):
        return info, []
    info["E_hartree"] = info.pop("E")
    return info, [
        "no energy: a trajectory of CP2K has it in hartree, and its cell elsewhere; give the "
        "output beside it"
    ]


def _with_usual_case(info: dict[str, Any]) -> dict[str, Any]:
    """Rename keys of the format in another case, such as `lattice` and `properties` of GPUMD.

    A key that has its usual case counts; another one beside it is a key like all others, and so is
    one of a word (`lattice=fcc`).
    """
    for usual, is_meant in _FORMAT_KEYS.items():
        given = next((key for key in info if key.lower() == usual.lower()), "")
        if given and usual not in info and is_meant(info[given]):
            info[usual] = info.pop(given)
    return info


def _cell(info: dict[str, Any]) -> np.ndarray | None:
    if "Lattice" not in info:
        return None
    values = np.asarray(info.pop("Lattice"))
    if values.shape != (9,) or values.dtype.kind not in "fi":
        raise BrokenFrameError(f"Lattice is {values.tolist()}, but nine numbers are needed")
    return finite("Lattice", values.reshape(3, 3).astype(float))


def _pbc(info: dict[str, Any], *, default: bool) -> list[bool]:
    given = info.pop("pbc", default)
    values = np.broadcast_to(given, 3).tolist() if np.ndim(given) == 0 else list(given)
    if len(values) != 3 or any(value not in (0, 1) for value in values):
        raise BrokenFrameError(f'pbc is {given}, but three of T and F are needed, "T T F"')
    return [bool(value) for value in values]


def _check_end(block: XyzBlock, rows: list[list[str]]) -> None:
    """Refuse a last number that was cut, as far as that shows in its decimals."""
    if block.lines[-1].endswith("\n") or not all(rows):
        return
    *others, last = [len(row[-1].partition(".")[2]) for row in rows]
    if others and last < min(others) == max(others):
        raise BrokenFrameError(f"the file ends in the middle of the number '{rows[-1][-1]}'")


@lru_cache(maxsize=256)
def _layout(properties: str) -> tuple[tuple[str, str, int, int], ...]:
    """(name, type, first column, end) of each property."""
    words = properties.split(":")
    layout: list[tuple[str, str, int, int]] = []
    start = 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if kind not in ("R", "I", "S", "L") or not width.isdigit():
            raise BrokenFrameError(f"Properties has {name}:{kind}:{width}, which means nothing")
        layout.append((_ARRAY_NAMES.get(name, name), kind, start, start + int(width)))
        start += int(width)
    if len(words) % 3:
        raise BrokenFrameError(f"Properties is {properties}, not a list of name:type:columns")
    return tuple(layout)


def _columns(rows: list[list[str]], properties: Any) -> dict[str, np.ndarray]:
    layout = _layout(str(properties or "species:S:1:pos:R:3"))
    width = layout[-1][3]
    for atom, row in enumerate(rows):
        # Plain XYZ files have further columns that nobody announces.
        if len(row) < width or (len(row) > width and properties):
            raise BrokenFrameError(f"atom {atom} has {len(row)} values, but {width} are needed")
    arrays: dict[str, np.ndarray] = {}
    for name, kind, start, stop in layout:
        if kind == "R":
            values = _floats(name, rows, start, stop)
        elif kind == "S" and name == "symbols":
            values = np.array([[_number_of(row[start], atom)] for atom, row in enumerate(rows)])
        elif kind == "S":
            values = np.array([row[start:stop] for row in rows])
        else:
            values = _words(name, kind, rows, start, stop)
        arrays[name] = values[:, 0] if stop - start == 1 else values
    return arrays


def _floats(name: str, rows: list[list[str]], start: int, stop: int) -> np.ndarray:
    try:
        values = [float(word) for row in rows for word in row[start:stop]]
    except ValueError:
        values = [
            _float(name, word, atom) for atom, row in enumerate(rows) for word in row[start:stop]
        ]
    return np.array(values).reshape(len(rows), stop - start)


def _float(name: str, word: str, atom: int) -> float:
    """A number that may have an exponent of Fortran, as in 1.0D-01."""
    try:
        return float(_FORTRAN_EXPONENT.sub(r"\1E\2", word))
    except ValueError:
        raise BrokenFrameError(f"'{word}' in {name} of atom {atom} is no number") from None


def _words(name: str, kind: str, rows: list[list[str]], start: int, stop: int) -> np.ndarray:
    try:
        convert = int if kind == "I" else LOGICAL.__getitem__
        return np.array([[convert(word) for word in row[start:stop]] for row in rows])
    except (ValueError, KeyError) as error:
        kind_name = "integer" if kind == "I" else "logical"
        raise BrokenFrameError(f"a value of {name} is no {kind_name}: {error}") from error


def _numbers(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Atomic numbers, `_DEUTERIUM` for D; those of column Z where there are two columns."""
    symbols = arrays.pop("symbols", None)
    numbers = arrays.pop("numbers", symbols)
    if numbers is None:
        raise BrokenFrameError("no column species and no column Z")
    for atom in np.flatnonzero((numbers < 1) | (numbers > 118)):
        if numbers[atom] != _DEUTERIUM:
            raise BrokenFrameError(f"atomic number {numbers[atom]} of atom {atom} is no element")
    return numbers


def _number_of(symbol: str, atom: int) -> int:
    if symbol == "D":
        return _DEUTERIUM
    number = atomic_numbers.get(symbol) or atomic_numbers.get(symbol.capitalize())
    if not number:
        raise BrokenFrameError(f"'{symbol}' of atom {atom} is no chemical element")
    return number


def _cell_of_vectors(lines: list[str]) -> tuple[np.ndarray, list[bool]]:
    """Cell from lines VEC1 x y z, VEC2, VEC3, as ADF writes them."""
    cell, pbc = np.zeros((3, 3)), [False] * 3
    for line in lines:
        name, *words = line.split()
        try:
            axis = ("VEC1", "VEC2", "VEC3").index(name)
            cell[axis] = np.array([float(word) for word in words]).reshape(3)
            pbc[axis] = True
        except (ValueError, IndexError) as error:
            raise BrokenFrameError(f"'{line.strip()}' is no cell vector") from error
    return finite("VEC", cell), pbc


def _set_constraint(atoms: Atoms, arrays: dict[str, np.ndarray]) -> None:
    if "move_mask" not in arrays:
        return
    fixed = ~arrays.pop("move_mask").astype(bool)
    if fixed.ndim == 1:
        atoms.set_constraint(FixAtoms(mask=fixed))
    else:
        atoms.set_constraint(
            [FixCartesian(atom, mask) for atom, mask in enumerate(fixed) if mask.any()]
        )


def _finish(atoms, info, arrays, found, notes):
    """Put keys, columns and results on the atoms: the last four fields of a `Frame`."""
    results = found.results
    # What is no number, as in dipole=None, stays with the keys of the file.
    for name in OTHER_RESULTS_OF_ATOMS:
        if name in arrays and _is_numeric(arrays[name]):
            results[name] = arrays.pop(name)
    for name in OTHER_RESULTS:
        if name in info and _is_numeric(info[name]):
            results[name] = info.pop(name)
    for name, values in arrays.items():
        atoms.set_array(name, values)
    atoms.info.update(info)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms, "", convergence_in(info), (*notes, *found.notes)


def _is_numeric(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "fiu"


def _convergence(block: XyzBlock) -> bool | None:
    try:
        return convergence_in(parse_comment(block.comment))
    except (BrokenFrameError, RecursionError):
        return None
