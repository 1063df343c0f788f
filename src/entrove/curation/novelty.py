"""Information of two sets with common whitened features, and of each frame given a set.

With M = lambda 1 + sum z z^T over the rows of a set, its information is 1/2 ln det(M / lambda) in
nats, and a frame with rows Z adds 1/2 ln det(1 + Z M^-1 Z^T) to it. A frame that is in the set
adds -1/2 ln det(1 - Z M^-1 Z^T) to the rest of it (matrix determinant lemma).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entrove.entropy.typed_torch import split
from entrove.selection.pool import FeaturePool

_FRAMES_AT_ONCE = 1024


class WhitenedSets:
    """The rows of two sets, one after the other in a pool, and the matrices of both."""

    def __init__(self, pool: FeaturePool, n_first: int, ridge: float) -> None:
        self.n_first = n_first
        self._pool = pool
        self._ridge = ridge
        # Gram matrices per species, of the first and of the second set.
        self._grams: dict[int, tuple[Tensor, Tensor]] = {}
        for number, block in pool.blocks.items():
            border = int(block.first[n_first])
            self._grams[number] = (_gram(block.rows[:border]), _gram(block.rows[border:]))

    def nats(self, first: bool) -> float:
        """Information of one set."""
        return self._information([grams[0 if first else 1] for grams in self._grams.values()])

    def nats_together(self) -> float:
        """Information of both sets as one."""
        return self._information([grams[0] + grams[1] for grams in self._grams.values()])

    def gains(self, *, of_first: bool) -> Float[np.ndarray, " frames"]:
        """What each frame of a set adds to the other set, in nats."""
        return self._gains(of_first, given_first=not of_first, sign=1.0)

    def leave_one_out_gains(self, *, of_first: bool) -> Float[np.ndarray, " frames"]:
        """What each frame of a set adds to the others of the same set, in nats."""
        return self._gains(of_first, given_first=of_first, sign=-1.0)

    def map_of_means(self) -> Float[np.ndarray, "frames 2"]:
        """Both sets on the two principal axes of their mean features per species."""
        parts: list[Tensor] = []
        for block in self._pool.blocks.values():
            count = block.count
            owner = torch.repeat_interleave(torch.arange(len(count)), count)
            sums = torch.zeros(len(count), block.rows.shape[1], dtype=torch.float64)
            sums.index_add_(0, owner, block.rows.to(torch.float64))
            parts.append(sums / count.clamp_min(1)[:, None])
        points = torch.cat(parts, 1)
        points -= points.mean(0)
        _, axes = torch.linalg.eigh(points.mT @ points)
        return (points @ axes[:, -2:].flip(1)).numpy()

    def _information(self, grams: list[Tensor]) -> float:
        return sum(
            0.5
            * float(
                torch.linalg.slogdet(
                    gram / self._ridge + torch.eye(len(gram), dtype=gram.dtype)
                ).logabsdet
            )
            for gram in grams
        )

    def _gains(self, of_first: bool, *, given_first: bool, sign: float) -> np.ndarray:
        begin, end = (0, self.n_first) if of_first else (self.n_first, self._pool.size)
        frames = torch.arange(begin, end)
        gains = torch.zeros(len(frames), dtype=torch.float64)
        for number, block in self._pool.blocks.items():
            gram = self._grams[number][0 if given_first else 1]
            root = torch.linalg.cholesky(
                gram + self._ridge * torch.eye(len(gram), dtype=gram.dtype)
            )
            for places in split(torch.arange(len(frames)), _FRAMES_AT_ONCE):
                rows = block.gather(frames[places]).rows.to(torch.float64)
                if not rows.shape[1]:
                    continue
                whitened = torch.linalg.solve_triangular(root, rows.mT, upper=False)
                square = sign * whitened.mT @ whitened
                eye = torch.eye(square.shape[-1], dtype=torch.float64)
                gains[places] += sign * 0.5 * torch.linalg.slogdet(eye + square).logabsdet
        return gains.numpy()


def _gram(rows: Float[Tensor, "rows features"]) -> Float[Tensor, "features features"]:
    gram = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for piece in split(rows, 2**16):
        double = piece.to(torch.float64)
        gram += double.mT @ double
    return gram
