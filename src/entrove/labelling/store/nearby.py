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

SAME_GEOMETRY_A = 1e-4
"""How far atoms and cell vectors may be apart; the printed decimals of VASP and pw.x cost 1e-5 A.

At a force of 1 eV/A this changes an energy by 0.1 meV. Structures that a campaign asks for differ
by a hundred times more.
"""


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
    """The imported structures of a cache by composition; each composition is read once."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._known: dict[tuple[str, str], _SameFormula] = {}

    def find(self, atoms: Atoms, level_hash: str) -> Nearby | None:
        """The converged imported label of this level with the geometry of `atoms`, or None."""
        formula = atoms.get_chemical_formula()
        group = self._group(level_hash, formula)
        if group is None:
            return None
        close = np.abs(group.cells - atoms.cell.array).max(axis=(1, 2)) <= SAME_GEOMETRY_A
        for index in np.flatnonzero(close):
            order = match_atoms(atoms, group.structures[index])
            if order is not None:
                return Nearby(group.hashes[index], order)
        return None

    def _group(self, level_hash: str, formula: str) -> "_SameFormula | None":
        where = (
            "level_hash = ? AND formula = ? AND import_id IS NOT NULL AND outcome = 'converged'"
        )
        state = self._connection.execute(
            f"SELECT count(*), max(rowid), max(import_id) FROM labels WHERE {where}",
            (level_hash, formula),
        ).fetchone()
        if not state[0]:
            return None
        known = self._known.get((level_hash, formula))
        if known is None or known.state != state:
            rows = self._connection.execute(
                f"SELECT structure_hash, structure FROM labels WHERE {where} ORDER BY rowid",
                (level_hash, formula),
            ).fetchall()
            structures = [Atoms(**json.loads(structure)) for _, structure in rows]
            known = _SameFormula(
                state,
                [structure_hash for structure_hash, _ in rows],
                structures,
                np.array([atoms.cell.array for atoms in structures]),
            )
            self._known[level_hash, formula] = known
        return known


@dataclass(frozen=True, eq=False)
class _SameFormula:
    """`state` tells when the cache holds other imports of this formula than were read."""

    state: tuple[int, int, int]
    hashes: list[str]
    structures: list[Atoms]
    cells: Float[np.ndarray, "structures 3 3"]
