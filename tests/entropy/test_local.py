"""Nearest-neighbour entropy: its definition, its gradient, and what the two smoothings promise."""

import numpy as np
import pytest
import slow_reference
import torch
from differences import central_differences
from feature_batches import random_batch, system_of

from entrove.entropy.local import LocalEntropy
from entrove.features import AtomFeatures


@pytest.mark.parametrize("species", [(14,), (11, 17)])
def test_value_is_the_slow_definition(species):
    batch = random_batch(0, species=species)
    entropy, _ = LocalEntropy(distance_floor=0.05, neighbour_power=6.0).value_and_gradient(batch)
    expected = [
        slow_reference.local_entropy(system.values.numpy(), system.numbers.numpy(), 0.05, 6.0)
        for system in (system_of(batch, index) for index in range(batch.n_systems))
    ]
    # Squared distances come from a Gram matrix: 1e-15 of |x|^2 about 10, against d0^2 = 2.5e-3.
    np.testing.assert_allclose(entropy.numpy(), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("species", [(14,), (11, 17)])
def test_gradient_is_the_central_difference(species):
    batch = random_batch(1, species=species)
    functional = LocalEntropy(distance_floor=0.05)
    _, gradient = functional.value_and_gradient(batch)
    atoms = [0, 5, 11, 20]
    torch.testing.assert_close(
        gradient[atoms], central_differences(functional, batch, atoms), rtol=1e-6, atol=1e-7
    )


def test_a_perfect_crystal_feels_no_force():
    values = torch.full((8, 6), 1.7, dtype=torch.float64)
    batch = AtomFeatures(values, torch.full((8,), 14), torch.zeros(8, dtype=torch.int64), 1)
    entropy, gradient = LocalEntropy().value_and_gradient(batch)
    assert bool(torch.isfinite(entropy).all())
    assert float(gradient.abs().max()) == 0.0


@pytest.mark.parametrize("rattle", [1e-12, 1e-8, 1e-5, 1e-3, 1e-2, 1e-1])
def test_force_on_nearly_equal_atoms_is_bounded_by_the_floor(rattle):
    """Unfloored, dS/dx grows as 1/rattle; floored, no atom is pulled harder than 1/d0."""
    rng = np.random.default_rng(2)
    values = torch.as_tensor(1.7 + rattle * rng.normal(size=(8, 6)))
    batch = AtomFeatures(values, torch.full((8,), 14), torch.zeros(8, dtype=torch.int64), 1)
    floor = 1e-2
    _, gradient = LocalEntropy(distance_floor=floor).value_and_gradient(batch)
    assert float(gradient.norm(dim=1).max()) <= 1.0 / floor


def test_soft_minimum_lies_just_below_the_hard_one():
    batch = random_batch(3, sizes=(12,))
    distance = torch.cdist(batch.values, batch.values).fill_diagonal_(torch.inf).amin(1)
    hard = float((12 * distance).log().mean())
    power = 8.0
    entropy, _ = LocalEntropy(distance_floor=1e-9, neighbour_power=power).value_and_gradient(batch)
    assert hard - np.log(11) / power <= float(entropy) <= hard


def test_a_lone_atom_contributes_nothing():
    batch = random_batch(4, sizes=(1,))
    entropy, gradient = LocalEntropy().value_and_gradient(batch)
    assert float(entropy) == 0.0
    assert float(gradient.abs().max()) == 0.0


def test_gradient_does_not_jump_when_the_nearest_neighbour_changes():
    """An atom between two others: the gradient along the path is continuous."""

    def slope(position: float) -> float:
        values = torch.tensor([[0.0], [position], [1.0]], dtype=torch.float64)
        numbers, systems = torch.full((3,), 14), torch.zeros(3, dtype=torch.int64)
        batch = AtomFeatures(values, numbers, systems, 1)
        return float(LocalEntropy().value_and_gradient(batch)[1][1, 0])

    # Between 0.5 - h and 0.5 + h a hard minimum jumps by 4/3, whatever h is.
    assert abs(slope(0.5 + 1e-6) - slope(0.5 - 1e-6)) < 1e-3
