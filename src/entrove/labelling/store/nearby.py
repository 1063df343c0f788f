"""Find a structure again after it went through a file with few decimals.

The content hash of a structure survives rounding errors, and not the five decimals of an OUTCAR.
So imported labels are also compared by their geometry.

Structures of one formula are compared by a few invariants first, since a file may hold thousands,
all in one cell.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from entrove.labelling.labels import Label
from entrove.labelling.store.moments import UNKNOWN

SAME_GEOMETRY_A = 1e-4
"""How far atoms and cell vectors may be apart; the printed decimals of VASP and pw.x cost 1e-5 A.

At a force of 1 eV/A this changes an energy by 0.1 meV. Structures that a campaign asks for differ
by a hundred times more.
"""


@dataclass(frozen=True, eq=False)
class Turned:
    """A stored structure that is the one asked for in another orientation.

    A vector v of the stored label is v @ rotation in the orientation that was asked for; `order`
    is as in `Nearby`; `atoms` is the stored structure, in the order of its label.
    """

    structure_hash: str
    atoms: Atoms
    order: Int[np.ndarray, " atoms"]
    rotation: Float[np.ndarray, "3 3"]

    def turn_back(self, label: Label) -> Label:
        """The label of `atoms` that a label of the structure asked for says."""
        label = label.turned(self.rotation.T).reordered(np.argsort(self.order))
        return replace(label, structure_hash=self.structure_hash)


@dataclass(frozen=True, eq=False)
class Nearby:
    """A stored structure with the geometry that was asked for, within `SAME_GEOMETRY_A`.

    `order[i]` is the atom of the stored label that is atom i of the structure asked for; `atoms`
    is the stored structure, in the order of its label, which is the row `rowid`.
    """

    rowid: int
    structure_hash: str
    atoms: Atoms
    order: Int[np.ndarray, " atoms"]


def match_atoms(
    asked: Atoms, other: Atoms, tolerance_A: float = SAME_GEOMETRY_A
) -> Int[np.ndarray, " atoms"] | None:
    """Find the atoms of one structure in another.

    Args:
        asked, other: Structures in the same orientation; atoms may be in any order and in any
            periodic images.
        tolerance_A: How far each atom and each cell vector may be apart.

    Returns for each atom of `asked` its index in `other`, or None when the structures differ.
    """
    if len(asked) != len(other) or (asked.pbc != other.pbc).any():
        return None
    if (np.sort(asked.numbers) != np.sort(other.numbers)).any():
        return None
    if np.abs(asked.cell.array - other.cell.array).max() > tolerance_A:
        return None
    cell = asked.cell.complete().array
    # Fractions of each structure's own cell: rounded cells of many atoms would add up otherwise.
    fractions = np.linalg.solve(cell.T, asked.positions.T).T
    others = np.linalg.solve(other.cell.complete().array.T, other.positions.T).T
    apart = fractions[:, None, :] - others[None, :, :]
    apart = np.where(asked.pbc, apart - np.round(apart), apart)
    distances = np.linalg.norm(apart @ cell, axis=2)
    distances[asked.numbers[:, None] != other.numbers[None, :]] = np.inf
    order = distances.argmin(axis=1)
    found = distances[np.arange(len(asked)), order] <= tolerance_A
    return order if found.all() and len(np.unique(order)) == len(order) else None


class Geometries:
    """Structures to search for one with the same geometry, in the same orientation.

    Args:
        structures: Any number; they are compared by their invariants first, so that a search does
            not take longer with every one of them.
    """

    def __init__(self, structures: Iterable[Atoms]) -> None:
        self._by_formula: dict[str, _SameFormula] = {}
        for number, atoms in enumerate(structures):
            group = self._by_formula.setdefault(atoms.get_chemical_formula(), _SameFormula())
            group.enter(_Stored(number, "", atoms))

    def have(self, atoms: Atoms) -> bool:
        """Whether `match_atoms` finds a structure in one of them."""
        group = self._by_formula.get(atoms.get_chemical_formula())
        return group is not None and any(
            match_atoms(atoms, stored.atoms) is not None for stored in group.similar(atoms)
        )


class NearbyStructures:
    """The structures of a cache by formula; each is read once.

    What other connections write is seen at the next search; what this one writes has to be told
    with `stored`. Labels that have gone may be remembered: each match is looked up in the cache.
    """

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._known: dict[tuple[str, str], _SameFormula] = {}

    def stored(self, rowid: int, row: Mapping[str, Any]) -> None:
        """Take note of a label that this connection has stored: its row, as columns."""
        group = self._known.get((row["level_hash"], row["formula"]))
        if group is not None:
            group.add(rowid, row["structure_hash"], row["structure"])

    def find(self, atoms: Atoms, level_hash: str, state: str) -> Nearby | None:
        """The converged imported label of this level with the geometry of `atoms`, or None."""
        for match in self.find_all(atoms, level_hash):
            if self._holds(match, level_hash, state, imported=True):
                return match
        return None

    def find_all(self, atoms: Atoms, level_hash: str) -> Iterator[Nearby]:
        """Every structure of this level with the geometry of `atoms`, in the order of the rows.

        Their labels are of any kind and magnetic state, and may have gone meanwhile.
        """
        group = self._group(level_hash, atoms.get_chemical_formula())
        for stored in group.similar(atoms):
            order = match_atoms(atoms, stored.atoms)
            if order is not None:
                yield Nearby(stored.rowid, stored.structure_hash, stored.atoms, order)

    def find_turned(self, atoms: Atoms, level_hash: str, state: str) -> Turned | None:
        """The converged label of this level whose crystal is `atoms` in another orientation.

        Cells are compared in their standard orientation, so that another choice of lattice
        vectors is another crystal. None for what is not periodic in three dimensions.
        """
        if not atoms.pbc.all() or atoms.cell.rank < 3:
            return None
        group = self._group(level_hash, atoms.get_chemical_formula())
        standard, own = _standard_orientation(atoms)
        for stored in group.similar(atoms):
            if stored.atoms.cell.rank < 3:
                continue
            other, of_other = _standard_orientation(stored.atoms)
            order = match_atoms(standard, other)
            if order is not None and self._holds(stored, level_hash, state, imported=False):
                return Turned(stored.structure_hash, stored.atoms, order, of_other.T @ own)
        return None

    def _holds(
        self, stored: "_Stored | Nearby", level_hash: str, state: str, *, imported: bool
    ) -> bool:
        """Whether the cache still has this label, converged and of this magnetic state."""
        row = self._connection.execute(
            "SELECT import_id FROM labels WHERE rowid = ? AND structure_hash = ? AND "
            f"level_hash = ? AND outcome = 'converged' AND moments IN (?, '{UNKNOWN}')",
            (stored.rowid, stored.structure_hash, level_hash, state),
        ).fetchone()
        return row is not None and not (imported and row[0] is None)

    def _group(self, level_hash: str, formula: str) -> "_SameFormula":
        # It changes with what other connections write, and takes no time that grows.
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        group = self._known.setdefault((level_hash, formula), _SameFormula())
        if group.version != version:
            self._read_new(level_hash, formula, group)
            group.version = version
        return group

    def _read_new(self, level_hash: str, formula: str, group: "_SameFormula") -> None:
        """Read the structures of a group that are not known yet."""
        rows = self._connection.execute(
            "SELECT rowid, structure_hash FROM labels WHERE level_hash = ? AND formula = ? AND "
            "outcome = 'converged'",
            (level_hash, formula),
        ).fetchall()
        # The number of a row that was deleted may be given to another one.
        for rowid, structure_hash in rows:
            if not group.has(rowid, structure_hash):
                found = self._connection.execute(
                    "SELECT structure_hash, structure FROM labels WHERE rowid = ?", (rowid,)
                ).fetchone()
                if found is not None:
                    group.add(rowid, *found)


def _standard_orientation(atoms: Atoms) -> tuple[Atoms, Float[np.ndarray, "3 3"]]:
    """The structure with a lower triangular cell, and the rotation that leads back, v @ Q."""
    cell, rotation = atoms.cell.standard_form()
    turned = Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=cell, pbc=atoms.pbc)
    return turned, rotation


@dataclass(frozen=True, eq=False)
class _Stored:
    """A structure of the cache, and the row of its label."""

    rowid: int
    structure_hash: str
    atoms: Atoms


class _SameFormula:
    """Structures of one level and formula, to be searched by their invariants.

    `version` is that of the database when all others than this connection's were read.
    """

    def __init__(self):
        self.version: int | None = None
        self._place: dict[int, int] = {}
        self._stored: list[_Stored] = []
        # A row for each invariant, with places for further structures.
        self._invariants = np.zeros((9, 16))

    def has(self, rowid: int, structure_hash: str) -> bool:
        """Whether a row is known, with this structure."""
        place = self._place.get(rowid)
        return place is not None and self._stored[place].structure_hash == structure_hash

    def add(self, rowid: int, structure_hash: str, structure: str) -> None:
        """Enter a row of the cache, or what it holds now; `structure` is JSON."""
        self.enter(_Stored(rowid, structure_hash, Atoms(**json.loads(structure))))

    def enter(self, stored: _Stored) -> None:
        """Enter a structure, in the place of another one with its number."""
        place = self._place.setdefault(stored.rowid, len(self._stored))
        self._stored[place : place + 1] = [stored]
        if place == self._invariants.shape[1]:
            self._invariants = np.hstack([self._invariants, np.zeros_like(self._invariants)])
        self._invariants[:, place] = _invariants_of(stored.atoms)[0]

    def similar(self, atoms: Atoms) -> list[_Stored]:
        """All structures that may match `atoms` in some orientation, in the order of the rows."""
        places = np.arange(len(self._stored))
        for own, tolerance, others in zip(*_invariants_of(atoms), self._invariants, strict=True):
            # One after the other: the first leave few to compare.
            places = places[np.abs(others[places] - own) <= tolerance]
        return sorted((self._stored[place] for place in places), key=lambda stored: stored.rowid)


def _invariants_of(
    atoms: Atoms,
) -> tuple[Float[np.ndarray, " invariants"], Float[np.ndarray, " invariants"]]:
    """Numbers that depend neither on orientation, order and periodic images, and tolerances.

    These are the lengths of the cell vectors, and the sums of Z exp(2 pi i s_k) / sum(Z) over the
    fractional coordinates s_k. A displacement d changes s_k by d . b_k, with the reciprocal
    vectors b_k; so structures that match within `SAME_GEOMETRY_A` differ by the tolerances at
    most.
    """
    cell = atoms.cell.complete().array
    inverse = np.linalg.pinv(cell)
    phases = np.exp(2j * np.pi * (atoms.positions @ inverse))
    sums = atoms.numbers @ phases / max(1, atoms.numbers.sum())
    turn = 2 * np.pi * np.linalg.norm(inverse, axis=0)
    numbers = np.concatenate([sums.real, sums.imag, atoms.cell.lengths()])
    tolerances = SAME_GEOMETRY_A * np.concatenate([turn, turn, np.full(3, np.sqrt(3))])
    # Rounding errors are far smaller than this, except of coordinates of thousands of cells.
    return numbers, 1.01 * tolerances + 1e-9
