"""Representative picks: the points are mean kernels, and the picks follow the definition."""

import numpy as np
import pytest
import torch
from ase.build import bulk

import entrove
from entrove.entropy.moments import Moments
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.selection import representative
from entrove.selection.config import SelectionConfig
from entrove.selection.representative import (
    Embedding,
    SizeShares,
    SpeciesWaves,
    distance_of,
    pick_representative,
)

FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=4.0, length=16))
REPRESENTATIVE = SelectionConfig(method="representative")


def silicon(seed, rattle_A=0.05, a=5.43, repeat=1):
    atoms = bulk("Si", a=a, cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(rattle_A, seed=seed)
    return atoms


def carbide(seed):
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def literal(points, target, labelled, count):
    """Each next pick has the smallest discrepancy of all that are left, computed afresh."""

    def discrepancy(chosen):
        mean = np.mean([*labelled, *points[chosen]], axis=0) if len(chosen) else 0.0
        return np.sum((target - mean) ** 2)

    picks = []
    while len(picks) < count:
        rest = [c for c in range(len(points)) if c not in picks]
        picks.append(min(rest, key=lambda c: discrepancy([*picks, c])))
    return picks, discrepancy(picks)


@pytest.mark.parametrize("labelled", [0, 4])
@pytest.mark.parametrize("seed", range(3))
def test_picks_are_those_of_the_definition(seed, labelled):
    rng = np.random.default_rng(seed)
    points, known = rng.normal(size=(30, 6)), rng.normal(size=(labelled, 6))
    target = points.mean(0)
    found = pick_representative(
        torch.as_tensor(points),
        torch.as_tensor(target),
        torch.as_tensor(known),
        torch.ones(30, dtype=torch.bool),
        10,
        sizes=torch.full((30,), 8),
    )
    expected, left = literal(points, target, known, 10)
    assert found.indices == expected
    start = np.sum((target - (known.mean(0) if labelled else 0.0)) ** 2)
    assert sum(found.falls) == pytest.approx(start - left)


def test_unavailable_candidates_are_never_picked():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    available = torch.tensor([True, False, True, False, True, True])
    found = pick_representative(
        points, points.mean(0), points[:0], available, 10, sizes=torch.full((6,), 8)
    )
    assert sorted(found.indices) == [0, 2, 4, 5]


def test_a_longer_exploration_leaves_anchors_their_share():
    """Ten times as many snapshots of one distribution, the same strained cells."""
    anchors = [silicon(seed, 0.01, a=5.1 + 0.06 * seed) for seed in range(12)]
    shares = []
    for snapshots in (20, 200):
        pool = [*anchors, *(silicon(seed, 0.25) for seed in range(100, 100 + snapshots))]
        picked = entrove.select(pool, 20, config=REPRESENTATIVE, features=FEATURES, target=anchors)
        shares.append(sum(index < len(anchors) for index in picked.indices))
    assert abs(shares[1] - shares[0]) <= 1
    assert abs(shares[1] - 0.4 * 20) <= 2


def test_candidates_that_are_no_target_have_the_pool_share_relaxed_cells_among_them():
    """Relaxed cells, which are no anchors of the target, count among the others."""
    relaxed = [silicon(0, 0.0, a=a) for a in (5.2, 5.43, 5.7)]
    strained = [silicon(seed, 0.01, a=5.0 + 0.2 * seed) for seed in range(6)]
    snapshots = [silicon(seed, 0.25) for seed in range(100, 106)]
    pool = [*strained, *snapshots, *relaxed]
    embedding = Embedding(FEATURES, [*pool, *strained])
    for share in (1.0, 0.6, 0.0):
        config = REPRESENTATIVE.model_copy(update={"pool_share": share})
        found = entrove.select(pool, 1, config=config, features=FEATURES, target=strained)
        others = embedding.points([*snapshots, *relaxed]).mean(0)
        target = share * others + (1 - share) * embedding.points(strained).mean(0)
        left = (target - embedding.points(pool)).square().sum(dim=1).min()
        assert found.gains[0] == pytest.approx(float(target.square().sum() - left), rel=1e-6)


def test_near_duplicates_are_labelled_once():
    """Of a pick and of a labelled cell: rotated and moved by a thousandth of an Angstrom."""
    pool = [silicon(seed) for seed in range(6)]
    for original in (pool[0], pool[1]):
        copy = original.copy()
        copy.rotate(30, "z", rotate_cell=True)
        copy.rattle(5e-4, seed=9)
        pool.append(copy)
    found = entrove.select(pool, 8, [pool[1]], config=REPRESENTATIVE, features=FEATURES)
    reasons = {rejection.index: rejection for rejection in found.rejected}
    assert reasons[1].filter.value == "duplicate"
    assert "nearly equal to a labelled structure" in reasons[7].detail
    (again,) = set(reasons) - {1, 7}
    assert again in (0, 6)
    assert f"nearly equal to candidate {6 - again}" in reasons[again].detail
    everything = REPRESENTATIVE.model_copy(update={"duplicate_tolerance": 0.0})
    assert len(entrove.select(pool, 8, config=everything, features=FEATURES)) == 8


@pytest.mark.parametrize("repeat", [1, 2, 3])
def test_near_duplicates_do_not_depend_on_the_size_of_cells(repeat):
    """Differences of independent thermal cells average out in large ones; copies stay copies."""
    cold = [silicon(seed, 0.03, repeat=repeat) for seed in range(8)]
    wild = [
        silicon(100 + seed, 0.3, a=5.43 + 0.15 * (-1) ** seed, repeat=repeat) for seed in range(6)
    ]
    copy = cold[0].copy()
    copy.rattle(5e-4, seed=9)
    found = entrove.select([*cold, *wild, copy], 15, config=REPRESENTATIVE, features=FEATURES)
    (left_out,) = found.rejected
    assert left_out.filter.value == "near_duplicate"
    assert left_out.index in (0, 14)


@pytest.mark.parametrize("count", [8, 12, 24, 40])
def test_large_cells_are_at_most_as_frequent_among_picks_as_among_candidates(count):
    """The same rattles and volumes: the large ones are nearer to the mean, and cost more."""
    pool = [
        silicon(seed, 0.05 * (1 + seed % 3), a=5.43 + 0.02 * (seed % 7 - 3), repeat=repeat)
        for seed, repeat in enumerate([1, 2, 1, 1, 2] * 20)
    ]
    sizes = np.array([len(atoms) for atoms in pool])
    picked = entrove.select(pool, count, config=REPRESENTATIVE, features=FEATURES).indices
    assert abs((sizes[picked] > 8).sum() - count * (sizes > 8).mean()) <= 0.5
    few = entrove.select(pool, count // 2, config=REPRESENTATIVE, features=FEATURES).indices
    assert few.tolist() == picked[: count // 2].tolist()


def test_when_small_cells_are_used_up_large_ones_follow():
    pool = [silicon(seed, 0.1, repeat=1 if seed < 2 else 2) for seed in range(8)]
    pool[0] = pool[1].copy()
    assert len(entrove.select(pool, 7, config=REPRESENTATIVE, features=FEATURES)) == 7


@pytest.mark.parametrize("sizes", [(8,), (8, 16, 24), tuple(range(2, 60))])
def test_shares_of_sizes_can_always_be_kept(sizes):
    """By a choice that wants the largest cell each time, as the smallest and as any one."""
    generator = torch.Generator().manual_seed(0)
    of_candidate = torch.tensor(sizes)[torch.randint(len(sizes), (500,), generator=generator)]
    for wish in (of_candidate, -of_candidate, torch.rand(500, generator=generator)):
        available = torch.ones(500, dtype=torch.bool)
        shares = SizeShares(of_candidate, available)
        picked = []
        while len(picked) < 100:
            allowed = shares.allowed(available)
            picked.append(int(torch.where(allowed, wish.double(), -torch.inf).argmax()))
            available[picked[-1]] = False
            shares.add(picked[-1])
            for size in sizes:
                share = (of_candidate >= size).double().mean()
                assert (of_candidate[picked] >= size).sum() <= share * len(picked) + 0.5


def test_points_multiply_to_the_mean_kernel_of_their_atoms():
    """Against the mean of Gaussians of scaled features, computed pair by pair."""
    structures = [silicon(seed, rattle) for seed, rattle in ((0, 0.02), (1, 0.1), (2, 0.25))]
    found = Embedding(FEATURES, structures).points(structures).double().numpy()
    x = FEATURES.evaluate(representative_state(structures), pull_back=False).values.double()
    covariance = np.cov(x.numpy().T, bias=True)
    sizes, axes = np.linalg.eigh(covariance)
    kept = sizes > 1e-8 * float(x.square().mean())
    z = (x.numpy() @ axes[:, kept]) / np.sqrt(sizes[kept])
    squares = ((z[:, None] - z[None]) ** 2).sum(2) / (2 * kept.sum())
    gaussians = [np.exp(-squares / (2 * length**2)) for length in (1 / 3, 2 / 3, 4 / 3)]
    kernel = np.mean(gaussians, axis=0).reshape(3, 8, 3, 8).mean((1, 3))
    # The mean of 512 cosines of random angles has a standard deviation of at most 0.03.
    np.testing.assert_allclose(found @ found.T, kernel, atol=0.1)


def test_a_tolerance_is_the_distance_of_points_whose_scaled_features_all_differ_by_it():
    rng = np.random.default_rng(0)
    mixing = torch.as_tensor(rng.normal(size=(12, 12)))
    rows = torch.as_tensor(rng.normal(size=(4000, 12))) @ mixing
    waves = SpeciesWaves.of(14, Moments.of(rows))
    sizes, directions = torch.linalg.eigh(torch.cov(rows.mT, correction=0))
    tolerance = 0.01
    moved = rows[:200] + tolerance * (directions * sizes.sqrt()).sum(1)
    apart = torch.linalg.vector_norm(waves.apply(rows[:200]) - waves.apply(moved), dim=1)
    # 171 random waves of the shortest length decide: their mean square is known to 11 %, its root
    # to 5 %.
    assert float(apart.mean()) == pytest.approx(distance_of(tolerance), rel=0.15)


def representative_state(structures):
    from entrove.fingerprints.batching import to_state

    return to_state(structures)


def test_a_point_does_not_depend_on_how_a_crystal_is_written():
    atoms, other = silicon(1), silicon(2, 0.2)
    again = atoms[np.random.default_rng(0).permutation(8)]
    again.rotate(40, (1, 2, 3), rotate_cell=True)
    again.positions += 1.3
    points = Embedding(FEATURES, [atoms, other]).points([atoms, again, atoms * (2, 1, 1), other])
    assert float((points[:3] - points[0]).norm(dim=1).max()) < 2e-3
    assert float((points[3] - points[0]).norm()) > 0.1


class CountingOverlap(GaussianOverlap):
    """Fingerprints that count the structures they are evaluated for."""

    structures = 0

    def evaluate(self, state, *, pull_back=True):
        type(self).structures += state.cell.shape[0]
        return super().evaluate(state, pull_back=pull_back)


def test_features_of_a_pool_are_evaluated_once_and_points_are_those_of_its_copies():
    features = CountingOverlap(FingerprintConfig(cutoff_A=4.0, length=16))
    pool = [silicon(seed, 0.1) for seed in range(6)]
    embedding = Embedding(features, pool)
    others = [silicon(9, 0.2), *pool, silicon(10, 0.3)]
    points = embedding.points(others)
    assert features.structures == len(others)
    copies = embedding.points([atoms.copy() for atoms in others])
    assert features.structures == 2 * len(others)
    torch.testing.assert_close(points, copies, atol=1e-6, rtol=0)


def test_atoms_of_different_species_have_no_kernel():
    structures = [silicon(0), *(carbide(seed) for seed in range(3))]
    points = Embedding(FEATURES, structures).points([structures[1], carbide(7)]).double()
    silicon_only = Embedding(FEATURES, structures)
    of_species = [
        silicon_only._species[number].apply(torch.zeros(1, FEATURES.length, dtype=torch.float64))
        for number in (6, 14)
    ]
    assert abs(float((of_species[0] * of_species[1]).sum())) < 0.15
    assert float(points[0] @ points[1]) > 0.0


def test_picks_have_the_proportions_of_the_target():
    """Three of four cells of a target are cold: so are three of four picks, at every count."""
    cold = [silicon(seed, 0.02) for seed in range(40)]
    hot = [silicon(seed, 0.25, a=5.6) for seed in range(40, 80)]
    target = [silicon(100 + seed, 0.02) for seed in range(30)]
    target += [silicon(200 + seed, 0.25, a=5.6) for seed in range(10)]
    config = SelectionConfig(method="representative", pool_share=0.0)
    picks = entrove.select(
        [*cold, *hot], 24, target=target, config=config, features=FEATURES
    ).indices
    for count in (8, 12, 16, 20, 24):
        assert np.sum(picks[:count] < 40) == pytest.approx(0.75 * count, abs=1.5)


def test_biased_snapshots_are_no_part_of_the_target():
    """As many biased snapshots as there are of them are left to the regime's proportions."""
    calm = [silicon(seed, 0.02) for seed in range(20)]
    driven = [silicon(seed, 0.25, a=5.6) for seed in range(20, 60)]
    for atoms in driven:
        atoms.info["entrove_entropy"] = "information"
    picks = entrove.select([*calm, *driven], 10, config=REPRESENTATIVE, features=FEATURES)
    assert np.sum(picks.indices < 20) >= 9


def test_biased_snapshots_are_no_part_of_the_target_beside_anchors_alone():
    """Nor where no candidate is unbiased: the anchors are the target then."""
    pool = [silicon(seed, 0.02) for seed in range(20)]
    pool += [silicon(seed, 0.25, a=5.6) for seed in range(20, 60)]
    for atoms in pool:
        atoms.info["entrove_entropy"] = "information"
    target = [silicon(100 + seed, 0.02) for seed in range(12)]
    found, of_anchors = (
        entrove.select(pool, 10, target=target, config=config, features=FEATURES).indices.tolist()
        for config in (REPRESENTATIVE, REPRESENTATIVE.model_copy(update={"pool_share": 0.0}))
    )
    assert found == of_anchors
    assert max(found) < 20


def test_what_is_labelled_is_made_up_for():
    cold = [silicon(seed, 0.02) for seed in range(20)]
    hot = [silicon(seed, 0.25, a=5.6) for seed in range(20, 40)]
    labelled = [silicon(300 + seed, 0.02) for seed in range(10)]
    fresh = entrove.select([*cold, *hot], 10, config=REPRESENTATIVE, features=FEATURES)
    after = entrove.select([*cold, *hot], 10, labelled, config=REPRESENTATIVE, features=FEATURES)
    assert 4 <= np.sum(fresh.indices < 20) <= 6
    assert np.sum(after.indices < 20) <= 1


def test_picks_are_nearer_to_the_pool_than_random_ones():
    pool = [silicon(seed, 0.02 + 0.005 * seed) for seed in range(60)]
    found = entrove.select(pool, 12, config=REPRESENTATIVE, features=FEATURES)
    points = Embedding(FEATURES, pool).points(pool).double()
    target = points.mean(0)

    def discrepancy(chosen):
        return float((target - points[chosen].mean(0)).square().sum())

    rng = np.random.default_rng(0)
    random = [discrepancy(rng.permutation(60)[:12]) for _ in range(50)]
    assert discrepancy(found.indices) < min(random)
    assert found.gains.sum() == pytest.approx(
        float(target.square().sum()) - discrepancy(found.indices), rel=1e-4
    )


def test_scaling_on_some_structures_still_knows_every_species(monkeypatch):
    monkeypatch.setattr(representative, "CALIBRATED_ON", 3)
    pool = [silicon(seed) for seed in range(9)]
    pool.insert(4, carbide(0))
    picked = entrove.select(pool, 10, config=REPRESENTATIVE, features=FEATURES)
    assert sorted(picked.indices.tolist()) == list(range(10))


@pytest.mark.parametrize("config", [None, SelectionConfig(duplicate_tolerance=0.02)])
def test_picks_are_representative_where_nothing_asks_for_gains(config):
    pool = [silicon(seed, 0.01 * (seed + 1)) for seed in range(24)]
    labelled = [silicon(seed, 0.02) for seed in range(30, 33)]
    found = entrove.select(pool, 6, labelled, features=FEATURES, config=config)
    settings = (config or SelectionConfig()).model_copy(update={"method": "representative"})
    expected = entrove.select(pool, 6, labelled, features=FEATURES, config=settings)
    assert found.indices.tolist() == expected.indices.tolist()
    aimed = entrove.select(pool, 6, labelled, features=FEATURES, config=config, target=pool[:5])
    assert aimed.indices.tolist() != found.indices.tolist()


@pytest.mark.parametrize(
    "arguments",
    [
        {"entropy": "information"},
        {"mode": "per_config"},
        {"given": entrove.EntropyDataset("information", features=FEATURES), "features": None},
        {"config": SelectionConfig(quotas={"anchors": 0.5})},
        {"config": SelectionConfig(least_gain=0.0)},
        {"config": SelectionConfig(phase_share=0.0)},
        {"config": SelectionConfig(rank_by="gain_per_second"), "cost_s": lambda _: 2.0},
    ],
)
def test_picks_are_those_of_largest_gain_where_an_argument_asks_for_them(arguments):
    pool = [silicon(seed, 0.01 * (seed + 1)) for seed in range(12)]
    config = arguments.get("config") or SelectionConfig()
    by_gain = config.model_copy(update={"method": "gain"})
    found = entrove.select(pool, 4, **{"features": FEATURES, **arguments})
    expected = entrove.select(pool, 4, **{"features": FEATURES, **arguments, "config": by_gain})
    assert found.indices.tolist() == expected.indices.tolist()
    assert found.gains.tolist() == expected.gains.tolist()


def test_what_scales_does_not_depend_on_the_order_of_the_pool(monkeypatch):
    monkeypatch.setattr(representative, "CALIBRATED_ON", 6)
    pool = [silicon(seed, 0.01 * (seed + 1)) for seed in range(24)]
    order = np.random.default_rng(1).permutation(len(pool))
    picked = entrove.select(pool, 8, config=REPRESENTATIVE, features=FEATURES)
    shuffled = entrove.select(
        [pool[index] for index in order], 8, config=REPRESENTATIVE, features=FEATURES
    )
    assert order[shuffled.indices].tolist() == picked.indices.tolist()


def test_cells_that_are_all_alike_are_still_picked():
    pool = [bulk("Si", a=5.43, cubic=True) for _ in range(3)]
    for shift, atoms in enumerate(pool):
        atoms.positions += 0.1 * shift
    assert len(entrove.select(pool, 1, config=REPRESENTATIVE, features=FEATURES)) == 1


def test_a_fixed_budget_ends_the_picks():
    pool = [silicon(seed) for seed in range(8)]
    config = SelectionConfig(method="representative", budget_s=25.0)
    picked = entrove.select(pool, 8, config=config, features=FEATURES, cost_s=lambda atoms: 10.0)
    assert len(picked) == 2
    assert picked.rejections_by_filter()["budget"] == 6
