"""Information gain: its definition, and the laws that make greedy selection safe."""

from dataclasses import replace

import numpy as np
import pytest
import slow_reference
import torch
from differences import central_differences
from feature_batches import (
    FLOOR,
    arrays_of,
    information_gain,
    random_batch,
    raw_moments,
    reordered,
    system_of,
    whitened_moments,
)

from entrove.entropy.information import inverse_root, total_information
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.whitening import Whitening
from entrove.errors import SelectionError

RIDGE = 1e-2
MODES = ["per_atom", "per_config"]
SPECIES = [(14,), (11, 17)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("species", SPECIES)
def test_gain_is_the_slow_definition(mode, species):
    reference, dataset = random_batch(0, species=species), random_batch(1, species=species)
    batch = random_batch(2, sizes=(3, 9, 2, 8), species=species)
    gains = information_gain(dataset, reference, mode).gains(batch)
    expected = np.zeros(batch.n_systems)
    for system in range(batch.n_systems):
        for number in species:
            ref, stored = (
                slow_reference.all_rows(*arrays_of(known), number, mode)
                for known in (reference, dataset)
            )
            rows = slow_reference.rows_of_system(
                *arrays_of(batch), system=system, species=number, mode=mode
            )
            expected[system] += slow_reference.information_gain(
                slow_reference.whiten(stored, ref, FLOOR),
                slow_reference.whiten(rows, ref, FLOOR),
                RIDGE,
            )
    np.testing.assert_allclose(gains.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("species", SPECIES)
@pytest.mark.parametrize("empty", [True, False])
def test_gradient_is_the_central_difference(mode, species, empty):
    batch, reference = random_batch(3, species=species), random_batch(4, species=species)
    functional = information_gain(None if empty else reference, reference, mode)
    value, gradient = functional.value_and_gradient(batch)
    torch.testing.assert_close(value, functional.gains(batch), rtol=1e-13, atol=0)
    atoms = [0, 6, 11, 20]
    expected = central_differences(functional, batch, atoms)
    torch.testing.assert_close(
        gradient[atoms], expected, rtol=1e-5, atol=1e-6 * float(gradient.abs().max())
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_equals_its_systems_one_by_one(mode):
    reference, batch = random_batch(5, species=(11, 17)), random_batch(6, species=(11, 17))
    functional = information_gain(reference, reference, mode)
    value, gradient = functional.value_and_gradient(batch)
    for index in range(batch.n_systems):
        alone, slope = functional.value_and_gradient(system_of(batch, index))
        torch.testing.assert_close(alone[0], value[index], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(
            slope, gradient[batch.system_idx == index], rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("mode", MODES)
def test_order_of_atoms_does_not_matter(mode):
    reference, batch = random_batch(7, species=(11, 17)), random_batch(8, species=(11, 17))
    functional = information_gain(reference, reference, mode)
    value, gradient = functional.value_and_gradient(batch)
    order = torch.randperm(len(batch.values), generator=torch.Generator().manual_seed(0))
    value_again, gradient_again = functional.value_and_gradient(reordered(batch, order))
    torch.testing.assert_close(value_again, value, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient_again, gradient[order], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(5))
def test_gains_are_never_negative_and_diminish(mode, seed):
    """Submodularity: what is added to a set adds less to any larger set."""
    reference = random_batch(100 + seed)
    small = random_batch(200 + seed, sizes=(5, 4))
    extra = random_batch(300 + seed, sizes=(3, 8, 2))
    batch = random_batch(400 + seed, sizes=(6, 1, 9, 12))
    whitening = Whitening.of(raw_moments(reference, mode), FLOOR)
    few = whitened_moments(small, whitening, mode)
    many = few + whitened_moments(extra, whitening, mode)
    functional = type(information_gain(None, reference, mode))
    gain_few, gain_many = (
        functional(moments, whitening, ridge=RIDGE, mode=mode).gains(batch)
        for moments in (few, many)
    )
    assert bool((gain_many >= 0).all())
    assert bool((gain_few >= gain_many).all())
    assert (
        float((gain_few - gain_many).min()) > 0
    )  # strictly, since the extra rows span all features


def test_gains_one_after_the_other_sum_to_the_log_determinant():
    reference, batch = random_batch(9), random_batch(10, sizes=(4, 6, 8, 3, 20))
    whitening = Whitening.of(raw_moments(reference, "per_atom"), FLOOR)
    moments, total = whitened_moments(reference, whitening, "per_atom"), 0.0
    start = total_information(moments, RIDGE)
    for index in range(batch.n_systems):
        added = system_of(batch, index)
        functional = type(information_gain(None, reference, "per_atom"))(
            moments, whitening, ridge=RIDGE, mode="per_atom"
        )
        total += float(functional.gains(added))
        moments = moments + whitened_moments(added, whitening, "per_atom")
    assert total == pytest.approx(total_information(moments, RIDGE) - start, rel=1e-12)


def test_padded_features_add_nothing():
    reference, batch = random_batch(11), random_batch(12)

    def widen(narrow):
        zeros = torch.zeros(len(narrow.values), 5, dtype=torch.float64)
        return replace(narrow, values=torch.cat([narrow.values, zeros], 1))

    plain = information_gain(reference, reference, "per_atom")
    # The floor is relative to the root mean square over all features, so scale it with their
    # number.
    whitening = Whitening.of(raw_moments(widen(reference), "per_atom"), FLOOR * np.sqrt(11 / 6))
    moments = whitened_moments(widen(reference), whitening, "per_atom")
    padded = type(plain)(moments, whitening, ridge=RIDGE, mode="per_atom")
    torch.testing.assert_close(padded.gains(widen(batch)), plain.gains(batch), rtol=1e-12, atol=0)
    assert bool((padded.value_and_gradient(widen(batch))[1][:, 6:] == 0).all())


def test_the_force_on_what_is_new_does_not_die():
    """Against the paper's 1/N: a direction that the dataset has not seen keeps its pull."""
    reference, batch = random_batch(13, sizes=(40,)), random_batch(14, sizes=(8,))
    seen = reference.values.clone()
    whitening = Whitening.of(raw_moments(reference, "per_atom"), FLOOR)
    flat = replace(reference, values=seen)
    flat.values[:, 0] = seen[:, 0].mean()  # nothing along the first feature
    slopes = []
    for copies in (10, 1000):
        moments = whitened_moments(flat, whitening, "per_atom")
        many = type(moments)({14: sum([moments[14]] * (copies - 1), moments[14])})
        functional = type(information_gain(None, reference, "per_atom"))(
            many, whitening, ridge=RIDGE, mode="per_atom"
        )
        slopes.append(functional.value_and_gradient(batch)[1][:, 0].norm())
    assert float(slopes[1] / slopes[0]) > 0.5


def test_float32_features_agree_to_their_own_precision():
    reference, batch = random_batch(15), random_batch(16)
    functional = information_gain(reference, reference, "per_atom")
    value, gradient = functional.value_and_gradient(batch)
    single, slope = functional.value_and_gradient(replace(batch, values=batch.values.float()))
    assert slope.dtype == torch.float32
    # Features of size 2 are rounded by 1e-7; whitened by scales down to 1e-2 and slopes of order
    # 1.
    torch.testing.assert_close(single, value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        slope.double(), gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max())
    )


def test_inverse_root_is_one():
    rng = np.random.default_rng(17)
    A = rng.normal(size=(6, 6))
    M = torch.as_tensor(A @ A.T + np.eye(6))
    root = inverse_root(M, 1.0)
    torch.testing.assert_close(root @ root.mT, torch.linalg.inv(M), rtol=1e-10, atol=1e-12)


def test_inverse_root_of_what_rounding_has_spoilt_is_that_of_the_exact_matrix():
    """One row of 1e9 beside lambda = 0.1: the 16 digits of the sum do not hold lambda any more."""
    ridge = 0.1
    x = np.random.default_rng(18).normal(size=6)
    x *= 1e9 / np.linalg.norm(x)
    # Rounded downwards, as a long sum may be.
    M = torch.as_tensor(np.outer(x, x) * (1 - 1e-15 * np.sign(np.outer(x, x))) + ridge * np.eye(6))
    assert bool(torch.linalg.cholesky_ex(M).info)
    root = inverse_root(M, ridge)
    # Exactly: x M^-1 x = |x|^2 / (|x|^2 + lambda), and 1 / lambda across x at most.
    assert float((torch.as_tensor(x) @ root).square().sum()) == pytest.approx(1.0, rel=1e-6)
    assert float(torch.linalg.eigvalsh(root @ root.mT)[-1]) == pytest.approx(1 / ridge, rel=1e-9)
    moments = SpeciesMoments({14: Moments(1, torch.as_tensor(x), M - ridge * torch.eye(6))})
    # The other five eigenvalues are known to 1e-15 of the first only: between lambda and 1e3.
    least = 0.5 * np.log(1e18 / ridge)
    assert least < total_information(moments, ridge) < least + 5 * 0.5 * np.log(1e4)


def test_statistics_that_are_not_finite_are_refused():
    with pytest.raises(SelectionError, match="statistics of the dataset are not finite"):
        inverse_root(torch.full((3, 3), torch.nan, dtype=torch.float64), 0.1)


def test_a_species_without_calibration_is_refused():
    functional = information_gain(None, random_batch(18), "per_atom")
    with pytest.raises(SelectionError, match="Cl has no calibration"):
        functional.gains(random_batch(19, species=(17,)))
