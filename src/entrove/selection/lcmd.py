"""LCMD, a control arm: the largest cluster gets the next pick, its point farthest from the centre.

Each configuration is one point, the mean of its whitened features per species. With one species,
and with features that belong to the structure as a whole, that is the energy row of
`entrove.entropy.labels`, so that distances are those of the last-layer kernel of a model; with
several, the energy row has the sum over each species divided by the number of all atoms. Centres
are what is labelled and what was picked; a cluster is the candidates nearest to a centre, and its
size is the sum of their squared distances. Without labels the first pick is the longest point.

Ref: Holzmüller, Zaverkin, Kästner & Steinwart, JMLR 24, 164 (2023), algorithm 8 (LCMD-TP).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrove.selection.budget import Budget


def pick_by_clusters(
    points: Float[Tensor, "candidates width"],
    centres: Float[Tensor, "labelled width"],
    open_: Bool[Tensor, " candidates"],
    count: int,
    budget: Budget | None = None,
) -> tuple[list[int], list[float]]:
    """Pick up to `count` open candidates; returns indices and distances to their centres."""
    open_ = open_.clone()
    budget = budget or Budget.unlimited(len(points))
    indices: list[int] = []
    distances: list[float] = []
    squares, cluster = _nearest(points, centres)
    clusters = len(centres)
    while len(indices) < count and bool(budget.pass_over(open_).any()):
        if clusters == 0:
            chosen = int(torch.where(open_, points.square().sum(1), -1.0).argmax())
            distance = float(points[chosen].square().sum().sqrt())
        else:
            weights = torch.where(open_, squares, 0.0)
            sizes = torch.zeros(clusters, dtype=points.dtype).index_add_(0, cluster, weights)
            # The largest cluster that has an open candidate: all may be at zero distance.
            has_open = torch.zeros(clusters, dtype=torch.bool)
            has_open[cluster[open_]] = True
            largest = int(torch.where(has_open, sizes, -1.0).argmax())
            inside = open_ & (cluster == largest)
            chosen = int(torch.where(inside, squares, -1.0).argmax())
            distance = float(squares[chosen].clamp_min(0.0).sqrt())
        indices.append(chosen)
        distances.append(distance)
        open_[chosen] = False
        budget.spend(chosen)
        to_pick = (points - points[chosen]).square().sum(1)
        nearer = to_pick < squares
        squares = torch.where(nearer, to_pick, squares)
        cluster = torch.where(nearer, clusters, cluster)
        clusters += 1
    return indices, distances


def _nearest(
    points: Float[Tensor, "candidates width"], centres: Float[Tensor, "labelled width"]
) -> tuple[Float[Tensor, " candidates"], Int[Tensor, " candidates"]]:
    """Squared distance of each point to its nearest centre, and which it is."""
    if not len(centres):
        infinite = torch.full((len(points),), torch.inf, dtype=points.dtype)
        return infinite, torch.zeros(len(points), dtype=torch.int64)
    distances, cluster = torch.cdist(points, centres).min(1)
    return distances.square(), cluster
