"""What the labels of many candidates would teach, while the dataset grows pick by pick."""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entrove.entropy.labels.posterior import LabelPosterior, fall_of_variance, target_frame
from entrove.entropy.labels.rows import LabelRows
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.rows import SHARED
from entrove.selection.gains import (
    SINGLE_LEVERAGE,
    GrowingDataset,
    GrowingInformation,
    map_pieces,
)
from entrove.selection.pool import FeaturePool, PoolBlock

SWEEP = 20
"""For the target, every candidate is evaluated again at least once in so many picks."""


def as_pool(rows: LabelRows, dtype: torch.dtype) -> FeaturePool:
    """Rows of labels as a pool with one block."""
    first = torch.cat([torch.zeros(1, dtype=torch.int64), rows.count.cumsum(0)])
    return FeaturePool(len(rows), {SHARED: PoolBlock(rows.values.to(dtype), first)})


def growing_labels(
    posterior: LabelPosterior,
    pool: FeaturePool,
    target: Float[Tensor, "width width"] | None,
) -> GrowingDataset:
    """Continue from what is labelled by candidates of this pool, see `as_pool`.

    With a target, a gain is the fall of its variance; without one it is information.
    """
    if target is not None:
        return GrowingTarget(posterior, pool, target)
    width = len(posterior.precision)
    outer = posterior.precision - torch.eye(width, dtype=torch.float64)
    known = Moments(0, torch.zeros(width, dtype=torch.float64), outer)
    return GrowingInformation(SpeciesMoments({SHARED: known}), pool, ridge=1.0)


class GrowingTarget:
    """Fall of the mean predicted variance of a target, see `entropy.labels.posterior`."""

    diminishing = True  # nearly always: two rows can be worth more together than alone
    sweep = SWEEP

    def __init__(
        self,
        posterior: LabelPosterior,
        pool: FeaturePool,
        target: Float[Tensor, "width width"],
    ) -> None:
        self._block = pool.blocks[SHARED]
        self._M = posterior.precision.clone()
        self._target = target
        self._root, self._variances = target_frame(self._M, target)

    def variance(self) -> float:
        """The mean predicted variance of the target now."""
        return float(self._variances.sum())

    def gains(self, candidates: Int[Tensor, " candidates"]) -> Float[Tensor, " candidates"]:
        """Fall that the labels of each candidate, on its own, would bring."""
        dtype = self._block.rows.dtype
        falls, length = self._evaluate(candidates, dtype)
        if dtype != torch.float64:
            # Rows shrink as more is known: few are too long for seven digits after some picks.
            long = (length > SINGLE_LEVERAGE).nonzero().squeeze(1)
            if len(long):
                falls[long] = self._evaluate(candidates[long], torch.float64)[0]
        return falls

    def _evaluate(
        self, candidates: Int[Tensor, " candidates"], dtype: torch.dtype
    ) -> tuple[Float[Tensor, " candidates"], Float[Tensor, " candidates"]]:
        """Falls, and the squared length of the rows in units of their predicted deviation."""
        found = torch.zeros(2, len(candidates), dtype=torch.float64)
        function = partial(_falls, self._block, self._root.to(dtype), self._variances.to(dtype))
        for piece, values in map_pieces(function, self._block, candidates):
            found[:, piece.places] = values.to(torch.float64)
        return found[0], found[1]

    def include(self, candidate: int) -> float:
        """Add the labels of a candidate and return the fall."""
        rows = self._block.of(candidate).to(torch.float64)
        fall = float(fall_of_variance((rows @ self._root)[None], self._variances))
        self._M.addmm_(rows.mT, rows)
        self._root, self._variances = target_frame(self._M, self._target)
        return fall


def _falls(
    block: PoolBlock,
    root: Float[Tensor, "width width"],
    variances: Float[Tensor, " width"],
    candidates: Int[Tensor, " candidates"],
) -> Float[Tensor, "2 candidates"]:
    W = block.gather(candidates).rows.to(root.dtype) @ root
    return torch.stack([fall_of_variance(W, variances), W.square().sum((1, 2))])
