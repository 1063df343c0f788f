"""Intervals cover the true value as often as they say, in simulated validation sets."""

import numpy as np
import pytest

from entrove.validation.intervals import (
    CONFIDENCE,
    Sums,
    expected_half_width,
    mean_interval,
    ratio_interval,
    structures_for,
)

TRIALS = 300
# Less than three standard deviations of the counted fraction below the confidence.
LEAST = CONFIDENCE - 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / TRIALS)


def single(values: np.ndarray) -> Sums:
    return Sums(values, np.ones(len(values)))


def names(count: int) -> list[str]:
    return [str(index) for index in range(count)]


@pytest.mark.parametrize("count", [3, 5, 20])
def test_a_mean_error_is_covered(count):
    rng = np.random.default_rng(count)
    true = np.sqrt(2 / np.pi)
    covered = 0
    for _ in range(TRIALS):
        low, high = mean_interval(single(np.abs(rng.normal(size=count))), names(count))
        covered += low <= true <= high
    assert covered / TRIALS >= LEAST


def test_snapshots_of_one_trajectory_count_once():
    """Ten snapshots of each of six trajectories that err alike: counted singly, too narrow."""
    rng = np.random.default_rng(1)
    true, covered, covered_singly = np.sqrt(2 / np.pi), 0, 0
    for _ in range(TRIALS):
        errors = single(np.repeat(np.abs(rng.normal(size=6)), 10))
        low, high = mean_interval(errors, [name for name in names(6) for _ in range(10)])
        covered += low <= true <= high
        low, high = mean_interval(errors, names(60))
        covered_singly += low <= true <= high
    assert covered / TRIALS >= LEAST
    assert covered_singly / TRIALS < 0.7


def test_a_paired_ratio_is_narrower_than_its_errors():
    """Two models that err on the same structures: 20 % are seen where each error has 40 %."""
    rng = np.random.default_rng(2)
    before = np.abs(rng.normal(size=20))
    after = 0.8 * before * np.exp(0.1 * rng.normal(size=20))
    low, high = ratio_interval([single(after)], [single(before)], names(20))
    assert 0.7 < low < 0.8 < high < 0.9
    alone = mean_interval(single(before), names(20))
    assert alone[1] / alone[0] > 1.5


def test_the_ratio_does_not_depend_on_which_model_is_called_first():
    rng = np.random.default_rng(3)
    errors = [single(np.abs(rng.normal(size=9))) for _ in range(4)]
    low, high = ratio_interval(errors[:2], errors[2:], names(9))
    assert ratio_interval(errors[2:], errors[:2], names(9)) == pytest.approx((1 / high, 1 / low))


def test_equal_models_are_called_different_in_one_of_twenty_sets():
    """The rate of false alarms is that of the confidence, also with few trajectories."""
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(TRIALS):
        counts = np.full(4, 24.0)
        sums = np.abs(rng.normal(size=(2, 4, 24))).sum(axis=2)
        low, high = ratio_interval([Sums(sums[0], counts)], [Sums(sums[1], counts)], names(4))
        alarms += low > 1 or high < 1
    assert alarms / TRIALS <= 1 - LEAST


def test_structures_and_half_width_are_inverse_and_as_simulated():
    assert [structures_for(width) for width in (0.5, 0.35, 0.25)] == [9, 18, 36]
    assert expected_half_width(structures_for(0.25)) <= 0.25
    rng = np.random.default_rng(5)
    means = np.abs(rng.normal(size=(4000, 36))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert (high - low) / 2 / means.mean() == pytest.approx(expected_half_width(36), rel=0.1)


def test_equal_errors_have_equal_intervals_and_one_group_has_none():
    errors = single(np.array([1.0, 2.0, 4.0]))
    assert mean_interval(errors, names(3)) == mean_interval(errors, ["a", "b", "c"])
    assert mean_interval(errors, ["a", "a", "a"]) is None
    without_values = Sums(np.array([1.0, 0.0]), np.array([3.0, 0.0]))
    assert mean_interval(without_values, names(2)) is None
    assert ratio_interval([errors], [single(np.zeros(3))], names(3)) is None
    assert mean_interval(single(np.array([1.0, np.nan])), names(2)) is None


def test_many_groups_agree_with_the_central_limit():
    rng = np.random.default_rng(6)
    values = np.abs(rng.normal(size=5000))
    low, high = mean_interval(single(values), names(5000))
    half_width = 1.96 * values.std() / np.sqrt(5000)
    assert (high - low) / 2 == pytest.approx(half_width, rel=0.1)


@pytest.mark.parametrize("with_forces", [3, 4, 12])
def test_a_mean_of_ratios_is_as_uncertain_as_what_few_trajectories_tell(with_forces):
    """Twelve structures have energies, and some of them forces, of two models of equal quality."""
    rng = np.random.default_rng(with_forces)
    count = np.where(np.arange(12) < with_forces, 24.0, 0.0)
    covered = 0
    for _ in range(TRIALS):
        energies = [single(np.abs(rng.normal(size=12))) for _ in range(2)]
        forces = [Sums(count * np.exp(0.5 * rng.normal(size=12)), count) for _ in range(2)]
        models = list(zip(energies, forces, strict=True))
        low, high = ratio_interval(models[0], models[1], names(12))
        covered += low <= 1.0 <= high
    assert covered / TRIALS >= LEAST


def test_what_two_trajectories_tell_has_no_interval():
    energies, forces = single(np.linspace(1, 2, 12)), Sums(*[np.eye(12)[:2].sum(axis=0)] * 2)
    assert ratio_interval([energies], [energies], names(12)) is not None
    assert ratio_interval([energies, forces], [energies, forces], names(12)) is None
