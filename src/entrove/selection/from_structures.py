"""Select structures for labelling from a list, a file or a stream."""

from collections.abc import Callable, Sequence
from typing import Literal

from ase import Atoms

from entrove.entropy.config import LabelsConfig, Mode
from entrove.entropy.dataset import EntropyDataset
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import look_ahead
from entrove.formats.reading import iterate_structures
from entrove.selection.by_labels import Energies, LabelTask, Spreads, select_by_labels
from entrove.selection.config import SelectionConfig
from entrove.selection.gains import growing_dataset
from entrove.selection.greedy import select_greedily
from entrove.selection.pool import collect_pool
from entrove.selection.ranked import select_ranked
from entrove.selection.result import Selection
from entrove.structures import StructureSource

USERS: dict[str, tuple[str, ...]] = {
    "entropy": ("method 'gain'",),
    "mode": ("entropy='information'",),
    "labels": ("entropy='labels'",),
    "energies_eV": ("entropy='labels'",),
    "target": ("entropy='labels' with objective 'target'", "method 'representative'"),
    "spreads": ("method 'committee_spread'",),
}
"""What each argument of `select` that not all ways use has an effect with."""


def select(
    pool: StructureSource,
    count: int,
    given: EntropyDataset | StructureSource | None = None,
    *,
    entropy: Literal["information", "paper", "labels"] | None = None,
    mode: Mode | None = None,
    features: FeatureMap | None = None,
    config: SelectionConfig | None = None,
    cost_s: Callable[[Atoms], float] | None = None,
    labels: LabelsConfig | None = None,
    target: StructureSource | None = None,
    energies_eV: Energies | None = None,
    spreads: Spreads | None = None,
    seed: int | Sequence[int] = 0,
) -> Selection:
    """Pick the `count` structures of `pool` to label beside `given`, one after the other.

    By default they are representative: their atomic environments are distributed like those of
    the pool, with what is labelled counted in. Picks of largest gain, which are new to `given` or
    teach most by rows of labels, are made where an argument asks for them: `entropy`, `mode`,
    `labels`, `energies_eV`, a `given` that is an `EntropyDataset`, or a key of `config` that only
    gains have (`SelectionConfig.keys_for_gains`).

    Args:
        pool: One structure, a list, an iterator, or the path of a file that ASE reads.
            `atoms.info["entrove_pool"]` names the pool for quotas, `entrove_phase` the phase, and
            `entrove_entropy` what biased a walker, whose snapshots are no part of the target of
            the method "representative". With `entropy="information"` or "paper" it is streamed:
            only feature rows are kept, n_atoms x length numbers per structure (8 bytes each, 4
            with `storage="float32"`), so the structures need not fit in memory.
        given: What is labelled already: an `EntropyDataset` (it is not changed), or structures, or
            nothing. Near-duplicates of labelled structures are recognised only where these are
            given themselves: a dataset keeps statistics and hashes, by which it recognises equal
            ones only. For `entropy="labels"` and for the other methods than "gain", structures.
        entropy: "information" or "paper", see `EntropyDataset`; or "labels": what the energy,
            forces and stress of a label teach a model that is linear in the features. For the
            method "gain" only.
        mode: As for `EntropyDataset`, "information" and "paper" only.
        features: Feature map; only for a `given` that is no dataset. Without a calibrated
            dataset, mean and scale of the features are those of the pool. The methods "random" and
            "committee_spread" look at none.
        config: Method, objective, budget of seconds, quotas, duplicates, least gain, ranking,
            precision; its `count` and `features` are not used here.
        cost_s: Predicted seconds of a label: gains are divided by it where candidates differ in
            size or `rank_by` is "gain_per_second", and the budget of `config` is counted in it.
            Without it, a label of n atoms counts as n^1.5, and there can be no budget.
        labels: Noise levels of labels, for `entropy="labels"`.
        target: A sample of what is to be predicted, for the objective "target" and the method
            "representative"; the pool itself by default.
        energies_eV: Total energies of a list of structures in eV, all by one model: the noise
            of labels grows with the energy above the lowest of a composition. Without it, it does
            not grow.
        spreads: How far a committee disagrees about each of a list of structures, in any unit,
            for the control arm "committee_spread"; `entrove.models.force_spreads` computes them.
        seed: Of the method "random".

    Returns a `Selection`: indices into the pool, best first, gains in nats (of variance for the
    objective "target", of the discrepancy from the pool for "representative"), and the reason for
    every other candidate. It has fewer than `count` picks when the filters leave fewer.

    Raises `SelectionError` when `count` is not positive or above the number of candidates, or when
    arguments contradict each other, have no effect with the method, or return something else than
    one number for each structure; `StructureError` for structures that cannot be used.

    >>> from ase.build import bulk
    >>> cells = [bulk("Si", a=a) for a in (5.3, 5.4, 5.5, 5.6)]
    >>> len(select(cells, 2))
    2
    >>> len(select(cells, 2, entropy="labels"))
    2
    """
    config = _decided(
        config or SelectionConfig(),
        isinstance(given, EntropyDataset),
        any(value is not None for value in (entropy, mode, labels, energies_eV)),
    )
    _check_costs(config, cost_s)
    if count < 1:
        raise SelectionError(f"count={count}, but at least 1 is needed")
    _refuse_unused(
        _way(entropy, config),
        {
            "entropy": None if config.by_gain else entropy,
            "mode": mode,
            "labels": labels,
            "target": target,
            "energies_eV": energies_eV,
            "spreads": spreads,
        },
    )
    if features is None and not isinstance(given, EntropyDataset):
        seen, pool = look_ahead(iterate_structures(pool))
        features = GaussianOverlap.of_system(seen)
    if entropy == "labels" or not config.by_gain:
        if isinstance(given, EntropyDataset):
            raise SelectionError(
                "an EntropyDataset keeps no structures, which entropy='labels' and the other "
                "methods than 'gain' compare with; give the labelled structures instead"
            )
        assert features is not None  # only a dataset brings its own
        candidates = list(iterate_structures(pool))
        _check_count(count, len(candidates))
        task = LabelTask(
            features,
            labels or LabelsConfig(),
            () if given is None else list(iterate_structures(given)),
            () if target is None else list(iterate_structures(target)),
            energies_eV,
            spreads,
        )
        if config.by_gain:
            return select_by_labels(candidates, count, task, config, cost_s=cost_s)
        return select_ranked(candidates, count, task, config, cost_s=cost_s, seed=seed)
    dataset = _dataset(given, entropy, mode, features)
    atoms_pool = collect_pool(pool, dataset, config, cost_s=cost_s)
    _check_count(count, atoms_pool.size)
    labelled = None
    if given is not None and not isinstance(given, EntropyDataset):
        members = list(iterate_structures(given))
        dataset.add(members)
        if config.duplicate_tolerance > 0:
            labelled = collect_pool(members, dataset, config)
    growing = growing_dataset(dataset.config, dataset.moments, atoms_pool)
    return select_greedily(
        atoms_pool, growing, count, config, known=dataset.hashes, labelled=labelled
    )


def _decided(
    config: SelectionConfig, given_is_dataset: bool, gains_are_asked_for: bool
) -> SelectionConfig:
    """The settings with the method "auto" decided."""
    if config.method != "auto":
        return config
    by_gain = gains_are_asked_for or given_is_dataset or config.keys_for_gains
    return config.model_copy(update={"method": "gain" if by_gain else "representative"})


def _check_costs(config: SelectionConfig, cost_s: Callable[[Atoms], float] | None) -> None:
    if cost_s is not None:
        return
    for wanted, name in (
        (config.rank_by == "gain_per_second", "rank_by='gain_per_second'"),
        (config.budget_s is not None, f"budget_s={config.budget_s}"),
    ):
        if wanted:
            raise SelectionError(
                f"{name} needs the cost of each label; pass cost_s=..., or leave it out"
            )


def _check_count(count: int, candidates: int) -> None:
    if count > candidates:
        raise SelectionError(
            f"count={count} but only {candidates} candidates are left; lower count or sample "
            "longer"
        )


def _way(entropy: str | None, config: SelectionConfig) -> str:
    """What decides which arguments have an effect: a method without gains, or whose gains."""
    if not config.by_gain:
        return f"method '{config.method}'"
    if entropy == "labels":
        return f"entropy='labels' with objective '{config.objective}'"
    return "entropy='information' or 'paper'"


def _refuse_unused(way: str, given: dict[str, object]) -> None:
    for name, value in given.items():
        users = USERS[name]
        if value is not None and not way.startswith(users):
            raise SelectionError(
                f"{name} has no effect with {way}, only with {' and '.join(users)}; choose "
                f"{'it' if len(users) == 1 else 'one'}, or leave {name} out"
            )


def _dataset(
    given: EntropyDataset | StructureSource | None,
    entropy: Literal["information", "paper", "labels"] | None,
    mode: Mode | None,
    features: FeatureMap | None,
) -> EntropyDataset:
    if not isinstance(given, EntropyDataset):
        kind = "paper" if entropy == "paper" else "information"
        return EntropyDataset(kind, mode or "per_atom", features=features)
    named = {"entropy": entropy, "mode": mode, "features": features}
    contradicting = [name for name, value in named.items() if value is not None]
    if contradicting:
        raise SelectionError(
            f"{', '.join(contradicting)} cannot be chosen: given is an EntropyDataset and has its "
            "own; leave them out"
        )
    return given.copy()
