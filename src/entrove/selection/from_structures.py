"""Select structures for labelling from a list, a file or a stream."""

from collections.abc import Callable
from typing import Literal

import torch
from ase import Atoms

from entrove.entropy.batches import evaluate_in_batches
from entrove.entropy.config import Mode
from entrove.entropy.dataset import EntropyDataset
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.selection.config import SelectionConfig
from entrove.selection.gains import growing_dataset
from entrove.selection.greedy import select_greedily
from entrove.selection.pool import FeaturePool, PoolBuilder
from entrove.selection.result import Selection
from entrove.structures import StructureSource, iterate_structures


def select(
    pool: StructureSource,
    count: int,
    given: EntropyDataset | StructureSource | None = None,
    *,
    entropy: Literal["information", "paper"] | None = None,
    mode: Mode | None = None,
    features: FeatureMap | None = None,
    config: SelectionConfig | None = None,
    cost_s: Callable[[Atoms], float] | None = None,
) -> Selection:
    """Pick the `count` structures of `pool` that add most to `given`, one after the other.

    Args:
        pool: One structure, a list, an iterator, or the path of a file that ASE reads. It is
            streamed: only feature rows are kept, n_atoms x length numbers per structure (8 bytes
            each, 4 with `storage="float32"`), so the structures need not fit in memory.
            `atoms.info["entrove_pool"]` names the pool for quotas.
        given: What is labelled already: an `EntropyDataset` (it is not changed), or structures, or
            nothing. Near-duplicates of labelled structures are recognised only where these are
            given themselves: a dataset keeps statistics and hashes, by which it recognises equal
            ones only.
        entropy, mode, features: As for `EntropyDataset`; only for a `given` that is not one.
            Without a calibrated dataset, mean and scale of the features are those of the pool.
        config: Quotas, duplicates, least gain, ranking, precision; its `count` is not used here.
        cost_s: Predicted seconds of a label, for `rank_by="gain_per_second"`.

    Returns a `Selection`: indices into the pool, best first, gains in nats, and the reason for
    every other candidate. It has fewer than `count` picks when the filters leave fewer.

    Raises `SelectionError` when `count` is not positive or above the number of candidates, or when
    arguments contradict each other; `StructureError` for structures that cannot be used.

    >>> from ase.build import bulk
    >>> cells = [bulk("Si", a=a) for a in (5.3, 5.4, 5.5, 5.6)]
    >>> len(select(cells, 2))
    2
    """
    config = config or SelectionConfig()
    dataset = _dataset(given, entropy, mode, features)
    if config.rank_by == "gain_per_second" and cost_s is None:
        raise SelectionError(
            "rank_by='gain_per_second' needs the cost of each label; pass cost_s=..., or rank by "
            "gain"
        )
    if count < 1:
        raise SelectionError(f"count={count}, but at least 1 is needed")
    candidates = collect_pool(pool, dataset, config, cost_s=cost_s)
    if count > candidates.size:
        raise SelectionError(
            f"count={count} but only {candidates.size} candidates are left; lower count or sample "
            "longer"
        )
    labelled = None
    if given is not None and not isinstance(given, EntropyDataset):
        members = list(iterate_structures(given))
        dataset.add(members)
        if config.duplicate_tolerance > 0:
            labelled = collect_pool(members, dataset, config)
    growing = growing_dataset(dataset.config, dataset.moments, candidates)
    return select_greedily(
        candidates, growing, count, config, known=dataset.hashes, labelled=labelled
    )


def collect_pool(
    pool: StructureSource,
    dataset: EntropyDataset,
    config: SelectionConfig,
    *,
    cost_s: Callable[[Atoms], float] | None = None,
) -> FeaturePool:
    """Evaluate the features of a pool as rows of this dataset.

    A dataset that has neither members nor a calibration is calibrated on the pool, in place.
    """
    raw = dataset.config.kind == "information" and not dataset.whitening.species
    builder = PoolBuilder(
        getattr(torch, config.storage), dataset.raw_rows if raw else dataset.rows, cost_s
    )
    batches = evaluate_in_batches(dataset.features, pool, dataset.batch_atoms)
    candidates = builder.collect(batches)
    if raw and candidates.size:
        dataset.calibrate_on_moments(candidates.moments())
        candidates.transform_(lambda number, rows: dataset.whitening[number].apply(rows))
    return candidates


def _dataset(
    given: EntropyDataset | StructureSource | None,
    entropy: Literal["information", "paper"] | None,
    mode: Mode | None,
    features: FeatureMap | None,
) -> EntropyDataset:
    if not isinstance(given, EntropyDataset):
        return EntropyDataset(entropy or "information", mode or "per_atom", features=features)
    named = {"entropy": entropy, "mode": mode, "features": features}
    contradicting = [name for name, value in named.items() if value is not None]
    if contradicting:
        raise SelectionError(
            f"{', '.join(contradicting)} cannot be chosen: given is an EntropyDataset and has its "
            "own; leave them out"
        )
    return given.copy()
