"""Selection by rows of labels: what brute force picks, within costs, and for the right target."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators import emt
from candidate_pools import silicon

import entrove
from entrove.entropy.config import LabelsConfig
from entrove.entropy.labels.posterior import LabelPosterior
from entrove.entropy.labels.rows import LabelRowMap, LabelRows
from entrove.errors import ModelError, SelectionError
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.models.committee import committee_of, force_spreads
from entrove.models.registry import load
from entrove.selection.config import SelectionConfig
from entrove.selection.greedy import select_greedily
from entrove.selection.label_gains import GrowingTarget, as_pool, growing_labels
from entrove.selection.pool import FeaturePool

NO_FILTERS = SelectionConfig(duplicate_tolerance=0.0)
WIDTH = 12
EMT = "ase.calculators.emt:EMT"


def random_rows(seed: int, structures=60, largest=6) -> LabelRows:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, largest + 1, size=structures)
    spread = np.repeat(rng.uniform(0.1, 3.0, size=structures), counts)
    values = rng.normal(size=(counts.sum(), WIDTH)) * spread[:, None]
    counts = torch.as_tensor(counts)
    return LabelRows(torch.as_tensor(values), counts, counts)


def one(rows: LabelRows, index: int) -> LabelRows:
    count = rows.count[index : index + 1]
    return LabelRows(rows.of(index), count, count)


def brute_force(rows: LabelRows, count: int, target) -> tuple[list[int], list[float]]:
    """Every candidate anew for every pick, by dense inverses and determinants."""
    M, picks, gains = np.eye(WIDTH), [], []

    def value(matrix):
        if target is None:
            return np.linalg.slogdet(matrix)[1] / 2
        return -np.trace(np.linalg.inv(matrix) @ target.numpy())

    for _ in range(count):
        found = {
            c: value(M + rows.of(c).numpy().T @ rows.of(c).numpy()) - value(M)
            for c in range(len(rows))
            if c not in picks
        }
        picks.append(max(found, key=found.__getitem__))
        gains.append(found[picks[-1]])
        M = M + rows.of(picks[-1]).numpy().T @ rows.of(picks[-1]).numpy()
    return picks, gains


def pick(rows, count, target, *, config=NO_FILTERS, dtype=torch.float64, **columns):
    growing = growing_labels(LabelPosterior.prior(WIDTH), as_pool(rows, dtype), target)
    pool = FeaturePool(len(rows), {}, **columns)
    return select_greedily(pool, growing, count, config)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("objective", ["information", "target"])
def test_picks_are_those_of_brute_force(seed, objective, dtype):
    rows = random_rows(seed)
    target = random_rows(90 + seed).gram() / 60 if objective == "target" else None
    selection = pick(rows, 12, target, dtype=dtype)
    picks, gains = brute_force(rows, 12, target)
    assert selection.indices.tolist() == picks
    # float32 keeps seven digits of rows, and gains are sums of a few of their squares.
    np.testing.assert_allclose(
        selection.gains, gains, rtol=1e-9 if dtype == torch.float64 else 1e-4
    )


def test_gains_of_the_target_sum_to_the_fall_of_its_variance():
    rows, target = random_rows(5), random_rows(95).gram() / 60
    selection = pick(rows, 10, target)
    posterior = LabelPosterior.prior(WIDTH)
    before = posterior.variance(target)
    for index in selection.indices:
        posterior = posterior.with_labels(one(rows, int(index)))
    assert selection.gains.sum() == pytest.approx(before - posterior.variance(target))


def test_every_candidate_is_evaluated_again_within_a_sweep(monkeypatch):
    """A fall that rises is seen although old falls are taken as bounds."""
    rows, target = random_rows(7, structures=100), random_rows(97).gram() / 60
    seen: list[set[int]] = [set()]
    include, gains = GrowingTarget.include, GrowingTarget.gains

    def count_gains(self, candidates):
        seen[-1].update(candidates.tolist())
        return gains(self, candidates)

    def count_picks(self, candidate):
        seen.append({candidate})
        return include(self, candidate)

    monkeypatch.setattr(GrowingTarget, "gains", count_gains)
    monkeypatch.setattr(GrowingTarget, "include", count_picks)
    monkeypatch.setattr(GrowingTarget, "sweep", 4)
    order = pick(rows, 12, target).indices.tolist()
    assert seen[0] == set(range(100))
    for first in range(1, 8):
        recent = set().union(*seen[first : first + 4])
        assert recent | set(order[: first + 4]) == set(range(100))


def test_costs_and_a_budget():
    rows, target = random_rows(8), random_rows(98).gram() / 60
    costs = tuple(np.random.default_rng(8).uniform(1.0, 10.0, size=60).tolist())
    per_second = NO_FILTERS.model_copy(update={"rank_by": "gain_per_second", "budget_s": 40.0})
    selection = pick(rows, 60, target, config=per_second, costs_s=costs)
    spent = sum(costs[index] for index in selection.indices)
    assert spent <= 40.0
    left = [c for index, c in enumerate(costs) if index not in selection.indices]
    assert min(left) > 40.0 - spent
    counts = selection.rejections_by_filter()
    assert counts["budget"] == 60 - len(selection)
    by_gain = NO_FILTERS.model_copy(update={"budget_s": 40.0})
    plain = pick(rows, 60, target, config=by_gain, costs_s=costs)
    assert sum(costs[index] for index in plain.indices) <= 40.0
    assert selection.gains.sum() > plain.gains.sum()


FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=4.0, length=16))
POOL = [silicon(seed, rattle_A=0.02 + 0.01 * seed) for seed in range(12)]
LABELS = LabelsConfig(directions=6, signal_to_noise=None)


def select(count=4, **more):
    return entrove.select(
        POOL, count, **{"entropy": "labels", "features": FEATURES, "labels": LABELS, **more}
    )


def test_select_uses_the_rows_of_the_structures():
    config = SelectionConfig(objective="information", duplicate_tolerance=0.0)
    found = select(config=config, given=[silicon(50)])
    rows_of = LabelRowMap.calibrated(FEATURES, [*POOL, silicon(50)], LABELS)
    posterior = LabelPosterior.prior(rows_of.width).with_labels(rows_of.of([silicon(50)]))
    gains = posterior.information(rows_of.of(POOL)).numpy()
    assert gains.argmax() == found.indices[0]
    assert gains.max() == pytest.approx(found.gains[0], rel=1e-6)


def test_what_is_labelled_is_not_picked_again():
    again = POOL[3].copy()
    again.rotate(40, "z", rotate_cell=True)
    selection = select(8, given=[POOL[5], again])
    reasons = {rejection.index: rejection.filter.value for rejection in selection.rejected}
    assert reasons[5] == "duplicate"
    assert reasons[3] == "near_duplicate"


def test_the_target_decides():
    """Cells near equilibrium teach most about such cells, distorted ones about distorted ones."""
    calm, wild = POOL[:2], POOL[-2:]
    config = SelectionConfig(pool_share=0.0)
    fresh = {
        name: [silicon(100 + seed, rattle_A=rattle) for seed in range(6)]
        for name, rattle in (("calm", 0.02), ("wild", 0.13))
    }
    falls = {}
    for name, sample in fresh.items():
        rows_of = LabelRowMap.calibrated(FEATURES, [*POOL, *sample], LABELS)
        rows = rows_of.of(sample)
        target = rows.gram() / len(rows)
        prior = LabelPosterior.prior(rows_of.width)
        falls[name] = prior.falls(rows_of.of([*calm, *wild]), target) / prior.variance(target)
        picked = select(1, target=sample, config=config).indices[0]
        all_falls = prior.falls(rows_of.of(POOL), target)
        assert picked == int(all_falls.argmax())
    assert float(falls["wild"][2:].sum()) > float(falls["wild"][:2].sum())


def test_the_predicted_improvement_is_that_of_the_target():
    sample = [silicon(100 + seed, rattle_A=0.05) for seed in range(6)]
    config = SelectionConfig(pool_share=0.0)
    found = select(5, target=sample, given=[silicon(50)], config=config)
    rows_of = LabelRowMap.calibrated(FEATURES, [*POOL, silicon(50), *sample], LABELS)
    Q = rows_of.of(sample).gram().numpy() / len(sample)
    labelled = rows_of.of([silicon(50)]).values.numpy()
    picks = rows_of.of([POOL[index] for index in found.indices]).values.numpy()
    before = np.eye(rows_of.width) + labelled.T @ labelled
    variances = [
        np.trace(np.linalg.solve(matrix, Q)) for matrix in (before, before + picks.T @ picks)
    ]
    assert found.target_variance == pytest.approx(tuple(variances), rel=1e-4)
    expected = 1 - (variances[1] / variances[0]) ** 0.5
    assert found.predicted_improvement == pytest.approx(expected, rel=1e-4)
    no_target = select(5, config=SelectionConfig(objective="information"))
    assert no_target.target_variance is no_target.predicted_improvement is None


def test_high_energies_teach_less():
    energies = {id(atoms): 8 * 0.2 * index for index, atoms in enumerate(POOL)}

    def of(structures):
        return [energies[id(atoms)] for atoms in structures]

    config = SelectionConfig(objective="information", duplicate_tolerance=0.0)
    plain = select(12, config=config)
    low = select(12, config=config, energies_eV=of)
    assert np.mean(low.indices[:4]) < np.mean(plain.indices[:4])
    with pytest.raises(SelectionError, match="is not finite"):
        select(energies_eV=lambda structures: [np.nan] * len(structures))


@pytest.mark.parametrize("method", ["random", "farthest_point", "lcmd", "representative"])
def test_control_arms_pick_what_is_asked_for(method):
    config = SelectionConfig(method=method)
    labelled = [silicon(60)]
    selection = entrove.select([*POOL, POOL[0]], 5, labelled, config=config, features=FEATURES)
    assert len(set(selection.indices.tolist())) == 5
    assert len(selection.indices) + len(selection.rejected) == 13
    assert selection.rejections_by_filter()["duplicate"] == 1
    costs = {len(atoms): 3.0 for atoms in POOL}
    limited = entrove.select(
        POOL,
        5,
        config=config.model_copy(update={"budget_s": 10.0}),
        features=FEATURES,
        cost_s=lambda atoms: costs[len(atoms)],
    )
    assert len(limited) == 3
    assert limited.rejections_by_filter()["budget"] == 9


def test_the_committee_is_asked_where_its_members_disagree_most():
    cells = [bulk("Cu", a=3.6, cubic=True) for _ in range(9)]
    for index, atoms in enumerate(cells):
        atoms.rattle(0.02 + 0.03 * ((5 * index) % 9), seed=index)
    committee = committee_of([load(EMT), load("ase.calculators.lj:LennardJones")])

    def disagreement(atoms):
        forces = []
        for member in committee.members:
            copy = atoms.copy()
            copy.calc = member.calculator()
            forces.append(copy.get_forces())
        # Two members lie half of their difference from their mean.
        return np.linalg.norm(forces[0] - forces[1], axis=1).max() / 2

    expected = [disagreement(atoms) for atoms in cells]
    config = SelectionConfig(method="committee_spread")
    found = entrove.select(
        cells, 4, cells[:1], config=config, spreads=partial(force_spreads, committee)
    )
    order = [index for index in np.argsort(expected)[::-1].tolist() if index != 0]
    assert found.indices.tolist() == order[:4]
    np.testing.assert_allclose(found.gains, np.array(expected)[order[:4]], rtol=1e-5)
    with pytest.raises(SelectionError, match="needs the spread of a committee"):
        entrove.select(cells, 4, config=config)
    with pytest.raises(SelectionError, match=r"structure 0 .* is not finite"):
        entrove.select(cells, 4, config=config, spreads=lambda several: [np.nan] * len(several))
    with pytest.raises(ModelError, match="needs a committee of several"):
        force_spreads(load(EMT), cells)


def test_random_follows_its_seed():
    config = SelectionConfig(method="random")
    draws = [
        entrove.select(POOL, 6, config=config, seed=seed).indices.tolist() for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_contradictions_are_refused():
    with pytest.raises(SelectionError, match="needs the cost of each label"):
        select(config=SelectionConfig(budget_s=10.0))
    with pytest.raises(SelectionError, match="keeps no structures"):
        select(given=entrove.EntropyDataset())
    with pytest.raises(SelectionError, match="is in nats"):
        select(config=SelectionConfig(least_gain=0.1))
    with pytest.raises(
        SelectionError, match="target has no effect with entropy='information' or 'paper'"
    ):
        entrove.select(POOL, 2, entropy="information", target=POOL)
    with pytest.raises(SelectionError, match="count=13 but only 12"):
        select(13)


class InAnotherUnit:
    """The same features, each a hundred times: as a wide sketch of them would be."""

    length = 100 * FEATURES.length

    def describe(self):
        return FEATURES.describe()

    def evaluate(self, state, *, pull_back=True):
        del pull_back
        values = FEATURES.evaluate(state, pull_back=False).values
        return Repeated(values.repeat(1, 100))


@dataclass(frozen=True)
class Repeated:
    values: torch.Tensor

    def pull_back(self, gradient):
        raise NotImplementedError


@pytest.mark.parametrize("objective", ["information", "target"])
def test_the_prior_does_not_depend_on_the_number_of_features(objective):
    """With a unit prior, a hundred copies of each feature are a hundred times the variance."""
    config = SelectionConfig(objective=objective, duplicate_tolerance=0.0)
    calibrated = LABELS.model_copy(update={"signal_to_noise": 0.5})
    given = [silicon(50), silicon(51)]
    once = select(6, config=config, given=given, labels=calibrated)
    repeated = select(6, config=config, given=given, labels=calibrated, features=InAnotherUnit())
    assert repeated.indices.tolist() == once.indices.tolist()
    np.testing.assert_allclose(repeated.gains, once.gains, rtol=1e-5)


def test_the_signal_is_the_mean_variance_of_a_label_over_its_noise():
    """With hardly any signal, information is half of it for each label: ln(1 + x) = x."""
    rows_of = LabelRowMap.calibrated(FEATURES, POOL, LABELS)
    labels = int(rows_of.of(POOL).labels.sum())
    assert labels == sum(1 + 3 * (len(atoms) - 1) + 6 for atoms in POOL)
    config = SelectionConfig(objective="information", duplicate_tolerance=0.0)
    faint = LABELS.model_copy(update={"signal_to_noise": 1e-6})
    found = select(len(POOL), config=config, labels=faint)
    assert found.gains.sum() == pytest.approx(0.5e-6 * labels, rel=1e-3)


@pytest.mark.parametrize("directions", [None, 30, 6])
@pytest.mark.parametrize("length", [16, 200])
@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 2, 2)])
def test_the_first_variance_is_the_signal_of_all_labels(directions, length, repeat):
    """Neither a sketch nor few features make a prior tighter: tr(Q) counts labels, not rows."""
    pool = [silicon(seed, rattle_A=0.05).repeat(repeat) for seed in range(2)]
    for seed, atoms in enumerate(pool):
        atoms.rattle(0.03, seed=seed)
    found = entrove.select(
        pool,
        1,
        entropy="labels",
        features=GaussianOverlap(FingerprintConfig(cutoff_A=4.0, length=length)),
        labels=LabelsConfig(directions=directions, signal_to_noise=0.5),
        config=NO_FILTERS,
    )
    labels = 3 * (len(pool[0]) - 1) + 7
    assert found.target_variance is not None
    # Eigenvalues of M^-1 = 1 in float64.
    assert found.target_variance[0] == pytest.approx(0.5 * labels, rel=1e-9)


ARGUMENTS = {
    "entropy": "labels",
    "mode": "per_atom",
    "labels": LABELS,
    "target": POOL[:2],
    "energies_eV": lambda structures: [0.0] * len(structures),
    "spreads": lambda structures: [1.0] * len(structures),
}
RANKED = ("representative", "lcmd", "farthest_point", "committee_spread", "random")
WAYS = {
    "information": ({"entropy": "information"}, NO_FILTERS, {"mode"}),
    "paper": ({"entropy": "paper"}, NO_FILTERS, {"mode"}),
    "labels": ({"entropy": "labels"}, NO_FILTERS, {"labels", "target", "energies_eV"}),
    "labels for information": (
        {"entropy": "labels"},
        SelectionConfig(objective="information"),
        {"labels", "energies_eV"},
    ),
    **{method: ({}, SelectionConfig(method=method), set()) for method in RANKED},
}
WAYS["representative"][2].add("target")
WAYS["committee_spread"][2].add("spreads")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_is_used_or_refused(way, name):
    given, config, used = WAYS[way]
    if name == "entropy" and config.by_gain:
        return  # it is the way
    needed = {"spreads": ARGUMENTS["spreads"]} if way == "committee_spread" else {}
    arguments = {"features": FEATURES, **needed, **given, name: ARGUMENTS[name]}
    if name in used:
        assert len(entrove.select(POOL[:4], 2, config=config, **arguments)) == 2
        return
    with pytest.raises(SelectionError, match=f"{name} has no effect with .*, only with"):
        entrove.select(POOL[:4], 2, config=config, **arguments)


@pytest.mark.parametrize("wrong", [[1.0], 1.0, [[1.0]] * 12])
def test_callbacks_return_one_number_for_each_structure(wrong):
    with pytest.raises(SelectionError, match=r"energies_eV returned numbers of shape .* for 12"):
        select(energies_eV=lambda structures: wrong)
    config = SelectionConfig(method="committee_spread")
    with pytest.raises(SelectionError, match=r"spreads returned numbers of shape .* for 12"):
        entrove.select(POOL, 3, config=config, spreads=lambda structures: wrong)


def test_a_labelled_structure_without_results_is_refused():
    fresh = bulk("Cu", a=3.6, cubic=True)
    fresh.calc = emt.EMT()
    pool = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.55, 3.65)]
    arguments = {"entropy": "labels", "features": FEATURES}
    with pytest.raises(SelectionError, match="its calculator has computed nothing yet"):
        entrove.select(pool, 1, [fresh], **arguments)
    fresh.get_potential_energy()
    assert len(entrove.select(pool, 1, [fresh], **arguments)) == 1


class OfStructure:
    """X_c / n for each atom, whatever its species, as weight gradients are."""

    length = FEATURES.length
    per_structure = True

    def describe(self):
        return FEATURES.describe()

    def evaluate(self, state, *, pull_back=True):
        del pull_back
        values = FEATURES.evaluate(state, pull_back=False).values
        sums = values.new_zeros(state.n_systems, self.length)
        sums.index_add_(0, state.system_idx, values)
        return Repeated((sums / state.n_atoms_per_system[:, None])[state.system_idx])


@pytest.mark.parametrize("method", ["lcmd", "farthest_point"])
def test_features_of_structures_make_one_point_whatever_the_species(method):
    """Two species had two copies of it, and a structure with one of them a zero in their place."""
    pool = [bulk("NaCl", "rocksalt", a=a, cubic=True) for a in (5.4, 5.6, 5.7)]
    for seed, atoms in enumerate(pool):
        atoms.rattle(0.05, seed=seed)
    config = SelectionConfig(method=method)
    mixed = [*pool, *POOL[:3]]
    found = entrove.select(mixed, 5, config=config, features=OfStructure())
    values = [OfStructure().evaluate(to_state([atoms])).values[0].numpy() for atoms in mixed]
    atoms_of = [len(atoms) for atoms in mixed]
    mean = np.average(values, axis=0, weights=atoms_of)
    deviation = np.sqrt(np.average((np.array(values) - mean) ** 2, axis=0, weights=atoms_of))
    scale = np.sqrt(deviation**2 + (1e-2**2) * np.mean(deviation**2))
    points = np.array(values) if method == "farthest_point" else (np.array(values) - mean) / scale
    third = int(found.indices[1])
    expected = np.linalg.norm(points[third] - points[int(found.indices[0])])
    assert found.gains[1] == pytest.approx(expected, rel=1e-6)
