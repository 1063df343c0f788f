"""Farthest-point sampling, a control arm: spread the picks, whatever they add together.

Each configuration is one point, the mean feature row of each of its species, one behind the other
(of all its atoms for features that belong to the structure as a whole).
The next pick is the candidate farthest from all picks and from `given` (Euclidean distance,
features as they are). Ref: Eldar et al., IEEE Trans. Image Process. 6, 1305 (1997).
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrove.entropy.batches import evaluate_in_batches
from entrove.entropy.labels.rows import is_of_structure
from entrove.entropy.rows import split_rows
from entrove.entropy.typed_torch import integers, row_norms
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import look_ahead
from entrove.formats.reading import iterate_structures
from entrove.selection.budget import Budget
from entrove.selection.duplicates import reject_duplicates
from entrove.selection.pool import FeaturePool, PoolBuilder
from entrove.selection.result import Filter, Rejection, Selection
from entrove.structures import StructureSource


def select_farthest(
    pool: StructureSource,
    count: int,
    given: StructureSource | None = None,
    *,
    features: FeatureMap | None = None,
    budget: Budget | None = None,
) -> Selection:
    """Pick `count` structures by farthest-point sampling.

    Args:
        pool, given: As for `entrove.select`; `given` are structures that the picks keep away from,
            too.
        features: Feature map; Gaussian overlap fingerprints by default.
        budget: What labels may cost; what no longer fits is not picked.

    Returns a `Selection` whose `gains` are the distances at which the picks were made, in feature
    units. Without `given` the first pick is the candidate farthest from the mean of the pool, and
    its distance is the one to that mean. Equal structures are picked once.

    Raises `SelectionError` when `count` is not positive or above the number of candidates.
    """
    if features is None:
        seen, pool = look_ahead(iterate_structures(pool))
        features = GaussianOverlap.of_system(seen)
    candidates = _collect(pool, features)
    if not 1 <= count <= candidates.size:
        raise SelectionError(
            f"count={count} but there are {candidates.size} candidates; ask for 1 to "
            f"{candidates.size}"
        )
    known = _collect(given, features) if given is not None else FeaturePool(0, {})
    rejected = reject_duplicates(candidates, known.hashes)
    species = sorted(candidates.blocks.keys() | known.blocks.keys())
    points = points_of(candidates, species, features.length)
    anchors = (
        points_of(known, species, features.length) if known.size else points.mean(0, keepdim=True)
    )
    available = torch.ones(candidates.size, dtype=torch.bool)
    available[[rejection.index for rejection in rejected]] = False
    start = torch.cdist(points, anchors).amin(1)
    budget = budget or Budget.unlimited(candidates.size)
    indices, distances = _pick_farthest(
        points, start, available, count, budget, start_counts=known.size > 0
    )
    for index in integers(torch.nonzero(available).squeeze(1)):
        rejected.append(
            Rejection(index, Filter.COUNT, "nearer to the picks than all that were picked")
        )
    for index in integers(torch.nonzero(budget.passed_over).squeeze(1)):
        rejected.append(Rejection(index, Filter.BUDGET, budget.describe(index)))
    return Selection(
        indices=np.array(indices, dtype=np.int64),
        gains=np.array(distances, dtype=np.float64),
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.index)),
    )


def _pick_farthest(
    points: Float[Tensor, "candidates width"],
    distance: Float[Tensor, " candidates"],
    available: Bool[Tensor, " candidates"],
    count: int,
    budget: Budget,
    *,
    start_counts: bool,
) -> tuple[list[int], list[float]]:
    """Pick the farthest candidate repeatedly; picks are cleared in `available`.

    `start_counts` is whether the initial `distance` counts for later picks, too (it is to given
    structures) or for the first pick only (it is to the mean of the pool).
    """
    indices: list[int] = []
    distances: list[float] = []
    while len(indices) < count and bool(budget.pass_over(available).any()):
        farthest = int(torch.where(available, distance, -1.0).argmax())
        indices.append(farthest)
        distances.append(float(distance[farthest]))
        available[farthest] = False
        budget.spend(farthest)
        to_pick = row_norms(points - points[farthest])
        distance = (
            torch.minimum(distance, to_pick) if start_counts or len(indices) > 1 else to_pick
        )
    return indices, distances


def _collect(source: StructureSource, features: FeatureMap) -> FeaturePool:
    by_species = not is_of_structure(features)
    builder = PoolBuilder(
        torch.float64, lambda batch: split_rows(batch, "per_config", species_blocks=by_species)
    )
    return builder.collect(evaluate_in_batches(features, source))


def points_of(
    pool: FeaturePool, species: list[int], length: int
) -> Float[Tensor, "candidates width"]:
    """Mean rows of all species of each configuration, concatenated; zero for missing species."""
    points = torch.zeros(pool.size, len(species), length, dtype=torch.float64)
    for place, number in enumerate(species):
        if number in pool.blocks:
            block = pool.blocks[number]
            points[block.count > 0, place] = block.rows
    return points.flatten(1)
