"""A budget: what no longer fits decides nothing, for each method without gains."""

import numpy as np
import pytest
import torch
from ase.build import bulk

import entrove
from entrove.errors import SelectionError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.selection.budget import Budget
from entrove.selection.config import SelectionConfig
from entrove.selection.farthest_point import select_farthest
from entrove.selection.lcmd import pick_by_clusters
from entrove.selection.representative import pick_representative

FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=4.0, length=16))


def representative(points, labelled, available, count, budget=None):
    return pick_representative(
        points,
        points.mean(0),
        labelled,
        available,
        count,
        sizes=torch.full((len(points),), 8),
        budget=budget,
    ).indices


def clusters(points, labelled, available, count, budget=None):
    return pick_by_clusters(points, labelled, available, count, budget)[0]


def budget_of(costs_s, left_s):
    return Budget(costs_s, left_s, torch.zeros(len(costs_s), dtype=torch.bool))


@pytest.mark.parametrize("left_s", [3.0, 20.0, 1000.0])
@pytest.mark.parametrize("method", [representative, clusters])
def test_each_pick_is_that_of_the_candidates_that_fit(method, left_s):
    """A plain loop: one pick at a time, those before it labelled, among what fits."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    labelled = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    costs_s = 1 + 9 * torch.rand(40, generator=generator, dtype=torch.float64)
    budget = budget_of(costs_s, left_s)
    picks = method(points, labelled, torch.ones(40, dtype=torch.bool), 15, budget)
    expected: list[int] = []
    left = left_s
    while len(expected) < 15:
        fits = costs_s <= left
        fits[expected] = False
        if not fits.any():
            break
        expected += method(points, torch.cat([labelled, points[expected]]), fits, 1)
        left -= float(costs_s[expected[-1]])
    assert picks == expected
    assert budget.left_s == pytest.approx(left)
    assert (len(picks) < 15) == (left_s < 1000)


def cells():
    """Ten large cells, the same as small ones, and ten small ones of their own."""
    small = [bulk("Si", cubic=True) for _ in range(20)]
    for seed, atoms in enumerate(small):
        atoms.rattle(0.1, seed=seed)
    return [*(atoms * (2, 1, 1) for atoms in small[:10]), *small]


METHODS = ("representative", "lcmd", "farthest_point", "random", "committee_spread")


def _sizes(structures):
    return np.array([len(atoms) for atoms in structures], dtype=float)


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_is_spent_and_what_is_said_is_true(method):
    pool = cells()
    costs_s = np.array([len(atoms) ** 2 for atoms in pool], dtype=float)
    found = entrove.select(
        pool,
        20,
        config=SelectionConfig(method=method, budget_s=900.0),
        features=FEATURES,
        cost_s=lambda atoms: len(atoms) ** 2,
        spreads=_sizes if method == "committee_spread" else None,
    )
    spent = costs_s[found.indices].sum()
    assert 900 - costs_s.min() < spent <= 900
    picked = {f"candidate {index}" for index in found.indices}
    for rejection in found.rejected:
        if rejection.filter.value == "near_duplicate":
            assert any(f"nearly equal to {name}," in rejection.detail for name in picked)
        if rejection.filter.value == "budget":
            assert f"would take {costs_s[rejection.index]:.3g} s" in rejection.detail
    assert len(found.indices) + len(found.rejected) == len(pool)


@pytest.mark.parametrize("method", [*METHODS, "gain"])
@pytest.mark.parametrize("cost_s", [float("nan"), 0.0, -5.0, float("inf")])
def test_a_budget_is_not_passed_by_with_a_cost_that_is_none(method, cost_s):
    with pytest.raises(
        SelectionError, match=r"cost of structure 0 .* must be positive and finite"
    ):
        entrove.select(
            cells()[10:],
            4,
            config=SelectionConfig(method=method, budget_s=900.0),
            features=FEATURES,
            cost_s=lambda _: cost_s,
            spreads=_sizes if method == "committee_spread" else None,
        )


def test_farthest_points_of_a_budget_keep_away_from_picks_alone():
    pool = cells()
    costs_s = torch.tensor([len(atoms) ** 2 for atoms in pool], dtype=torch.float64)
    given = [pool[-1]]
    found = select_farthest(pool, 9, given, features=FEATURES, budget=budget_of(costs_s, 640.0))
    left, picks = 640.0, []
    while True:
        fits = [i for i in range(len(pool) - 1) if costs_s[i] <= left and i not in picks]
        if not fits or len(picks) == 9:
            break
        among = [pool[i] for i in fits]
        best = select_farthest(among, 1, [*given, *(pool[i] for i in picks)], features=FEATURES)
        picks.append(fits[int(best.indices[0])])
        left -= float(costs_s[picks[-1]])
    assert found.indices.tolist() == picks
