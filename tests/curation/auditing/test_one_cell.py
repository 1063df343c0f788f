"""Frames of one cell with small displacements, as sets for phonons have: nothing is wrong."""

import numpy as np
import pytest
from ase.build import bulk
from copper_sets import alarms, audited, labelled, saved

from entrove.curation import audit
from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.quick_potential import make_rows, solve_rows


def copper_cell():
    return bulk("Cu", cubic=True)


def alloy():
    """AuCu3."""
    atoms = bulk("Cu", a=3.75, cubic=True)
    atoms.symbols[0] = "Au"
    return atoms


def large_alloy():
    """Au3Cu5 in a cell that is longer in one direction."""
    atoms = bulk("Cu", a=3.75, cubic=True).repeat((2, 1, 1))
    atoms.symbols[[0, 3, 5]] = "Au"
    return atoms


def displaced(make, scale_A, count, seed):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = make()
        atoms.positions += rng.normal(scale=scale_A, size=atoms.positions.shape)
        frames.append(labelled(atoms))
    return frames


def found_in(tmp_path, frames, **settings):
    found = alarms(audited(tmp_path, frames, **settings))
    return {kind: finding.evidence for kind, finding in found.items()}


SETS = [
    (copper_cell, 0.003, 20),
    (copper_cell, 0.005, 60),
    (copper_cell, 0.01, 60),
    (copper_cell, 0.1, 20),
    pytest.param(alloy, 0.003, 60, marks=pytest.mark.slow),
    (alloy, 0.01, 20),
    (alloy, 0.03, 20),
    (alloy, 0.1, 60),
    (large_alloy, 0.005, 20),
]


@pytest.mark.parametrize(("make", "scale_A", "count"), SETS)
def test_small_displacements_in_one_cell_are_no_evidence_against_the_stress(
    make, scale_A, count, tmp_path
):
    """The strain derivative is extrapolated where no cell is strained."""
    found = found_in(tmp_path, displaced(make, scale_A, count, seed=1))
    assert not {kind for kind in found if "stress" in kind}


@pytest.mark.parametrize("count", [20, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scale_A", [0.003, 0.01])
@pytest.mark.parametrize("make", [copper_cell, alloy])
def test_small_displacements_in_one_cell_are_no_repetitions(make, scale_A, count, tmp_path):
    frames = displaced(make, scale_A, count, seed=1)
    assert found_in(tmp_path, frames) == {}
    # Other such frames are no leak of these.
    test = saved(tmp_path / "test.xyz", displaced(make, scale_A, 10, seed=2))
    assert found_in(tmp_path, frames, against=test) == {}


def mirrored(atoms):
    """In the cubic cell: positions change, and no distance does."""
    copy = atoms.copy()
    copy.positions = copy.positions[:, [1, 0, 2]]
    return labelled(copy)


def turned(atoms):
    copy = atoms.copy()
    copy.rotate(37, (1, 2, 3), rotate_cell=True)
    return labelled(copy)


def rounded(atoms):
    copy = atoms.copy()
    copy.positions = copy.positions.round(5)
    return labelled(copy)


@pytest.mark.parametrize("copied", [labelled, mirrored, turned, rounded])
def test_copies_among_small_displacements_are_found(copied, tmp_path):
    frames = displaced(copper_cell, 0.005, 20, seed=1)
    report = audit(saved(tmp_path / "set.xyz", [*frames, copied(frames[4])]))
    (repeats,) = (each for each in report.findings if each.kind in {"duplicates", "equivalent"})
    assert [frame.index for frame in repeats.frames] == [20]


def test_leverages_of_strains_are_those_of_strained_cells():
    """x . (X^T W X)^-1 x of the change of the energy per atom that a strain of 1 % makes."""
    frames = displaced(alloy, 0.1, 12, seed=3)
    basis = Basis((29, 79), 4.5, 2.0)
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    rows = make_rows(basis, frames, energies, [atoms.get_forces() for atoms in frames])
    potential = solve_rows(basis, rows)
    atoms, fold = frames[2], 2
    expected = []
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        sums = []
        for step in (1e-4, -1e-4):
            cell = atoms.copy()
            cell.set_cell(atoms.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
            sums.append(make_rows(basis, [cell], np.zeros(1), [None]).features[0])
        change = 0.01 * (sums[0] - sums[1]) / 2e-4
        expected.append(change @ potential.spreads[fold] @ change)
    # Both sides are central differences of the same step.
    assert potential.strain_leverages([atoms], [fold])[0] == pytest.approx(max(expected), rel=1e-5)
