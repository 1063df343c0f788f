"""Continuity where spheres change, and the symmetric gradient where eigenvalues are equal."""

import crystals
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from entrove.fingerprints.from_structures import fingerprint
from entrove.fingerprints.spectrum import average_over_clusters


def along_a_path(separations: np.ndarray, length: int):
    """An atom that leaves the sphere of a cluster: values and gradients at each separation."""
    values, gradients = [], []
    for separation in separations:
        atoms = Atoms(
            "Si4", positions=[[0, 0, 0], [1.9, 0.6, 0.2], [0.3, 2.1, -0.4], [separation, 0, 0]]
        )
        prints = fingerprint([atoms], length=length)
        values.append(prints.values)
        gradients.append(
            prints.pull_back(np.cos(np.arange(4 * length)).reshape(4, length)).positions
        )
    return np.array(values), np.array(gradients)


@pytest.mark.parametrize("length", [2, 10])  # 2: spheres outgrow the length when the atom enters
def test_values_and_gradients_are_continuous_at_the_cutoff(length):
    step = 1e-5
    values, gradients = along_a_path(np.arange(5 - 20 * step, 5 + 20 * step, step), length)
    # f ~ (2 step / r_c)^2 near the cutoff: a jump would be far larger than the change of smooth
    # motion.
    assert np.abs(np.diff(values, axis=0)).max() < 10 * step
    assert np.abs(np.diff(gradients, axis=0)).max() < 100 * step
    inside, outside = along_a_path(np.array([5 - 1e-7, 5 + 1e-7]), length)[0]
    np.testing.assert_allclose(inside, outside, atol=1e-6)


@pytest.mark.parametrize("length", [5, 12, 20, 28, 29, 30])
def test_a_shorter_length_keeps_the_largest_eigenvalues(length):
    atoms = crystals.skewed_silicon()
    full = fingerprint([atoms], length=80).values
    assert (np.diff(full, axis=1) <= 0).all()
    np.testing.assert_allclose(
        fingerprint([atoms], length=length).values, full[:, :length], atol=1e-13
    )


@pytest.mark.parametrize("orbitals", ["s", "sp"])
@pytest.mark.parametrize(
    "crystal",
    [
        bulk("Si", cubic=True),
        bulk("Al", cubic=True),
        bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        bulk("C"),
    ],
    ids=lambda atoms: str(atoms.symbols),
)
def test_perfect_cubic_crystals_have_no_force_and_an_isotropic_strain_gradient(crystal, orbitals):
    """By symmetry; without averaging over clusters it would depend on LAPACK."""
    prints = fingerprint([crystal], length=45, orbitals=orbitals)
    weights = np.random.default_rng(0).normal(size=45) * np.ones_like(prints.values)
    gradient = prints.pull_back(weights)
    scale = np.abs(gradient.strain).max()
    assert scale > 0.01
    np.testing.assert_allclose(gradient.positions, 0, atol=1e-9 * scale)
    isotropic = np.eye(3) * np.trace(gradient.strain[0]) / 3
    np.testing.assert_allclose(gradient.strain[0], isotropic, atol=1e-9 * scale)


def test_clusters_get_their_mean_and_others_their_own():
    values = torch.tensor(
        [[2.0, 1.0, 1.0 - 1e-12, 0.5, 0.0], [1.0, 0.5, 0.2, 0.0, 0.0]], dtype=torch.float64
    )
    gradient = torch.tensor(
        [[1.0, 2.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 7.0, 9.0]], dtype=torch.float64
    )
    averaged = average_over_clusters(gradient, values, torch.tensor([5, 3]))
    expected = [[1.0, 3.0, 3.0, 5.0, 6.0], [1.0, 2.0, 3.0, 7.0, 9.0]]
    np.testing.assert_allclose(averaged.numpy(), expected)


def test_nearly_perfect_crystals_have_nearly_no_force():
    """A rattle of 1e-11 Angstrom must not bring out arbitrary eigenvectors."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(1e-11, seed=0)
    prints = fingerprint([atoms])
    forces = prints.pull_back(
        np.random.default_rng(0).normal(size=50) * np.ones_like(prints.values)
    ).positions
    np.testing.assert_allclose(forces, 0, atol=1e-6)


NEARLY_PERFECT = pytest.mark.parametrize(
    "rattle_A", [1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4]
)
CRYSTALS = pytest.mark.parametrize(
    "crystal",
    [bulk("Si", cubic=True), bulk("NaCl", "rocksalt", a=5.64, cubic=True)],
    ids=["Si", "NaCl"],
)


@NEARLY_PERFECT
@CRYSTALS
def test_force_of_a_smooth_function_is_proportional_to_the_rattle(crystal, rattle_A):
    """L = tr F(A) is smooth whether eigenvalues are equal or not: F = K r in both cases."""
    atoms = crystal.copy()
    atoms.rattle(rattle_A, seed=0)
    prints = fingerprint([atoms])
    forces = prints.pull_back(np.cos(3 * prints.values)).positions
    # K is 3.0 to 3.6 per A^2. Averaging over a cluster that a rattle of 1e-8 A is about to split
    # costs a tenth of it.
    assert 2.5 < np.abs(forces).max() / rattle_A < 4.0


@NEARLY_PERFECT
@CRYSTALS
def test_force_of_any_function_stays_below_the_slope_of_eigenvalues(crystal, rattle_A):
    """Unequal weights within a cluster make a cone, L = g1 l1 + g2 l2, once it splits: force O(1).

    Below sqrt(eps), which eigenvectors are in the cluster is not known, and the force is that of
    equal weights.
    """
    atoms = crystal.copy()
    atoms.rattle(rattle_A, seed=0)
    prints = fingerprint([atoms])
    weights = np.random.default_rng(0).normal(size=50) * np.ones_like(prints.values)
    largest = np.abs(prints.pull_back(weights).positions).max()
    # 0.23 was seen for the cones, and 22 per A^2 for what is smooth.
    assert largest < 1.0
    if rattle_A <= 1e-9:
        assert largest < 30 * rattle_A
