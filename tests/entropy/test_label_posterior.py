"""Both objectives against dense matrices, and the laws that selection relies on."""

import numpy as np
import pytest
import torch

from entrove.entropy.labels.posterior import LabelPosterior, fall_of_variance
from entrove.entropy.labels.rows import LabelRows

WIDTH = 9


def random_rows(seed: int, structures=6, largest=5) -> LabelRows:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, largest + 1, size=structures)
    spread = np.repeat(rng.uniform(0.1, 5.0, size=structures), counts)
    values = rng.normal(size=(counts.sum(), WIDTH)) * spread[:, None]
    counts = torch.as_tensor(counts)
    return LabelRows(torch.as_tensor(values), counts, counts)


def one(rows: LabelRows, index: int) -> LabelRows:
    count = rows.count[index : index + 1]
    return LabelRows(rows.of(index), count, count)


def mean_gram(seed: int) -> torch.Tensor:
    rows = random_rows(seed, structures=8)
    return rows.gram() / len(rows)


def dense(posterior: LabelPosterior) -> np.ndarray:
    return posterior.precision.numpy()


@pytest.mark.parametrize("seed", range(5))
def test_information_is_the_difference_of_dense_determinants(seed):
    posterior = LabelPosterior.prior(WIDTH).with_labels(random_rows(seed))
    rows = random_rows(100 + seed)
    before = np.linalg.slogdet(dense(posterior))[1]
    for index, gain in enumerate(posterior.information(rows)):
        after = np.linalg.slogdet(dense(posterior.with_labels(one(rows, index))))[1]
        assert float(gain) == pytest.approx((after - before) / 2, rel=1e-9)
        assert float(gain) > 0


def test_information_sums_to_the_log_determinant():
    rows, posterior, total = random_rows(1, structures=20), LabelPosterior.prior(WIDTH), 0.0
    for index in range(len(rows)):
        total += float(posterior.information(one(rows, index))[0])
        posterior = posterior.with_labels(one(rows, index))
    assert total == pytest.approx(np.linalg.slogdet(dense(posterior))[1] / 2, rel=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_information_is_submodular(seed):
    candidates, smaller = random_rows(seed), LabelPosterior.prior(WIDTH)
    for more in range(5):
        larger = smaller.with_labels(random_rows(50 + more))
        gains = smaller.information(candidates), larger.information(candidates)
        assert bool((gains[1] <= gains[0] + 1e-12).all())
        smaller = larger


@pytest.mark.parametrize("seed", range(5))
def test_target_variance_is_that_of_brute_force(seed):
    target = mean_gram(30 + seed)
    posterior = LabelPosterior.prior(WIDTH).with_labels(random_rows(seed))
    # The mean over the sample of the trace of R_t M^-1 R_t^T, each with a dense inverse.
    sample = random_rows(30 + seed, structures=8)
    inverse = np.linalg.inv(dense(posterior))
    expected = np.mean(
        [np.trace(sample.of(t).numpy() @ inverse @ sample.of(t).numpy().T) for t in range(8)]
    )
    assert posterior.variance(target) == pytest.approx(expected, rel=1e-9)
    rows = random_rows(100 + seed)
    for index, fall in enumerate(posterior.falls(rows, target)):
        after = posterior.with_labels(one(rows, index)).variance(target)
        assert float(fall) == pytest.approx(posterior.variance(target) - after, rel=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_no_label_raises_the_target_variance(seed):
    target, posterior = mean_gram(seed), LabelPosterior.prior(WIDTH)
    for index in range(10):
        rows = random_rows(10 * seed + index)
        assert bool((posterior.falls(rows, target) >= 0).all())
        after = posterior.with_labels(rows)
        assert after.variance(target) <= posterior.variance(target)
        posterior = after


def test_the_target_need_not_diminish():
    """Why old falls are no upper bounds: y = a + b is worth more when b is known."""
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)  # a is wanted
    single = torch.tensor([1])
    both = LabelRows(torch.tensor([[3.0, 3.0]], dtype=torch.float64), single, single)
    other = LabelRows(torch.tensor([[0.0, 9.0]], dtype=torch.float64), single, single)
    prior = LabelPosterior.prior(2)
    alone = float(prior.falls(both, target)[0])
    assert float(prior.with_labels(other).falls(both, target)[0]) > 1.5 * alone


def test_padding_changes_nothing():
    rows = random_rows(3, structures=4)
    posterior, target = LabelPosterior.prior(WIDTH).with_labels(random_rows(4)), mean_gram(5)
    for index in range(len(rows)):
        alone = one(rows, index)
        torch.testing.assert_close(
            posterior.information(alone)[0], posterior.information(rows)[index]
        )
        torch.testing.assert_close(
            posterior.falls(alone, target)[0], posterior.falls(rows, target)[index]
        )


def test_rows_of_any_length_have_a_fall():
    """Where 1 + W W^T has no Cholesky factor, all variance along equal rows falls."""
    W = torch.full((1, 3, 4), 1e9, dtype=torch.float64)
    variances = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    assert float(fall_of_variance(W, variances)) == pytest.approx(10 / 4)
    broken = torch.full((1, 3, 4), torch.nan, dtype=torch.float64)
    assert bool(fall_of_variance(torch.cat([W, broken]), variances).isnan()[1])
