"""Find a structure again after it went through a file with few decimals.

The content hash of a structure survives rounding errors, and not the five decimals of an OUTCAR.
So imported labels are also compared by their geometry.
"""

import json
import sqlite3
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

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
    is as in `Nearby`.
    """

    structure_hash: str
    order: Int[np.ndarray, " atoms"]
    rotation: Float[np.ndarray, "3 3"]


@dataclass(frozen=True, eq=False)
class Nearby:
    """An imported structure with the geometry that was asked for, within `SAME_GEOMETRY_A`.

    `order[i]` is the atom of the stored label that is atom i of the structure asked for.
    """

    structure_hash: str
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


class NearbyStructures:
    """The structures of a cache by composition; each is read once."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._known: dict[tuple[str, str, bool], _SameFormula] = {}

    def find(self, atoms: Atoms, level_hash: str, state: str) -> Nearby | None:
        """The converged imported label of this level with the geometry of `atoms`, or None."""
        group = self._group(level_hash, atoms.get_chemical_formula(), imported=True)
        if group is None:
            return None
        close = np.abs(group.cells - atoms.cell.array).max(axis=(1, 2)) <= SAME_GEOMETRY_A
        for index in np.flatnonzero(close & group.have(state)):
            order = match_atoms(atoms, group.structures[index])
            if order is not None:
                return Nearby(group.hashes[index], order)
        return None

    def find_turned(self, atoms: Atoms, level_hash: str, state: str) -> Turned | None:
        """The converged label of this level whose crystal is `atoms` in another orientation.

        Cells are compared in their standard orientation, so that another choice of lattice
        vectors is another crystal. None for what is not periodic in three dimensions.
        """
        if not atoms.pbc.all() or atoms.cell.rank < 3:
            return None
        group = self._group(level_hash, atoms.get_chemical_formula(), imported=False)
        if group is None:
            return None
        standard, own = _standard_orientation(atoms)
        close = np.abs(group.standard_cells - standard.cell.array).max(axis=(1, 2))
        for index in np.flatnonzero((close <= SAME_GEOMETRY_A) & group.have(state)):
            other, of_other = _standard_orientation(group.structures[index])
            order = match_atoms(standard, other)
            if order is not None:
                return Turned(group.hashes[index], order, of_other.T @ own)
        return None

    def _group(self, level_hash: str, formula: str, *, imported: bool) -> "_SameFormula | None":
        where = "level_hash = ? AND formula = ? AND outcome = 'converged'"
        if imported:
            where += " AND import_id IS NOT NULL"
        state = self._connection.execute(
            f"SELECT count(*), max(rowid), coalesce(max(import_id), 0) FROM labels WHERE {where}",
            (level_hash, formula),
        ).fetchone()
        if not state[0]:
            return None
        key = (level_hash, formula, imported)
        known = self._known.get(key)
        if known is None or known.state != state:
            known = self._read(where, (level_hash, formula), state, known)
            self._known[key] = known
        return known

    def _read(
        self,
        where: str,
        values: tuple[str, str],
        state: tuple[int, int, int],
        known: "_SameFormula | None",
    ) -> "_SameFormula":
        """Read the rows of a group; of one that only grew, those that are new."""
        query = (
            f"SELECT structure_hash, structure, moments FROM labels WHERE {where} AND rowid > ?"
        )
        if known is not None:
            rows = self._connection.execute(
                f"{query} ORDER BY rowid", (*values, known.state[1])
            ).fetchall()
            if known.state[0] + len(rows) == state[0]:
                return known.extended(state, rows)
        rows = self._connection.execute(f"{query} ORDER BY rowid", (*values, -1)).fetchall()
        empty = np.zeros((0, 3, 3))
        return _SameFormula(state, [], [], [], empty, empty).extended(state, rows)


def _standard_orientation(atoms: Atoms) -> tuple[Atoms, Float[np.ndarray, "3 3"]]:
    """The structure with a lower triangular cell, and the rotation that leads back, v @ Q."""
    cell, rotation = atoms.cell.standard_form()
    turned = Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=cell, pbc=atoms.pbc)
    return turned, rotation


@dataclass(frozen=True, eq=False)
class _SameFormula:
    """`state` tells when the cache holds other labels of this formula than were read."""

    state: tuple[int, int, int]
    hashes: list[str]
    structures: list[Atoms]
    states: list[str]
    cells: Float[np.ndarray, "structures 3 3"]
    standard_cells: Float[np.ndarray, "structures 3 3"]

    def have(self, state: str) -> np.ndarray:
        """Which labels are of a magnetic state, or of an unknown one."""
        return np.array([own in (state, UNKNOWN) for own in self.states], dtype=bool)

    def extended(
        self, state: tuple[int, int, int], rows: list[tuple[str, str, str]]
    ) -> "_SameFormula":
        """The group with further rows."""
        structures = [Atoms(**json.loads(structure)) for _, structure, _ in rows]
        cells = np.array([atoms.cell.array for atoms in structures]).reshape(-1, 3, 3)
        standard = [
            atoms.cell.standard_form()[0].array
            if atoms.cell.rank == 3
            else np.full((3, 3), np.inf)
            for atoms in structures
        ]
        return _SameFormula(
            state,
            [*self.hashes, *(structure_hash for structure_hash, _, _ in rows)],
            [*self.structures, *structures],
            [*self.states, *(moments for _, _, moments in rows)],
            np.concatenate([self.cells, cells]),
            np.concatenate([self.standard_cells, np.array(standard).reshape(-1, 3, 3)]),
        )
