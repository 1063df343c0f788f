"""Lazy greedy picks what plain greedy picks, and is as good as the theory says."""

from itertools import combinations

import numpy as np
import pytest
import torch
from candidate_pools import INFORMATION, PAPER, dataset_for, random_pool

from entrove.errors import SelectionError
from entrove.selection import greedy
from entrove.selection.config import SelectionConfig
from entrove.selection.greedy import select_greedily
from entrove.selection.pool import FeaturePool, PoolBlock
from entrove.selection.result import Filter

NO_FILTERS = SelectionConfig(duplicate_tolerance=0.0)


def log_det(pool: FeaturePool, candidates) -> float:
    """1/2 sum_species ln det(1 + sum x x^T / lambda) of a set of candidates, densely."""
    total = 0.0
    for block in pool.blocks.values():
        rows = torch.cat([block.of(int(candidate)) for candidate in candidates]).numpy()
        M = np.eye(rows.shape[1]) + rows.T @ rows / INFORMATION.ridge
        total += 0.5 * np.linalg.slogdet(M)[1]
    return total


def plain_greedy(pool: FeaturePool, count: int, costs=None) -> list[int]:
    """Every candidate anew for every pick, by dense determinants."""
    picks: list[int] = []
    costs = costs or [1.0] * pool.size
    for _ in range(count):
        rest = [candidate for candidate in range(pool.size) if candidate not in picks]
        base = log_det(pool, picks) if picks else 0.0
        picks.append(max(rest, key=lambda c: (log_det(pool, [*picks, c]) - base) / costs[c]))
    return picks


@pytest.mark.parametrize("species", [(14,), (11, 17)])
@pytest.mark.parametrize("seed", range(5))
def test_lazy_greedy_is_plain_greedy(seed, species):
    pool = random_pool(seed, 60, species=species)
    selection = select_greedily(pool, dataset_for(pool), 15, NO_FILTERS)
    assert selection.indices.tolist() == plain_greedy(pool, 15)


QUOTAS = {"md": (3, 0.25), "ordered": (6, 0.5)}
"""Places of 12 and the share that reserves them; three are free, anchors have none reserved."""


def greedy_with_rules(
    pool: FeaturePool, count: int, *, quotas: bool, bar: float, fill_unused: bool
) -> list[int]:
    """The rules of a selection: every candidate again for every pick, by dense determinants."""
    picks: list[int] = []
    reserved = {name: places if quotas else 0 for name, (places, _) in QUOTAS.items()}
    free, costs = count - sum(reserved.values()), pool.costs_s or (1.0,) * pool.size
    while len(picks) < count:
        base = log_det(pool, picks) if picks else 0.0
        gains = {
            c: log_det(pool, [*picks, c]) - base
            for c in range(pool.size)
            if c not in picks and (free > 0 or reserved.get(pool.pools[c], 0) > 0)
        }
        worth_it = [c for c, gain in gains.items() if gain >= bar]
        if worth_it:
            picks.append(max(worth_it, key=lambda c: gains[c] / costs[c]))
            if reserved.get(pool.pools[picks[-1]], 0) > 0:
                reserved[pool.pools[picks[-1]]] -= 1
            else:
                free -= 1
        elif fill_unused and sum(reserved.values()):
            free, reserved = free + sum(reserved.values()), {}
        else:
            break
    return picks


@pytest.mark.parametrize("widths", [(7, 2, 3), (2, 1, 1)])
@pytest.mark.parametrize("quotas", [True, False])
@pytest.mark.parametrize("fill_unused", [True, False])
@pytest.mark.parametrize("bar", [None, 0.25])
@pytest.mark.parametrize("per_cost", [True, False])
def test_lazy_greedy_keeps_every_rule(widths, quotas, fill_unused, bar, per_cost, monkeypatch):
    """Quotas, least gain, cost and unused places, also with a front smaller than the picks."""
    for name, value in zip(("FRONT", "FIRST_WIDTH", "LARGEST_WIDTH"), widths, strict=True):
        monkeypatch.setattr(greedy, name, value)
    rng = np.random.default_rng(sum(widths))
    pools = tuple(rng.choice(["md", "ordered", "anchors"], p=[0.65, 0.1, 0.25], size=40).tolist())
    costs = tuple(rng.uniform(10.0, 1000.0, size=40).tolist()) if per_cost else ()
    pool = random_pool(widths[0], 40, species=(11, 17), largest=3, pools=pools, costs_s=costs)
    config = SelectionConfig(
        quotas={name: share for name, (_, share) in QUOTAS.items()} if quotas else {},
        fill_unused=fill_unused,
        least_gain=bar,
        rank_by="gain_per_second" if per_cost else "gain",
        duplicate_tolerance=0.0,
    )
    selection = select_greedily(pool, dataset_for(pool), 12, config)
    expected = greedy_with_rules(
        pool, 12, quotas=quotas, bar=-np.inf if bar is None else bar, fill_unused=fill_unused
    )
    assert selection.indices.tolist() == expected
    assert len(selection) + len(selection.rejected) == 40


def test_lazy_greedy_is_plain_greedy_per_cost():
    costs = tuple(np.random.default_rng(0).uniform(10.0, 1000.0, size=60).tolist())
    pool = random_pool(1, 60, costs_s=costs)
    config = SelectionConfig(duplicate_tolerance=0.0, rank_by="gain_per_second")
    selection = select_greedily(pool, dataset_for(pool), 15, config)
    assert selection.indices.tolist() == plain_greedy(pool, 15, list(costs))
    assert selection.indices.tolist() != plain_greedy(pool, 15)


@pytest.mark.parametrize("species", [(14,), (11, 17)])
def test_gains_sum_to_the_log_determinant_and_never_increase(species):
    pool = random_pool(2, 200, species=species)
    selection = select_greedily(pool, dataset_for(pool), 50, NO_FILTERS)
    assert selection.gains.sum() == pytest.approx(log_det(pool, selection.indices), rel=1e-12)
    assert (np.diff(selection.gains) <= 0).all()
    assert (selection.gains > 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_within_the_bound_of_the_best_subset(seed):
    """At least 1 - 1/e of the optimum over all 220 subsets (in practice 98 % and more)."""
    pool = random_pool(10 + seed, 12, largest=3)
    selection = select_greedily(pool, dataset_for(pool), 3, NO_FILTERS)
    best = max(log_det(pool, subset) for subset in combinations(range(12), 3))
    assert (1 - 1 / np.e) * best <= log_det(pool, selection.indices) <= best + 1e-12


def test_lazy_greedy_evaluates_few_candidates():
    """The point of being lazy: far fewer evaluations than candidates times picks."""
    pool = random_pool(3, 4000)
    dataset, evaluated = dataset_for(pool), 0
    evaluate = dataset.gains

    def count_and_evaluate(candidates):
        nonlocal evaluated
        evaluated += len(candidates)
        return evaluate(candidates)

    dataset.gains = count_and_evaluate
    select_greedily(pool, dataset, 100, NO_FILTERS)
    assert evaluated < 0.1 * 4000 * 100


def test_float32_pools_give_the_same_picks_and_nearly_the_same_gains():
    double = random_pool(4, 300)
    single = random_pool(4, 300, dtype=torch.float32)
    expected = select_greedily(double, dataset_for(double), 30, NO_FILTERS)
    selection = select_greedily(single, dataset_for(single), 30, NO_FILTERS)
    # Equal up to near-ties, of which this pool has none among its first picks.
    assert selection.indices[:10].tolist() == expected.indices[:10].tolist()
    # Rounded rows change M by 1e-7 relative, gains of order 1 by about that.
    np.testing.assert_allclose(selection.gains.sum(), expected.gains.sum(), rtol=1e-5)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_float32_pools_know_what_perfect_crystals_add(size):
    """Equal rows far from a rattled reference, as of relaxed cells: 1 + g 1 1^T, g up to 1e13.

    The first eight candidates are perfect, one of them picked already; the others are rattled.
    """
    double = perfect_and_rattled(size, torch.float64)
    single = FeaturePool(
        double.size, {14: PoolBlock(double.blocks[14].rows.float(), double.blocks[14].first)}
    )
    # What float32 keeps of the rows, in exact arithmetic: only the arithmetic is under test.
    kept = FeaturePool(
        double.size, {14: PoolBlock(single.blocks[14].rows.double(), double.blocks[14].first)}
    )
    grown, exact = dataset_for(single), dataset_for(kept)
    for dataset in (grown, exact):
        dataset.include(0)
    everyone = torch.arange(1, single.size)
    # A few roundings of 1 + W W^T at the largest leverage that float32 is trusted with, see
    # `SINGLE_LEVERAGE`.
    torch.testing.assert_close(grown.gains(everyone), exact.gains(everyone), rtol=1e-5, atol=5e-3)
    # After eight picks at the largest size what is left adds 1e-9 nats, and rounding may decide.
    selection = select_greedily(single, dataset_for(single), 8, NO_FILTERS)
    expected = select_greedily(kept, dataset_for(kept), 8, NO_FILTERS)
    assert selection.indices.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(selection.gains, expected.gains, rtol=1e-9)


def perfect_and_rattled(size: float, dtype: torch.dtype) -> FeaturePool:
    rng = np.random.default_rng(3)
    strains = np.linspace(-1.0, 1.0, 8)
    perfect = [
        strain * size * (np.ones(5) + 0.1 * rng.normal(size=5)) + np.zeros((6, 5))
        for strain in strains
    ]
    rattled = [rng.normal(size=(6, 5)) * rng.uniform(0.5, 2.0) for _ in range(12)]
    rows = torch.as_tensor(np.concatenate(perfect + rattled), dtype=dtype)
    return FeaturePool(20, {14: PoolBlock(rows, 6 * torch.arange(21))})


def test_a_gain_that_is_no_number_is_an_error_not_a_rank():
    pool = random_pool(8, 10)
    pool.blocks[14].rows[-1, 0] = torch.nan
    with pytest.raises(SelectionError, match="the gain of candidate 9 is not a finite number"):
        select_greedily(pool, dataset_for(pool), 3, NO_FILTERS)


def test_paper_entropy_is_plain_greedy():
    pool = random_pool(5, 40)
    rows = [pool.blocks[14].of(candidate).numpy() for candidate in range(40)]

    def entropy(picks):
        together = np.concatenate([rows[candidate] for candidate in picks])
        sigma = np.cov(together.T, bias=True) + PAPER.epsilon * np.eye(5)
        return np.linalg.slogdet(sigma)[1]

    picks: list[int] = []
    for _ in range(8):
        picks.append(
            max((c for c in range(40) if c not in picks), key=lambda c: entropy([*picks, c]))
        )
    selection = select_greedily(pool, dataset_for(pool, PAPER), 8, NO_FILTERS)
    assert selection.indices.tolist() == picks
    start = 5 * np.log(PAPER.epsilon)
    assert start + selection.gains.sum() == pytest.approx(entropy(picks), rel=1e-10)


@pytest.mark.parametrize("entropy", [INFORMATION, PAPER])
def test_least_gain_rejects_what_adds_too_little(entropy):
    pool = random_pool(6, 50)
    free = select_greedily(pool, dataset_for(pool, entropy), 50, NO_FILTERS)
    assert len(free) == 50
    bar = float(np.sort(free.gains)[-10])
    config = SelectionConfig(duplicate_tolerance=0.0, least_gain=bar)
    selection = select_greedily(pool, dataset_for(pool, entropy), 50, config)
    assert 0 < len(selection) < 50
    assert (selection.gains >= bar).all()
    assert selection.rejections_by_filter()["least_gain"] == 50 - len(selection)
    assert "least gain is" in selection.rejected[0].detail


def test_every_candidate_is_picked_or_has_one_reason():
    hashes = ("a", "b", "a", "c", *map(str, range(46)))
    pools = ("md",) * 25 + ("anchors",) * 25
    pool = random_pool(7, 50, hashes=hashes, pools=pools)
    config = SelectionConfig(quotas={"md": 0.5, "anchors": 0.5})
    selection = select_greedily(pool, dataset_for(pool), 20, config, known=["c"])
    indices = [*selection.indices.tolist(), *(rejection.index for rejection in selection.rejected)]
    assert sorted(indices) == list(range(50))
    reasons = {rejection.index: rejection for rejection in selection.rejected}
    assert reasons[2].filter == Filter.DUPLICATE
    assert reasons[2].detail == "the same structure as candidate 0"
    assert reasons[3].detail == "the dataset holds this structure already"
    counts = selection.rejections_by_filter()
    assert counts["duplicate"] == 2
    assert sum(counts.values()) == 50 - len(selection) == 30
