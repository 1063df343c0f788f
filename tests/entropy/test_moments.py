"""Statistics are sums: adding, removing and merging commute with collecting all rows at once."""

import numpy as np
import pytest
import torch
from feature_batches import random_batch, raw_moments

from entrove.entropy.moments import Moments
from entrove.errors import SelectionError


def random_rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(1.0, 2.0, size=(count, 4)))


def test_mean_and_scatter_are_numpys():
    rows = random_rows(30)
    moments = Moments.of(rows)
    np.testing.assert_allclose(moments.mean().numpy(), rows.numpy().mean(axis=0), rtol=1e-13)
    expected = np.cov(rows.numpy().T, bias=True)
    np.testing.assert_allclose(moments.scatter().numpy() / 30, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(moments.variance().numpy(), np.diag(expected), rtol=1e-12)


def test_adding_is_collecting():
    rows = random_rows(30)
    together = Moments.of(rows[:11]) + Moments.of(rows[11:])
    assert together.count == 30
    torch.testing.assert_close(together.outer, Moments.of(rows).outer, rtol=1e-14, atol=1e-13)


def test_removing_what_was_added_returns_the_old_state():
    kept, passing = Moments.of(random_rows(20)), Moments.of(random_rows(7, seed=1))
    again = (kept + passing) - passing
    assert again.count == kept.count
    # Two roundings of numbers of size |outer|, about 200 here.
    torch.testing.assert_close(again.outer, kept.outer, rtol=1e-14, atol=1e-13)
    torch.testing.assert_close(again.total, kept.total, rtol=1e-14, atol=1e-13)


def test_removing_everything_leaves_exact_zeros():
    moments = Moments.of(random_rows(20))
    nothing = moments - moments
    assert nothing.count == 0
    assert float(nothing.outer.abs().sum()) == 0.0


def test_removing_too_much_is_refused():
    with pytest.raises(SelectionError, match="cannot remove 3 rows from statistics of 2"):
        _ = Moments.of(random_rows(2)) - Moments.of(random_rows(3))
    silicon, salt = (
        raw_moments(random_batch(0), "per_atom"),
        raw_moments(random_batch(1, species=(11,)), "per_atom"),
    )
    with pytest.raises(SelectionError, match="atomic number 11"):
        _ = silicon - salt


def test_a_species_that_is_gone_is_forgotten():
    silicon, salt = (
        raw_moments(random_batch(0), "per_atom"),
        raw_moments(random_batch(1, species=(11,)), "per_atom"),
    )
    both = silicon + salt
    assert both.species == (11, 14)
    assert (both - salt).species == (14,)
