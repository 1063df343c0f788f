"""Independent snapshots: against series of known correlation, and what must not matter."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from entrove.sampling.candidates import Candidate
from entrove.sampling.correlation import independent_snapshots, statistical_inefficiency


def autoregressive(correlation: float, snapshots: int, width: int, seed: int = 3) -> np.ndarray:
    """x_k = a x_(k-1) + noise, of which rho_j = a^j and so g = (1 + a) / (1 - a)."""
    rng = np.random.default_rng(seed)
    series = np.empty((snapshots, width))
    series[0] = rng.standard_normal(width)
    for k in range(1, snapshots):
        noise = rng.standard_normal(width)
        series[k] = correlation * series[k - 1] + np.sqrt(1 - correlation**2) * noise
    return series


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 0.9])
def test_inefficiency_is_that_of_an_autoregressive_series(correlation: float) -> None:
    expected = (1 + correlation) / (1 - correlation)
    found = statistical_inefficiency(autoregressive(correlation, 5000, 30))
    assert found == pytest.approx(expected, rel=0.1)


def test_it_is_by_how_much_the_variance_of_a_mean_is_larger() -> None:
    """An oracle without any correlation function: means of many runs."""
    runs = autoregressive(0.7, 400, 4000)
    of_means = runs.mean(0).var() / (runs.var() / 400)
    assert statistical_inefficiency(runs) == pytest.approx(of_means, rel=0.1)


def test_an_oscillation_never_counts_as_more_than_its_snapshots() -> None:
    assert statistical_inefficiency(np.array([[1.0], [-1.0]] * 20)) == 1.0


def test_what_does_not_move_is_one_snapshot() -> None:
    assert statistical_inefficiency(np.full((7, 3), 2.5)) == 7.0


def walker(index: int, correlation: float, snapshots: int = 60, seed: int = 3) -> list[Candidate]:
    crystal = bulk("Si", cubic=True)
    moves = autoregressive(correlation, snapshots, 24, seed).reshape(snapshots, 8, 3)
    found: list[Candidate] = []
    for step, move in enumerate(moves):
        atoms = crystal.copy()
        atoms.positions += 0.2 * move
        found.append(Candidate(atoms, "entropy_md", "md", "diamond", 0.0, 300.0, index, step))
    return found


def exact_inefficiency(correlation: float, snapshots: int) -> float:
    lags = np.arange(1, snapshots)
    return float(1 + 2 * ((1 - lags / snapshots) * correlation**lags).sum())


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("snapshots", [20, 60])
def test_short_runs_are_worth_what_they_are(correlation: float, snapshots: int) -> None:
    """The mean of a short run follows its snapshots, and must not hide their correlation."""
    found = [
        snapshot
        for index in range(24)
        for snapshot in walker(index, correlation, snapshots, seed=index)
    ]
    expected = 24 * snapshots / exact_inefficiency(correlation, snapshots)
    assert independent_snapshots(found) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("snapshots", [4, 5])
def test_very_short_runs_have_no_wild_values(correlation: float, snapshots: int) -> None:
    values = [
        independent_snapshots(walker(0, correlation, snapshots, seed=seed)) for seed in range(30)
    ]
    expected = snapshots / exact_inefficiency(correlation, snapshots)
    assert all(value is not None and 1 <= value <= snapshots for value in values)
    # Four snapshots cannot show how far they would still get: up to 1.7 times too many.
    assert 0.75 < np.mean([value or 0.0 for value in values]) / expected < 1.75


@pytest.mark.parametrize("restarted_at", [1, 7, 10, 17])
def test_a_restart_elsewhere_is_no_correlation(restarted_at: int) -> None:
    """One jump in 20 uncorrelated snapshots made them worth 4."""
    run = walker(0, 0.0, 20)
    before = independent_snapshots(run)
    rng = np.random.default_rng(0)
    jump = rng.standard_normal((8, 3))
    for index in range(restarted_at, 20):
        run[index].atoms.positions += jump
        run[index] = replace(run[index], step=index + 1)
    assert independent_snapshots(run) == pytest.approx(before, rel=0.25)


def _wrapped(atoms: Atoms, _: int) -> None:
    atoms.wrap()


def _drifting(atoms: Atoms, step: int) -> None:
    atoms.positions += [0.05 * step, 0.0, -0.02 * step]


def _turned(atoms: Atoms, _: int) -> None:
    atoms.rotate(30, (1, 2, 3), rotate_cell=True)


@pytest.mark.parametrize("change", [_wrapped, _drifting, _turned])
def test_boundaries_drift_and_rotation_do_not_matter(
    change: Callable[[Atoms, int], None],
) -> None:
    run = walker(0, 0.8)
    before = independent_snapshots(run)
    for step, candidate in enumerate(run):
        change(candidate.atoms, step)
    assert independent_snapshots(run) == pytest.approx(before, rel=1e-9)


def test_walkers_count_apart_whatever_their_order() -> None:
    slow, fast = walker(0, 0.9), walker(1, 0.1)
    alone = [independent_snapshots(slow), independent_snapshots(fast)]
    assert alone[0] is not None
    assert alone[1] is not None
    assert alone[0] < alone[1] / 3
    mixed = [slow[k // 2] if k % 2 else fast[k // 2] for k in reversed(range(120))]
    assert independent_snapshots(mixed) == pytest.approx(sum(alone))


def test_walkers_that_are_too_short_are_worth_as_much_per_snapshot() -> None:
    """Three snapshots show no correlation of their own; they are not nothing."""
    known = [snapshot for index in range(4) for snapshot in walker(index, 0.5, seed=index)]
    short = [snapshot for index in range(4, 14) for snapshot in walker(index, 0.5, 3, seed=index)]
    before = independent_snapshots(known)
    assert before is not None
    assert independent_snapshots([*known, *short]) == pytest.approx(before * (1 + 30 / 240))


def test_short_walkers_of_uncorrelated_snapshots_raise_the_count() -> None:
    for seed in range(10):
        long = walker(0, 0.0, 20, seed=seed)
        short = [
            snapshot
            for index in range(1, 11)
            for snapshot in walker(index, 0.0, 3, seed=100 * index + seed)
        ]
        before, after = independent_snapshots(long), independent_snapshots([*long, *short])
        assert before is not None
        assert after is not None
        assert before < after <= before + 30


def test_too_few_snapshots_and_other_candidates_say_nothing() -> None:
    run = walker(0, 0.5)
    assert independent_snapshots(run[:3]) is None
    assert independent_snapshots([replace(one, walker=None) for one in run]) is None
