import numpy as np
import pytest
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from entrove.errors import StructureError
from entrove.models import neighbours
from entrove.models.neighbours import NeighbourSearch

CUTOFF_A = 5.0


def compressed_diamond(scale: float) -> Atoms:
    return bulk("C", "diamond", a=3.57 * scale, cubic=True)


def slab() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.pbc = (True, True, False)
    return atoms


def skewed() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43)
    shear = np.array([[1.0, 0.9, 0.0], [0.0, 1.0, 0.8], [0.0, 0.0, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


def without_a_vector(pbc: tuple[bool, bool, bool], cell: list[list[float]]) -> Atoms:
    """Two atoms in a layer or a chain whose cell has no vector across it."""
    positions = [[0.1, 0.2, 0.3], [0.4, 0.5, 1.6]]
    return Atoms("C2", positions=positions, cell=cell, pbc=pbc)


CASES = {
    "primitive": bulk("Si", "diamond", a=5.43),
    "as dense as torch-sim's own list allows": compressed_diamond(1.0),
    "denser than torch-sim's own list allows": compressed_diamond(0.9),
    "twice as dense": compressed_diamond(0.7),
    "skewed": skewed(),
    "slab": slab(),
    "molecule in a box": molecule("CH3CH2OH", vacuum=3.0),
    "layer in the second and third axes": without_a_vector(
        (True, False, True), [[0, 0, 2.46], [0, 0, 0], [0, 2.2, 1.23]]
    ),
    "chain along another axis": without_a_vector(
        (False, True, False), [[0, 0, 0], [2.4, 0, 0], [0, 0, 0]]
    ),
    "molecule without a cell": molecule("H2O"),
}


def sorted_pairs(centre, neighbour, vectors) -> np.ndarray:
    rows = np.column_stack([centre, neighbour, np.round(vectors, 6) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("atoms_for_cell_list", [0, 10**9], ids=["linked cells", "all pairs"])
def test_pairs_equal_those_of_ase(name, atoms_for_cell_list, monkeypatch):
    monkeypatch.setattr(neighbours, "ATOMS_FOR_CELL_LIST", atoms_for_cell_list)
    atoms = CASES[name]
    state = torch_sim.initialize_state([atoms, atoms], torch.device("cpu"), torch.float64)
    found = NeighbourSearch(CUTOFF_A)(state)
    centre, neighbour, vectors = neighbor_list("ijD", atoms, CUTOFF_A)
    expected = sorted_pairs(
        np.concatenate([centre, centre + len(atoms)]),
        np.concatenate([neighbour, neighbour + len(atoms)]),
        np.concatenate([vectors, vectors]),
    )
    got = sorted_pairs(found.centre.numpy(), found.neighbour.numpy(), found.vectors.numpy())
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_clustered_atoms_make_the_room_grow():
    # The mean density reserves room for 32 neighbours; every atom of the cluster has 63.
    cluster = bulk("C", "diamond", a=1.5, cubic=True).repeat(2)
    cluster.set_cell(np.eye(3) * 40.0)
    state = torch_sim.initialize_state([cluster], torch.device("cpu"), torch.float64)
    found = NeighbourSearch(CUTOFF_A)(state)
    assert len(found.centre) == 64 * 63


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        ([[3, 0, 0], [0, 3, 0], [3, 3, 0]], (True, True, True)),
        ([[3, 0, 0], [0, 3, 0], [0, 0, 0]], (True, True, True)),
        ([[3, 0, 0], [6, 0, 0], [0, 0, 9]], (True, True, False)),
    ],
)
def test_a_cell_without_a_volume_along_its_periodic_directions_is_refused(cell, pbc):
    flat = Atoms("Si", cell=cell, pbc=pbc)
    state = torch_sim.initialize_state([flat], torch.device("cpu"), torch.float64)
    with pytest.raises(StructureError, match="no volume"):
        NeighbourSearch(CUTOFF_A)(state)
