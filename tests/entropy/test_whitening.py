"""Whitening gives unit spread where there is spread, and never amplifies what hardly varies."""

import logging

import numpy as np
import pytest
import torch

from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.whitening import DEGENERATE_SPREAD, Scaling, Whitening
from entrove.errors import SelectionError

FLOOR = 1e-2


def reference_rows() -> torch.Tensor:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 5)) * np.array([1.0, 0.3, 0.1, 1e-7, 0.0]) + np.array(
        [3.0, 1.0, 0.5, 0.2, 0.0]
    )
    return torch.as_tensor(rows)


def test_reference_rows_get_zero_mean_and_unit_spread():
    scaling = Scaling.of(Moments.of(reference_rows()), FLOOR, "Si")
    whitened = scaling.apply(reference_rows())
    np.testing.assert_allclose(whitened.mean(0).numpy(), 0.0, atol=1e-6)
    # The floor is 1 % of the rms spread 0.47, so it shortens a spread of 0.1 by a thousandth.
    np.testing.assert_allclose(whitened[:, :3].std(0, correction=0).numpy(), 1.0, atol=2e-3)


def test_noise_in_a_constant_feature_is_not_amplified():
    whitened = Scaling.of(Moments.of(reference_rows()), FLOOR, "Si").apply(reference_rows())
    # Spread 1e-7 against a floor of 5e-3.
    assert float(whitened[:, 3].abs().max()) < 1e-3


def test_padding_stays_exactly_zero():
    whitened = Scaling.of(Moments.of(reference_rows()), FLOOR, "Si").apply(reference_rows())
    assert bool((whitened[:, 4] == 0).all())


def test_a_feature_beyond_its_floor_counts():
    scaling = Scaling.of(Moments.of(reference_rows()), FLOOR, "Si")
    row = reference_rows()[:1].clone()
    row[0, 4] = 0.05  # a padded slot that a denser configuration fills
    assert float(scaling.apply(row)[0, 4]) > 5.0


@pytest.mark.parametrize("count", [1, 8])
def test_a_reference_without_spread_warns_and_stays_finite(count, caplog):
    rows = torch.full((count, 3), 2.0, dtype=torch.float64)
    with caplog.at_level(logging.WARNING):
        scaling = Scaling.of(Moments.of(rows), FLOOR, "Si")
    assert "one environment only for Si" in caplog.text
    np.testing.assert_allclose(scaling.scale.numpy(), 2.0 * DEGENERATE_SPREAD, rtol=1e-12)


def test_features_that_are_all_zero_have_scale_one():
    scaling = Scaling.of(Moments.of(torch.zeros(4, 3, dtype=torch.float64)), FLOOR, "Si")
    np.testing.assert_array_equal(scaling.scale.numpy(), 1.0)


def test_an_unknown_species_is_named():
    whitening = Whitening.of(SpeciesMoments({14: Moments.of(reference_rows())}), FLOOR)
    with pytest.raises(
        SelectionError, match=r"Cl has no calibration \(calibrated: Si\); call calibrate"
    ):
        whitening[17]


def test_known_species_stay_as_they_are():
    old = Whitening.of(SpeciesMoments({14: Moments.of(reference_rows())}), FLOOR)
    new = Whitening.of(
        SpeciesMoments({14: Moments.of(2 * reference_rows()), 17: Moments.of(reference_rows())}),
        FLOOR,
    )
    extended = old.extended(new)
    assert extended.species == (14, 17)
    assert extended.agrees_with(old)
    assert not old.agrees_with(new)


@pytest.mark.parametrize(("spread", "degenerate"), [(3e-5, True), (3e-4, False)])
def test_spread_below_any_thermal_motion_is_no_scale(spread, degenerate, caplog):
    rng = np.random.default_rng(1)
    rows = torch.as_tensor(1.0 + spread * rng.normal(size=(50, 4)))
    with caplog.at_level(logging.WARNING):
        scaling = Scaling.of(Moments.of(rows), FLOOR, "Si")
    assert ("one environment only for Si" in caplog.text) == degenerate
    expected = DEGENERATE_SPREAD if degenerate else spread
    np.testing.assert_allclose(scaling.scale.numpy(), expected, rtol=0.3)
