"""The pull-back is the derivative: central differences, every coordinate and every strain."""

import crystals
import numpy as np
import pytest
from ase import Atoms

from entrove.fingerprints.from_structures import fingerprint

STEP = 2e-5
# Fourth-order differences: rounding ~ 1e-16 * 50 / STEP ~ 2e-10; truncation grows where two
# eigenvalues nearly cross (gap 1e-3: (STEP / gap)^4 ~ 2e-7). 1e-6 of the largest component is the
# promise.
TOLERANCE = 1e-6


def weighted_sum(atoms: Atoms, weights: np.ndarray, orbitals: str) -> float:
    values = fingerprint([atoms], length=weights.shape[1], orbitals=orbitals).values
    return float((values * weights).sum())


def difference(function) -> float:
    """Fourth-order central difference at zero."""
    near = function(STEP) - function(-STEP)
    far = function(2 * STEP) - function(-2 * STEP)
    return (8 * near - far) / (12 * STEP)


@pytest.mark.parametrize("orbitals", ["s", "sp"])
@pytest.mark.parametrize("make", crystals.ALL)
def test_positions_pull_back_is_the_derivative(make, orbitals):
    atoms = make()
    length = 40  # shorter than many of the spheres: cut-off eigenvalues are part of the law
    weights = np.random.default_rng(0).normal(size=(len(atoms), length))
    ours = fingerprint([atoms], length=length, orbitals=orbitals).pull_back(weights).positions

    def moved(atom: int, axis: int, step: float) -> float:
        shifted = atoms.copy()
        shifted.positions[atom, axis] += step
        return weighted_sum(shifted, weights, orbitals)

    checked = range(min(len(atoms), 4))
    numeric = [[difference(lambda h, i=i, a=a: moved(i, a, h)) for a in range(3)] for i in checked]
    np.testing.assert_allclose(ours[: len(checked)], numeric, atol=TOLERANCE * abs(ours).max())


@pytest.mark.parametrize("orbitals", ["s", "sp"])
@pytest.mark.parametrize("make", crystals.ALL)
def test_strain_pull_back_is_the_derivative(make, orbitals):
    atoms = make()
    length = 40
    weights = np.random.default_rng(1).normal(size=(len(atoms), length))
    ours = fingerprint([atoms], length=length, orbitals=orbitals).pull_back(weights).strain[0]

    def strained(row: int, column: int, step: float) -> float:
        strain = np.zeros((3, 3))
        strain[row, column] += step / 2
        strain[column, row] += step / 2
        deformed = atoms.copy()
        deformed.set_cell(atoms.cell.array @ (np.eye(3) + strain))
        deformed.positions = atoms.positions @ (np.eye(3) + strain)
        return weighted_sum(deformed, weights, orbitals)

    numeric = [
        [difference(lambda h, r=r, c=c: strained(r, c, h)) for c in range(3)] for r in range(3)
    ]
    np.testing.assert_allclose(ours, numeric, atol=TOLERANCE * abs(ours).max())
    np.testing.assert_array_equal(ours, ours.T)


@pytest.mark.parametrize("make", crystals.ALL)
def test_forces_sum_to_zero(make):
    prints = fingerprint([make()])
    positions = prints.pull_back(
        np.random.default_rng(2).normal(size=prints.values.shape)
    ).positions
    np.testing.assert_allclose(
        positions.sum(axis=0), 0, atol=1e-13 * len(positions) * abs(positions).max()
    )
