"""Read, write, copy and hash structures.

Every public function takes and returns structures as ASE `Atoms`. A labelled structure is an
`Atoms` with a `SinglePointCalculator` that holds energy (eV), forces (eV/A) and stress (eV/A^3,
ASE's sign and Voigt order).
"""

import copy
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from jaxtyping import Float

from entrove.errors import StructureError
from entrove.files import replacing

StructureSource = Atoms | Iterable[Atoms] | str | Path
"""One structure, any collection or stream of structures, or the path of a file that ASE reads."""

HASH_RESOLUTION_A = 1e-5
"""Structures whose atoms and cells agree to about this length have the same content hash."""


def content_hash(atoms: Atoms) -> str:
    """Hash species, cell, periodicity and positions.

    Args:
        atoms: One structure.

    Returns 32 hexadecimal digits. They do not change when atoms are reordered or moved by lattice
    vectors along periodic directions; they do change under rotation and translation. Lengths are
    rounded to `HASH_RESOLUTION_A`, so that rounding errors hardly ever make a new structure.

    Raises `StructureError` for a position that is not finite and for a cell without a volume along
    its periodic directions, whose fractions do not exist.
    """
    rows = _rounded_rows(atoms)
    rows = rows[np.lexsort(rows.T[::-1])]
    digest = hashlib.sha256()
    for part in (_round_length(atoms.cell.array), atoms.pbc.astype(np.int64), rows):
        digest.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return digest.hexdigest()[:32]


def canonical_order(atoms: Atoms) -> np.ndarray:
    """Return the indices, shape (atoms,), that sort the atoms as `content_hash` reads them.

    In this order two structures of equal hash list the same atoms, whatever the order and the
    periodic images in which they were given.
    """
    return np.lexsort(_rounded_rows(atoms).T[::-1])


def _rounded_rows(atoms: Atoms) -> np.ndarray:
    """One integer row per atom: atomic number and three rounded, wrapped coordinates."""
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise StructureError(
            f"positions or cell of {{structure}} ({atoms.get_chemical_formula()}) are not finite "
            "numbers; discard it"
        )
    if not atoms.pbc.any():
        coordinates = _round_length(atoms.positions)
    else:
        # Along periodic directions positions are fractions of the cell, wrapped into [0, 1).
        full_cell = atoms.cell.complete().array
        lengths = np.linalg.norm(full_cell, axis=1)
        steps = np.maximum(np.round(lengths / HASH_RESOLUTION_A), 1.0).astype(np.int64)
        try:
            fractions = np.linalg.solve(full_cell.T, atoms.positions.T).T
        except np.linalg.LinAlgError as error:
            raise StructureError(
                f"the cell of {{structure}} ({atoms.get_chemical_formula()}) has no volume along "
                "its periodic directions; give independent vectors, or switch pbc off"
            ) from error
        coordinates = _round_length(fractions * steps * HASH_RESOLUTION_A)
        coordinates = np.where(atoms.pbc, coordinates % steps, coordinates)
    return np.column_stack([atoms.numbers.astype(np.int64), coordinates])


def _round_length(length_A: np.ndarray) -> np.ndarray:
    # Atoms of crystals sit at simple fractions of the cell. Plain rounding puts these on the edge
    # of a bin (a quarter of 543102 steps), where rounding errors decide. The edges of bins shifted
    # by the golden ratio are as far from simple fractions as possible.
    return np.floor(length_A / HASH_RESOLUTION_A + 0.6180339887498949).astype(np.int64)


def read_structures(path: str | Path, *, may_be_empty: bool = False) -> list[Atoms]:
    """Read every structure of a file.

    Args:
        path: A file in any format that ASE reads.
        may_be_empty: Return an empty list for a file that is missing or empty, as those of a
            campaign are before anything was found.

    Raises `StructureError` when the file is missing, unreadable or empty.
    """
    path = Path(path)
    if may_be_empty and not (path.is_file() and path.stat().st_size):
        return []
    _require_file(path, "check the path, which in a configuration is relative to it")
    structures = list(iterate_file(path))
    if not structures:
        raise StructureError(
            f"{path}: the file holds no structure; give one with at least one structure"
        )
    return structures


def is_readable(path: Path) -> bool:
    """Whether `read_structures` reads a file of a campaign, which may be missing or empty."""
    try:
        read_structures(path, may_be_empty=True)
    except StructureError:
        return False
    return True


def read_sample(path: str | Path, most: int) -> list[Atoms]:
    """Read at most `most` structures of an extended XYZ file, evenly spaced.

    Args:
        path: The file; it may be missing or empty.
        most: Largest number of structures, at least 1. Those in between are not parsed.

    Raises `StructureError` when the file is damaged.
    """
    path = Path(path)
    if not (path.is_file() and path.stat().st_size):
        return []
    with path.open(encoding="utf-8") as lines:
        # The second line of every frame names its columns.
        count = sum("Properties=" in line for line in lines)
    return list(iterate_file(path, step=max(1, -(-count // most))))


def _require_file(path: Path, remedy: str) -> None:
    if path.is_dir():
        raise StructureError(f"{path}: it is a folder; give a file of structures")
    if not path.is_file():
        raise StructureError(f"{path}: no such file; {remedy}")


def iterate_file(path: Path, step: int = 1) -> Iterator[Atoms]:
    """Yield the structures of a file that ASE reads; an error names the file and the structure."""
    from ase.io import iread

    _require_file(path, "check the path")
    # "@" is part of a name here, not the beginning of ASE's index of frames.
    index = ":" if step == 1 else f"::{step}"
    structures, count = iread(path, index, do_not_split_by_at_sign=True), 0
    while True:
        try:
            atoms = next(structures)
        except StopIteration:
            return
        except Exception as error:  # ASE's readers raise exceptions of any kind on a damaged file
            detail = f" ({error})" if str(error) else ""
            raise StructureError(
                f"{path}: ASE cannot read this file at structure {count * step}, counted from 0"
                f"{detail}; check its format, and whether it is complete"
            ) from error
        yield atoms
        count += 1


def copy_structure(atoms: Atoms) -> Atoms:
    """Copy species, positions, cell and periodicity, and nothing else."""
    return Atoms(
        numbers=atoms.numbers.copy(),
        positions=atoms.positions.copy(),
        cell=atoms.cell.copy(),
        pbc=atoms.pbc.copy(),
    )


def attach_results(
    atoms: Atoms, energy_eV: float, forces_eV_per_A: np.ndarray, stress_eV_per_A3: np.ndarray
) -> Atoms:
    """Attach energy, forces and stress to a structure, as ASE's readers do.

    Args:
        atoms: The structure; it is not changed.
        energy_eV: Total energy in eV.
        forces_eV_per_A: Forces in eV/A, shape (atoms, 3).
        stress_eV_per_A3: Stress in eV/A^3 with ASE's sign (tension is positive), shape (3, 3) or
            (6,) in Voigt order xx, yy, zz, yz, xz, xy.

    Returns a copy with a `SinglePointCalculator`.
    """
    labelled = atoms.copy()
    stress = np.asarray(stress_eV_per_A3, dtype=float)
    if stress.shape == (3, 3):
        stress = stress.reshape(9)[[0, 4, 8, 5, 2, 1]]
    labelled.calc = SinglePointCalculator(
        labelled,
        energy=float(energy_eV),
        forces=np.asarray(forces_eV_per_A, dtype=float),
        stress=stress,
    )
    return labelled


def energy_of(atoms: Atoms) -> float:
    """Return the energy that a structure carries, in eV; ASE gives it no type."""
    return float(atoms.get_potential_energy())


def forces_of(atoms: Atoms) -> Float[np.ndarray, "atoms 3"]:
    """Return the forces that a structure carries, in eV/A.

    Constraints hide none: they say what a relaxation may move, and not what was computed.
    """
    return np.asarray(atoms.get_forces(apply_constraint=False), dtype=float)


def stress_of(atoms: Atoms) -> Float[np.ndarray, "6"]:
    """Return the stress that a structure carries, in eV/A^3 and ASE's Voigt order.

    As with `forces_of`, constraints change nothing.
    """
    return np.asarray(atoms.get_stress(apply_constraint=False), dtype=float)


def has_stress(atoms: Atoms) -> bool:
    """Whether a structure is a crystal and carries a stress."""
    return bool(atoms.pbc.all()) and atoms.calc is not None and "stress" in atoms.calc.results


def as_written(atoms: Atoms) -> Atoms:
    """Return a copy with positions rounded to the eight decimals that `write_structures` keeps.

    A run that continues from memory and one that continues from a file then compute with
    identical bits.
    """
    written = copy_structure(atoms)
    written.positions = [[float(f"{value:.8f}") for value in row] for row in atoms.positions]
    return written


def write_structures(path: str | Path, structures: Sequence[Atoms]) -> None:
    """Write extended XYZ, replacing `path` in one step.

    Args:
        path: The file; a reader sees the old one or the new one, never a part of it.
        structures: Structures with their `info`, arrays and results; they are not changed.

    Texts in `info` come back as they are, also those that look like something else: "T", "01".
    """
    from ase.io import write

    with replacing(path) as unfinished:
        write(unfinished, [_with_texts_that_stay(atoms) for atoms in structures], format="extxyz")


def _with_texts_that_stay(atoms: Atoms) -> Atoms:
    """The structure, with texts in `info` for ASE to write so that it reads the same again."""
    changed = {
        key: text
        for key, value in atoms.info.items()
        if isinstance(value, str) and (text := _text_that_stays(key, value)) != value
    }
    if not changed:
        return atoms
    # No copy of arrays and results: only `info` differs.
    written = copy.copy(atoms)
    written.info = {**atoms.info, **changed}
    return written


@functools.lru_cache(maxsize=1024)
def _text_that_stays(key: str, text: str) -> str:
    """What to give ASE's writer for its reader to return this text.

    ASE reads "T" as True, "01" as 1 and "1 1 0" as an array. It neither quotes an empty text, nor
    escapes backslashes, which its reader takes away.
    """
    from ase.io.extxyz import UNPROCESSED_KEYS, key_val_dict_to_str, key_val_str_to_dict

    escaped = text.replace("\\", "\\\\")
    if key.lower() in UNPROCESSED_KEYS:
        return escaped
    # A key that follows shows whether the text ends where it should.
    read = key_val_str_to_dict(key_val_dict_to_str({"text": escaped, "next": 0}))
    same = isinstance(read.get("text"), str) and read["text"] == text and len(read) == 2
    if same and text.splitlines() == [text]:
        return escaped
    return "_JSON " + json.dumps(text).replace("\\", "\\\\")


def species_of(structures: Sequence[Atoms]) -> list[str]:
    """Return the chemical symbols that occur in `structures`, ordered by atomic number."""
    from ase.data import chemical_symbols

    numbers = sorted({int(number) for atoms in structures for number in atoms.numbers})
    return [chemical_symbols[number] for number in numbers]


@dataclass(frozen=True)
class Contact:
    """Two atoms next to each other; the second may be a periodic image, also of the first.

    `ratio` is their distance over the sum of their covalent radii (ASE's, Cordero et al., Dalton
    Trans. 2832 (2008)).
    """

    first: int
    second: int
    symbols: tuple[str, str]
    distance_A: float
    ratio: float

    def describe(self) -> str:
        """Name the atoms and their distance, for messages."""
        return (
            f"atoms {self.first} and {self.second} ({'-'.join(self.symbols)}) "
            f"{self.distance_A:.3f} A apart"
        )


def closest_atoms(atoms: Atoms) -> Contact | None:
    """Return the two atoms that are closest for their size; None for a single free atom.

    Args:
        atoms: One structure of any periodicity, with a cell that has a volume where it is
            periodic.
    """
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    radii = covalent_radii[atoms.numbers]
    # Every crystal has a neighbour within the longest edge of its cell, every molecule within its
    # length.
    lengths = [*atoms.cell.lengths()[atoms.pbc], 2 * np.ptp(atoms.positions, axis=0).max()]
    cutoff, largest = 2.0 * float(radii.max()), float(max(lengths)) + 1.0
    while True:
        first, second, distance = neighbor_list("ijd", atoms, cutoff)
        if len(distance):
            # A pair of small atoms just beyond the cutoff may have a smaller ratio.
            ratio = distance / (radii[first] + radii[second])
            best = int(ratio.argmin())
            if ratio[best] * 2 * radii.max() <= cutoff or cutoff > largest:
                pair = (int(first[best]), int(second[best]))
                symbols = (str(atoms.symbols[pair[0]]), str(atoms.symbols[pair[1]]))
                return Contact(*pair, symbols, float(distance[best]), float(ratio[best]))
        elif cutoff > largest:
            return None
        cutoff *= 2
