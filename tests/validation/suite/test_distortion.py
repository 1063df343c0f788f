"""Snapshots are told from crystals, whatever cells they are in."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal as crystal_of

from entrove.structures import attach_results
from entrove.validation.suite.crystals import crystals_of, space_group_number
from entrove.validation.suite.distortion import is_distortion

FCC, HCP, BCC = bulk("Cu", a=3.6), bulk("Cu", "hcp", a=2.55), bulk("Cu", "bcc", a=2.87)
DIAMOND = bulk("Si")
BETA_TIN = crystal_of("Si", [(0, 0, 0)], spacegroup=141, cellpar=[4.9, 4.9, 2.7, 90, 90, 90])
SALT = bulk("NaCl", "rocksalt", a=5.6)
CONVENTIONAL = {"Cu": bulk("Cu", a=3.6, cubic=True), "Si": bulk("Si", cubic=True)}


def rattled(atoms: Atoms, amount_A: float, seed: int) -> Atoms:
    """A snapshot with the forces of springs of 5 eV/A^2."""
    moves = np.random.default_rng(seed).normal(scale=amount_A, size=(len(atoms), 3))
    moved = atoms.copy()
    moved.positions += moves
    return attach_results(moved, float(2.5 * (moves**2).sum()), -5.0 * moves, np.zeros(6))


@pytest.mark.parametrize("amount_A", [0.03, 0.06, 0.1, 0.15])
@pytest.mark.parametrize(
    "cell", [CONVENTIONAL["Cu"], CONVENTIONAL["Si"], DIAMOND, HCP, SALT.repeat((2, 1, 1))]
)
def test_snapshots_of_one_crystal_are_at_most_one_crystal(cell, amount_A):
    snapshots = [rattled(cell, amount_A, seed) for seed in range(12)]
    assert len(crystals_of(snapshots)) <= 1


@pytest.mark.parametrize("amount_A", [0.03, 0.1])
@pytest.mark.parametrize(
    ("one", "other", "groups"),
    [
        (CONVENTIONAL["Cu"], HCP.repeat((2, 2, 1)), {225, 194}),
        (CONVENTIONAL["Si"], BETA_TIN, {227, 141}),
    ],
)
def test_two_phases_stay_two(one, other, groups, amount_A):
    data = [rattled(cell, 0.0, 0) for cell in (one, other)]
    data += [rattled(cell, amount_A, seed) for cell in (one, other) for seed in range(6)]
    found = {space_group_number(atoms, 0.05) for atoms in crystals_of(data).values()}
    assert found == groups


@pytest.mark.parametrize("other", [FCC, HCP, BCC])
@pytest.mark.parametrize("crystal", [FCC, HCP, BCC])
def test_a_snapshot_is_a_distortion_of_its_own_crystal_only(crystal, other):
    """In a sheared, left-handed supercell, rotated and moved."""
    supercell = crystal.repeat((2, 2, 2))
    supercell.set_cell(supercell.cell.array[[1, 0, 2]])
    strain = np.array([[0.0, 0.02, 0.0], [0.02, 0.01, 0.0], [0.0, 0.0, -0.01]])
    supercell.set_cell(supercell.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    supercell.rotate(40, (1, 2, 3), rotate_cell=True)
    snapshot = rattled(supercell, 0.1, 3)
    snapshot.positions += 1.3
    assert is_distortion(snapshot, other) is (crystal is other)
