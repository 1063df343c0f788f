"""ln det(1 + W W^T) from either side of the determinant lemma."""

import numpy as np
import pytest
import torch

from entrove.entropy.logdet import log_det_one_plus, log_det_one_plus_with_gradient


def random_matrices(rows: int, features: int) -> torch.Tensor:
    return torch.as_tensor(
        np.random.default_rng(rows * 100 + features).normal(size=(3, rows, features))
    )


@pytest.mark.parametrize(("rows", "features"), [(1, 5), (4, 5), (5, 5), (9, 5), (40, 5)])
def test_value_is_numpys(rows, features):
    W = random_matrices(rows, features)
    expected = [np.linalg.slogdet(np.eye(rows) + w @ w.T)[1] for w in W.numpy()]
    np.testing.assert_allclose(log_det_one_plus(W).numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(log_det_one_plus_with_gradient(W)[0].numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize(("rows", "features"), [(4, 5), (9, 5)])
def test_gradient_is_autograds(rows, features):
    W = random_matrices(rows, features).requires_grad_()
    dense = torch.logdet(torch.eye(rows, dtype=torch.float64) + W @ W.mT).sum()
    (expected,) = torch.autograd.grad(dense, W)
    _, gradient = log_det_one_plus_with_gradient(W.detach())
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-13)


def test_rows_of_zeros_change_nothing():
    W = random_matrices(4, 5)
    padded = torch.cat([W, torch.zeros(3, 3, 5, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(log_det_one_plus(padded), log_det_one_plus(W), rtol=1e-14, atol=0)
    _, gradient = log_det_one_plus_with_gradient(padded)
    assert bool((gradient[:, 4:] == 0).all())


def test_determinants_beyond_the_float_range_have_finite_logarithms():
    W = 1e30 * random_matrices(20, 20)
    value = log_det_one_plus(W)
    assert bool(torch.isfinite(value).all())
    assert float(value.min()) > 709  # ln of the largest float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e8, 1e10])
@pytest.mark.parametrize(("rows", "features"), [(8, 20), (30, 20)])
def test_equal_rows_of_any_size_are_no_failure(rows, features, size, dtype):
    """A perfect crystal: ln det = ln(1 + n |w|^2), gradient 2 w / (1 + n |w|^2) on each row."""
    w = torch.as_tensor(np.random.default_rng(1).normal(size=features), dtype=dtype)
    w = w * (size / w.norm())
    W = torch.stack([w.expand(rows, -1), torch.zeros(rows, features, dtype=dtype)])
    exact = 1 + rows * float(w.double().square().sum())
    value, gradient = log_det_one_plus_with_gradient(W)
    # The determinant has n - 1 pivots of 1, each of which is rounded by eps n |w|^2, up to where
    # Cholesky fails.
    atol = rows * min(1.0, torch.finfo(dtype).eps * rows * size**2)
    assert float(value[0]) == pytest.approx(
        np.log(exact), rel=10 * torch.finfo(dtype).eps, abs=atol
    )
    assert float(log_det_one_plus(W)[0]) == float(value[0])
    assert float(value[1]) == 0.0
    assert bool(torch.isfinite(gradient).all())
    mean = gradient[0].mean(0).double()
    torch.testing.assert_close(mean, 2 * w.double() / exact, rtol=0.1, atol=1e-6 / size)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_with_its_own_system(bad):
    W = random_matrices(4, 5)
    expected, slope = log_det_one_plus_with_gradient(W)
    W[1, 2, 3] = bad
    value, gradient = log_det_one_plus_with_gradient(W)
    assert not bool(value[1].isfinite())
    for system in (0, 2):
        torch.testing.assert_close(value[system], expected[system], rtol=1e-13, atol=0)
        torch.testing.assert_close(gradient[system], slope[system], rtol=1e-12, atol=1e-14)
