"""Write extended XYZ without loss: every number with the digits that give it back exactly.

ASE's writer rounds positions and forces to eight decimals.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.spacegroup import Spacegroup

from entrove.errors import StructureError
from entrove.formats.frame import (
    OTHER_RESULTS,
    OTHER_RESULTS_OF_ATOMS,
    LabelKeys,
    nine_numbers_of,
)
from entrove.formats.label_keys import meaning_of
from entrove.formats.xyz_comment import parse_value

STANDARD_NAMES = LabelKeys(energy="energy", forces="forces", stress="stress")
_COLUMN_NAMES = {"positions": "pos", "numbers": "Z", "charges": "charge"}
_KINDS = {"f": "R", "i": "I", "u": "I", "b": "L", "U": "S", "O": "S"}


def xyz_text(atoms: Atoms, names: LabelKeys = STANDARD_NAMES, lost: set[str] | None = None) -> str:
    """Return one structure as a frame of extended XYZ.

    Args:
        atoms: The structure, with labels in its calculator.
        names: Under which names the labels are written; with a name for `virial` and none for
            `stress`, the stress is written as a virial in eV.
        lost: What the format has no place for is added to it: keys whose values have no text, and
            constraints that fix neither atoms nor their Cartesian directions.

    Raises `StructureError` for arrays that the format cannot hold.
    """
    lost = set() if lost is None else lost
    lost |= {
        f"constraint {type(constraint).__name__}"
        for constraint in atoms.constraints
        if not isinstance(constraint, FixAtoms | FixCartesian)
    }
    results = dict(getattr(atoms.calc, "results", {}))
    labels, columns = _labels(atoms, results, names)
    info = _beside(labels, atoms.info)
    arrays = _beside(columns, {**atoms.arrays, **_move_mask(atoms)})
    labels |= {name: results[name] for name in OTHER_RESULTS if results.get(name) is not None}
    for name in OTHER_RESULTS_OF_ATOMS:
        if results.get(name) is not None:
            columns[name] = results[name]
    species = np.array(atoms.get_chemical_symbols())
    positions = arrays.pop("positions")
    del arrays["numbers"]
    table = {"species": species, "positions": positions, **columns, **arrays}
    parts = [f'Lattice="{_numbers(atoms.cell.array.ravel())}"'] if atoms.cell.array.any() else []
    parts.append(f"Properties={_properties(table)}")
    for key, value in (*labels.items(), *info.items()):
        try:
            parts.append(f"{_quoted(key)}={_quoted(_text(key, value))}")
        except (TypeError, ValueError, RecursionError):  # of a value that JSON does not have
            lost.add(str(key))
    parts.append('pbc="{}"'.format(" ".join("T" if axis else "F" for axis in atoms.pbc)))
    rows = zip(*(_column(name, values) for name, values in table.items()), strict=True)
    lines = [str(len(atoms)), " ".join(parts), *(" ".join(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _labels(
    atoms: Atoms, results: Mapping[str, Any], names: LabelKeys
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values of the frame and columns of atoms, under the names to write."""
    labels: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    if results.get("energy") is not None:
        labels[names.energy or "energy"] = float(results["energy"])
    if results.get("forces") is not None:
        columns[names.forces or "forces"] = np.asarray(results["forces"], dtype=float)
    if results.get("stress") is not None:
        matrix = nine_numbers_of(results["stress"])
        if names.virial and not names.stress:
            if atoms.cell.volume > 0:
                labels[names.virial] = -matrix * atoms.cell.volume
        else:
            labels[names.stress or "stress"] = matrix
    return labels, columns


def _beside(taken: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """What is left to write beside labels: nothing that contradicts one of them for a reader."""
    quantities: dict[str, Any] = {}
    for name, value in taken.items():
        known = meaning_of(name)
        if known is not None:
            quantities["stress" if known.quantity == "virial" else known.quantity] = value
    kept: dict[str, Any] = {}
    for name, value in others.items():
        known = meaning_of(name)
        quantity = "" if known is None else known.quantity
        label = quantities.get("stress" if quantity == "virial" else quantity)
        clashes = name in taken or (label is not None and not np.array_equal(label, value))
        kept[f"other_{name}" if clashes else name] = value
    return kept


def _move_mask(atoms: Atoms) -> dict[str, np.ndarray]:
    free = np.ones((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif isinstance(constraint, FixCartesian):
            free[constraint.index] &= ~np.asarray(constraint.mask, dtype=bool)
    if free.all():
        return {}
    whole = (free == free[:, :1]).all()
    return {"move_mask": free[:, 0] if whole else free}


def _properties(table: Mapping[str, np.ndarray]) -> str:
    words: list[str] = []
    for name, values in table.items():
        values = np.asarray(values)  # noqa: PLW2901
        if values.dtype.kind not in _KINDS or values.ndim > 2 or set(name) & set(': \t"='):
            raise StructureError(
                f"extended XYZ cannot hold the array '{name}' of type {values.dtype} and shape "
                f"{values.shape}; remove it, or give it one number or row of numbers per atom"
            )
        width = values.shape[1] if values.ndim == 2 else 1
        words.append(f"{_COLUMN_NAMES.get(name, name)}:{_KINDS[values.dtype.kind]}:{width}")
    return ":".join(words)


def _column(name: str, values: np.ndarray) -> list[str]:
    """The text of a property for each atom."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        rows = values.astype(float).tolist()
        if values.ndim == 1:
            return [repr(number) for number in rows]
        return [" ".join([repr(number) for number in row]) for row in rows]
    if values.dtype.kind == "b":
        values = np.where(values, "T", "F")
    words = values.astype(str).tolist()
    if values.dtype.kind in "UO" and any(
        not word or any(mark.isspace() for mark in word) for word in np.ravel(words)
    ):
        raise StructureError(
            f"extended XYZ cannot hold the array '{name}': a text is empty or has a blank; remove "
            "the array"
        )
    return words if values.ndim == 1 else [" ".join(row) for row in words]


def _numbers(values: np.ndarray) -> str:
    return " ".join([repr(number) for number in values.tolist()])


def _text(key: str, value: Any) -> str:
    """The text of a value, from which `parse_value` returns it.

    Raises `TypeError`, `ValueError` or `RecursionError` for one that JSON does not have.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Spacegroup):  # of ASE's readers of crystals
        value = value.symbol
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "if":
        return _numbers(value) if len(value) > 1 else f"_JSON {json.dumps(value.tolist())}"
    if isinstance(value, list) and len(value) > 1 and all(type(word) is bool for word in value):
        return " ".join("T" if word else "F" for word in value)
    if isinstance(value, str) and "\n" not in value and _reads_as_text(key, value):
        return value
    return "_JSON " + json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy inside of other values as lists and numbers of Python."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no text")


def _reads_as_text(key: str, value: str) -> bool:
    if key.lower() == "uid":  # always a text
        return True
    if not value.strip() or value.startswith("_JSON"):
        return False
    read = parse_value(value)  # "1 2" is read as an array, which no comparison with a text likes
    return isinstance(read, str) and read == value


def _quoted(text: str) -> str:
    if not text or any(mark.isspace() or mark in "\"'{}[]\\=," for mark in text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text
