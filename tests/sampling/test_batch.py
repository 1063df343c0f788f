"""Structures in a batch are those that were given."""

import itertools

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from entrove.models import load
from entrove.sampling.batch import gather_batch
from entrove.sampling.config import SamplingConfig
from entrove.sampling.pools.random_md import run_plain_md
from entrove.sampling.walkers.grid import Start
from entrove.structures import content_hash
from entrove.validation.strained_cell import relax_positions

EVERY_PBC = list(itertools.product([False, True], repeat=3))


def left_handed(pbc):
    """A rattled cell of different edges, of which each direction is periodic or not."""
    atoms = bulk("Cu", cubic=True).repeat((1, 1, 2))
    atoms.set_cell(atoms.cell.array * [[1.0], [1.1], [1.2]])
    atoms.rattle(0.1, seed=3)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    assert np.linalg.det(atoms.cell.array) < 0
    atoms.pbc = pbc
    return atoms


@pytest.fixture(scope="module")
def copper():
    return load("ase.calculators.emt:EMT")


@pytest.mark.parametrize("pbc", EVERY_PBC)
def test_a_left_handed_cell_stays_the_same_structure(copper, pbc):
    atoms = left_handed(pbc)
    state = gather_batch([atoms], copper.model)
    atoms.calc = EMT()
    results = copper.model(state)
    assert float(results["energy"][0]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(results["forces"].numpy(), atoms.get_forces(), atol=1e-9)
    # One lattice: the vectors of periodic directions are the same, in any order.
    (returned,) = state.to_atoms()
    lattices = [{tuple(row) for row in a.cell.array[a.pbc]} for a in (atoms, returned)]
    assert lattices[0] == lattices[1]


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), (True, True, True)])
def test_md_and_relaxations_of_left_handed_cells_are_those_of_right_handed_ones(copper, pbc):
    atoms = left_handed(pbc)
    order = [1, 0, 2]
    twin = atoms.copy()
    twin.set_cell(atoms.cell.array[order])
    twin.pbc = atoms.pbc[order]
    config = SamplingConfig(thermalise_steps=20)
    energies = []
    for structure in (atoms, twin):
        start = Start("copper", 0.0, structure)
        (found,) = run_plain_md([start], [300.0], copper.model, config, 1, steps=4, snapshots=1)
        (relaxed,) = relax_positions(copper, [structure], 0.05)
        assert content_hash(relaxed) != content_hash(structure)
        of_structure = []
        for moved in (found.atoms, relaxed):
            moved.calc = EMT()
            of_structure.append(moved.get_potential_energy())
        energies.append(of_structure)
    # Equal noise gives equal trajectories; sums in another order differ in rounding.
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-7)
