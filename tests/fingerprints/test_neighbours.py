"""Neighbours against ASE's search, for any cell, and both of our searches against each other."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list

from entrove.errors import StructureError
from entrove.fingerprints import neighbours
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.neighbours import find_neighbours

CUTOFF_A = 5.0


def random_structure(rng: np.random.Generator, pbc: tuple[bool, ...]) -> Atoms:
    """Cells from far smaller to larger than the cutoff; atoms up to dozens of cells outside."""
    cell = rng.normal(scale=1.5, size=(3, 3)) + np.eye(3) * rng.uniform(2, 9)
    if abs(np.linalg.det(cell)) < 8:
        cell += 6 * np.eye(3)
    count = int(rng.integers(1, 12))
    positions = rng.normal(scale=rng.choice([3, 30]), size=(count, 3))
    return Atoms(numbers=[14] * count, positions=positions, cell=cell, pbc=pbc)


def sorted_rows(neighbour: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    rows = np.column_stack([neighbour, displacement])
    return rows[np.lexsort(np.round(rows, 6).T)]


@pytest.mark.parametrize("search", ["all pairs", "linked cells"])
@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
def test_neighbours_are_those_that_ase_finds(pbc, search, monkeypatch):
    monkeypatch.setattr(neighbours, "MAX_DENSE_PAIRS", 2**30 if search == "all pairs" else 0)
    rng = np.random.default_rng(7)
    for _ in range(6):
        structures = [random_structure(rng, pbc) for _ in range(int(rng.integers(1, 4)))]
        found = find_neighbours(to_state(structures), CUTOFF_A)
        atom = 0
        for atoms in structures:
            # ASE needs a full cell; along directions that are not periodic any will do.
            cell = atoms.cell.array if atoms.pbc.any() else 100 * np.eye(3)
            centre, other, vector = primitive_neighbor_list(
                "ijD", atoms.pbc, cell, atoms.positions, CUTOFF_A
            )
            for index in range(len(atoms)):
                first, count = int(found.first[atom + index]), int(found.count[atom + index])
                ours = sorted_rows(
                    found.neighbour[first : first + count].numpy() - atom,
                    found.displacement[first : first + count].numpy(),
                )
                theirs = sorted_rows(other[centre == index], vector[centre == index])
                # Wrapping an atom 30 cells away loses two of sixteen digits.
                np.testing.assert_allclose(ours, theirs, atol=1e-11)
            atom += len(atoms)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_two_atoms_at_one_place_are_named(limit, monkeypatch):
    monkeypatch.setattr(neighbours, "MAX_DENSE_PAIRS", limit)
    good = Atoms("Si2", positions=[[0, 0, 0], [2, 2, 2]], cell=[6, 6, 6], pbc=True)
    # The second atom sits on a periodic image of the fourth.
    bad = Atoms(
        "Si4", positions=[[0, 0, 0], [1, 1, 0], [3, 3, 3], [7, 1, 6]], cell=[6, 6, 6], pbc=True
    )
    with pytest.raises(StructureError, match="atoms 1 and 3 of structure 1 are at one place"):
        find_neighbours(to_state([good, bad]), CUTOFF_A)


def test_flat_cells_and_lost_atoms_are_refused():
    flat = Atoms("Si", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True)
    with pytest.raises(
        StructureError, match=r"structure 0, .* no volume along its periodic directions"
    ):
        find_neighbours(to_state([flat]), CUTOFF_A)
    lost = Atoms("Si2", positions=[[0, 0, 0], [np.nan, 0, 0]], cell=[6, 6, 6], pbc=True)
    with pytest.raises(StructureError, match=r"atoms \[1\] are not finite"):
        find_neighbours(to_state([lost]), CUTOFF_A)


def test_vacuum_costs_no_memory(monkeypatch):
    monkeypatch.setattr(neighbours, "MAX_DENSE_PAIRS", 0)
    far_apart = Atoms("Si3", positions=[[0, 0, 0], [2, 0, 0], [1e7, 1e7, 1e7]])
    assert find_neighbours(to_state([far_apart]), CUTOFF_A).count.tolist() == [1, 1, 0]
