"""Methods without gains: representative picks, and control arms to compare with.

The arms are random picks, farthest points, largest clusters and committee spread. They label
near-duplicates, too, so that all arms get the same number of labels; equal structures are picked
once. With a budget, a candidate that no longer fits is passed over, and decides nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float

from entrove.entropy.batches import evaluate_in_batches
from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.labels.rows import is_of_structure
from entrove.entropy.rows import split_rows
from entrove.errors import SelectionError, StructureError
from entrove.provenance import is_biased
from entrove.selection.budget import Budget
from entrove.selection.by_labels import LabelTask, one_for_each
from entrove.selection.config import SelectionConfig
from entrove.selection.farthest_point import points_of, select_farthest
from entrove.selection.lcmd import pick_by_clusters
from entrove.selection.pool import PoolBuilder
from entrove.selection.representative import (
    Embedding,
    Representative,
    distance_of,
    pick_representative,
)
from entrove.selection.result import Filter, Rejection, Selection
from entrove.structures import content_hash


def select_ranked(
    candidates: Sequence[Atoms],
    count: int,
    task: LabelTask,
    config: SelectionConfig,
    *,
    cost_s: Callable[[Atoms], float] | None = None,
    seed: int | Sequence[int] = 0,
) -> Selection:
    """Pick `count` candidates by the method of `config`, within its budget.

    Gains of the `Selection` are distances to what was labelled or picked before, or spreads;
    falls of the squared discrepancy for "representative"; zeros for "random".

    Raises `SelectionError` for "committee_spread" where the task has no spreads.
    """
    budget = Budget.of(candidates, cost_s, config.budget_s)
    picks, gains, rejected = _ranked(candidates, count, task, config, budget, seed)
    known = {*picks, *(rejection.index for rejection in rejected)}
    rejected += [
        Rejection(index, Filter.BUDGET, budget.describe(index))
        if budget.passed_over[index]
        else Rejection(index, Filter.COUNT, f"not among the picks of '{config.method}'")
        for index in range(len(candidates))
        if index not in known
    ]
    return Selection(
        indices=np.array(picks, dtype=np.int64),
        gains=np.array(gains, dtype=np.float64),
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.index)),
    )


def _ranked(
    candidates: Sequence[Atoms],
    count: int,
    task: LabelTask,
    config: SelectionConfig,
    budget: Budget,
    seed: int | Sequence[int],
) -> tuple[list[int], list[float], list[Rejection]]:
    """Picks in the order of the method, their distances, and the equal structures left out."""
    if config.method == "farthest_point":
        found = select_farthest(
            candidates, count, task.labelled or None, features=task.features, budget=budget
        )
        equal = [rejection for rejection in found.rejected if rejection.filter is Filter.DUPLICATE]
        return found.indices.tolist(), found.gains.tolist(), equal
    equal = _equal_structures(candidates, task.labelled)
    available = torch.ones(len(candidates), dtype=torch.bool)
    available[[rejection.index for rejection in equal]] = False
    if config.method == "random":
        order = np.random.default_rng(seed).permutation(len(candidates)).tolist()
        picks = _first_of(order, available, count, budget)
        return picks, [0.0] * len(picks), equal
    if config.method == "committee_spread":
        spreads = _spreads(candidates, task)
        order = np.argsort(-spreads, kind="stable").tolist()
        picks = _first_of(order, available, count, budget)
        return picks, spreads[picks].tolist(), equal
    if config.method == "representative":
        found = _representative(candidates, available, count, task, config, budget)
        return found.indices, found.falls, [*equal, *_nearly_equal(found)]
    points = _whitened_means([*candidates, *task.labelled], task)
    indices, distances = pick_by_clusters(
        points[: len(candidates)],
        points[len(candidates) :],
        available,
        count,
        budget,
    )
    return indices, distances, equal


def _first_of(
    order: Sequence[int], available: Bool[torch.Tensor, " candidates"], count: int, budget: Budget
) -> list[int]:
    """Take the first `count` available candidates of an order, without those that do not fit."""
    available = available.clone()
    picks: list[int] = []
    for index in order:
        if len(picks) == count:
            break
        if budget.pass_over(available)[index]:
            budget.spend(index)
            picks.append(index)
    return picks


def _representative(
    candidates: Sequence[Atoms],
    available: Bool[torch.Tensor, " candidates"],
    count: int,
    task: LabelTask,
    config: SelectionConfig,
    budget: Budget,
) -> Representative:
    embedding = Embedding(task.features, [*candidates, *task.labelled, *task.target])
    points = embedding.points(candidates)
    # Anchors have their own weight, or a longer exploration would leave them none.
    anchors = {content_hash(atoms) for atoms in task.target}
    sampled = torch.tensor(
        [not is_biased(atoms) and content_hash(atoms) not in anchors for atoms in candidates]
    )
    target = points[sampled].mean(0) if bool(sampled.any()) else points.mean(0)
    if task.target:
        # Without candidates to represent, the biased ones take no place in the target.
        share = config.pool_share_or_default if bool(sampled.any()) else 0.0
        target = share * target + (1 - share) * embedding.points(task.target).mean(0)
    labelled = embedding.points(task.labelled)
    return pick_representative(
        points,
        target,
        labelled,
        available,
        count,
        sizes=torch.tensor([len(atoms) for atoms in candidates]),
        least_distance=distance_of(config.duplicate_tolerance),
        budget=budget,
    )


def _nearly_equal(found: Representative) -> list[Rejection]:
    return [
        Rejection(
            index,
            Filter.NEAR_DUPLICATE,
            "nearly equal to "
            + ("a labelled structure" if pick is None else f"candidate {pick}")
            + ", by the distance of their atomic environments",
        )
        for index, pick in found.near.items()
    ]


def _spreads(candidates: Sequence[Atoms], task: LabelTask) -> Float[np.ndarray, " candidates"]:
    if task.spreads is None:
        raise SelectionError(
            "method 'committee_spread' needs the spread of a committee for each candidate; pass "
            "spreads=..., for example entrove.models.force_spreads, or choose another method"
        )
    spreads = one_for_each(task.spreads(candidates), candidates, "spreads")
    for index in np.flatnonzero(~np.isfinite(spreads)).tolist():
        raise SelectionError(
            f"the spread of structure {index} ({candidates[index].get_chemical_formula()}) is not "
            "finite; remove it"
        )
    return spreads


def _equal_structures(candidates: Sequence[Atoms], labelled: Sequence[Atoms]) -> list[Rejection]:
    known = {content_hash(atoms) for atoms in labelled}
    rejections: list[Rejection] = []
    for index, atoms in enumerate(candidates):
        if len(atoms) == 0:
            raise StructureError("{structure} has no atoms; remove it from the list", index)
        try:
            digest = content_hash(atoms)
        except StructureError as error:
            raise error.at(index) from error
        if digest in known:
            detail = "equal to a labelled structure or to an earlier candidate"
            rejections.append(Rejection(index, Filter.DUPLICATE, detail))
        known.add(digest)
    return rejections


def _whitened_means(structures: Sequence[Atoms], task: LabelTask) -> torch.Tensor:
    """The means of the whitened features per species, side by side: one point per structure."""
    by_species = not is_of_structure(task.features)
    dataset = EntropyDataset(
        "information", "per_atom", features=task.features, species_blocks=by_species
    )
    dataset.calibrate(structures)
    whitening = dataset.whitening
    builder = PoolBuilder(
        torch.float64, lambda batch: split_rows(batch, "per_config", species_blocks=by_species)
    )
    pool = builder.collect(evaluate_in_batches(task.features, structures))
    pool.transform_(lambda number, rows: whitening[number].apply(rows))
    return points_of(pool, sorted(pool.blocks), task.features.length)
