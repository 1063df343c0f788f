"""The paper's entropy against an independent slow implementation, and its measured weaknesses."""

from dataclasses import replace

import numpy as np
import pytest
import slow_reference
import torch
from differences import central_differences
from feature_batches import arrays_of, random_batch, raw_moments, system_of

from entrove.entropy.covariance import CovarianceEntropy, dataset_entropy
from entrove.entropy.moments import SpeciesMoments
from entrove.features import AtomFeatures

EPSILON = 1e-3
MODES = ["per_atom", "per_config"]
SPECIES = [(14,), (11, 17)]


def slow_values(dataset, batch, mode):
    """S(D + c), S(D + c) - S(D) and dS/dvalues, one configuration and one species at a time."""
    d_values, d_numbers, d_systems = arrays_of(dataset)
    values, numbers, systems = arrays_of(batch)
    entropies, gains, gradient = (
        np.zeros(batch.n_systems),
        np.zeros(batch.n_systems),
        np.zeros(values.shape),
    )
    for system in range(batch.n_systems):
        for species in np.unique(np.concatenate([d_numbers, numbers])):
            stored = slow_reference.all_rows(d_values, d_numbers, d_systems, species, mode)
            rows = slow_reference.rows_of_system(
                values, numbers, systems, system=system, species=species, mode=mode
            )
            after = slow_reference.paper_entropy(np.concatenate([stored, rows]), EPSILON)
            entropies[system] += after
            gains[system] += after - slow_reference.paper_entropy(stored, EPSILON)
            if len(rows):
                mine = (systems == system) & (numbers == species)
                slope = slow_reference.paper_gradient(stored, rows, EPSILON)
                gradient[mine] = slope if mode == "per_atom" else slope / mine.sum()
    return entropies, gains, gradient


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("species", SPECIES)
@pytest.mark.parametrize("seed", range(3))
def test_entropy_gain_and_gradient_are_the_slow_definition(mode, species, seed):
    dataset, batch = (
        random_batch(seed, species=species),
        random_batch(seed + 10, sizes=(3, 9, 2), species=species),
    )
    functional = CovarianceEntropy(raw_moments(dataset, mode), epsilon=EPSILON, mode=mode)
    entropies, gains, gradient = slow_values(dataset, batch, mode)
    value, slope = functional.value_and_gradient(batch)
    # Condition number of Sigma: about 1e4; so 1e4 roundings of 2e-16, with a margin of 50.
    np.testing.assert_allclose(value.numpy(), entropies, rtol=1e-10)
    np.testing.assert_allclose(functional.gains(batch).numpy(), gains, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(
        slope.numpy(), gradient, rtol=1e-8, atol=1e-10 * np.abs(gradient).max()
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("species", SPECIES)
@pytest.mark.parametrize("empty", [True, False])
def test_gradient_is_the_central_difference(mode, species, empty):
    batch = random_batch(5, species=species)
    known = SpeciesMoments() if empty else raw_moments(random_batch(6, species=species), mode)
    functional = CovarianceEntropy(known, epsilon=EPSILON, mode=mode)
    _, gradient = functional.value_and_gradient(batch)
    atoms = [0, 6, 11, 20]
    expected = central_differences(functional, batch, atoms)
    scale = float(gradient.abs().max()) or 1.0
    torch.testing.assert_close(gradient[atoms], expected, rtol=1e-5, atol=1e-7 * scale)


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_equals_its_systems_one_by_one(mode):
    batch, known = (
        random_batch(7, species=(11, 17)),
        raw_moments(random_batch(8, species=(11, 17)), mode),
    )
    functional = CovarianceEntropy(known, epsilon=EPSILON, mode=mode)
    value, gradient = functional.value_and_gradient(batch)
    for index in range(batch.n_systems):
        alone, slope = functional.value_and_gradient(system_of(batch, index))
        torch.testing.assert_close(alone[0], value[index], rtol=1e-12, atol=1e-11)
        torch.testing.assert_close(
            slope, gradient[batch.system_idx == index], rtol=1e-9, atol=1e-11
        )


def test_species_that_are_absent_from_a_batch_still_count():
    known = raw_moments(random_batch(9, species=(11, 17)), "per_atom")
    functional = CovarianceEntropy(known, epsilon=EPSILON, mode="per_atom")
    sodium = random_batch(10, species=(11,))
    value, _ = functional.value_and_gradient(sodium)
    expected = dataset_entropy(known, EPSILON) + functional.gains(sodium)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_a_configuration_at_the_mean_lowers_the_entropy():
    """The weakness of a mean over configurations: what is typical has a negative gain."""
    dataset = random_batch(11, sizes=(40,))
    functional = CovarianceEntropy(
        raw_moments(dataset, "per_atom"), epsilon=EPSILON, mode="per_atom"
    )
    typical = dataset.values.mean(0).expand(8, -1).clone()
    gain = functional.gains(
        AtomFeatures(typical, torch.full((8,), 14), torch.zeros(8, dtype=torch.int64), 1)
    )
    assert float(gain) < -0.1


def test_the_force_dies_as_the_dataset_grows():
    """The other weakness: dS/dx falls as 1/N."""
    batch = random_batch(12, sizes=(8,))
    slopes = []
    for copies in (10, 100):
        moments = SpeciesMoments()
        for _ in range(copies):
            moments = moments + raw_moments(random_batch(13, sizes=(20,)), "per_atom")
        functional = CovarianceEntropy(moments, epsilon=EPSILON, mode="per_atom")
        slopes.append(float(functional.value_and_gradient(batch)[1].norm()))
    # N' is 208 and then 2008; Sigma hardly changes, since all copies are equal.
    assert slopes[0] / slopes[1] == pytest.approx(10.0, rel=0.5)


def test_shared_block_treats_all_atoms_as_one_species():
    batch = random_batch(14, species=(11, 17))
    single = replace(batch, numbers=torch.full_like(batch.numbers, 11))
    shared = CovarianceEntropy(
        SpeciesMoments(), epsilon=EPSILON, mode="per_atom", species_blocks=False
    )
    plain = CovarianceEntropy(SpeciesMoments(), epsilon=EPSILON, mode="per_atom")
    for got, expected in zip(
        shared.value_and_gradient(batch),
        plain.value_and_gradient(single),
        strict=True,
    ):
        assert torch.equal(got, expected)
