"""Independent snapshots: against series of known correlation, and what must not matter."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from entrove.sampling.candidates import Candidate
from entrove.sampling.correlation import independent_snapshots, statistical_inefficiency


def autoregressive(correlation: float, snapshots: int, width: int) -> np.ndarray:
    """x_k = a x_(k-1) + noise, of which rho_j = a^j and so g = (1 + a) / (1 - a)."""
    rng = np.random.default_rng(3)
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


def walker(index: int, correlation: float, snapshots: int = 60) -> list[Candidate]:
    crystal = bulk("Si", cubic=True)
    moves = autoregressive(correlation, snapshots, 24).reshape(snapshots, 8, 3)
    found: list[Candidate] = []
    for step, move in enumerate(moves):
        atoms = crystal.copy()
        atoms.positions += 0.2 * move
        found.append(Candidate(atoms, "entropy_md", "md", "diamond", 0.0, 300.0, index, step))
    return found


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


def test_too_few_snapshots_and_other_candidates_say_nothing() -> None:
    run = walker(0, 0.5)
    assert independent_snapshots(run[:3]) is None
    assert independent_snapshots([replace(one, walker=None) for one in run]) is None
