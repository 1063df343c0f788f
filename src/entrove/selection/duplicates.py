"""Structures that are the same, by content, and nearly the same, by their features."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from entrove.selection.pool import FeaturePool
from entrove.selection.result import Filter, Rejection

SPREAD_SAMPLE = 2**15


def reject_duplicates(pool: FeaturePool, known: Iterable[str]) -> list[Rejection]:
    """Reject candidates whose content hash is in `known`, or occurred earlier in the pool.

    Hashes do not depend on the order of the atoms or on image wrapping, see
    `entrove.structures.content_hash`.
    """
    known = frozenset(known)
    first: dict[str, int] = {}
    rejections = []
    for index, digest in enumerate(pool.hashes):
        if digest in known:
            rejections.append(Rejection(index, Filter.DUPLICATE, "the dataset holds this structure already"))
        elif digest in first:
            detail = f"the same structure as candidate {first[digest]}"
            rejections.append(Rejection(index, Filter.DUPLICATE, detail))
        else:
            first[digest] = index
    return rejections


class NearDuplicates:
    """Compares a candidate with the picks of the same composition, by their feature rows.

    The distance is the root mean square over rows and features of the difference of two candidates'
    rows, each feature sorted over the rows of a species, relative to the spread of that species' rows
    in the pool (root mean square of the standard deviations of its features). Sorting makes it
    independent of the order of the atoms without solving an assignment; it is never above the distance
    of the best assignment, and images, rotations and permutations of a structure have distance zero.
    """

    def __init__(self, pool: FeaturePool, tolerance: float) -> None:
        self._pool = pool
        self._tolerance = tolerance
        self._spread = {n: _spread(block.rows) for n, block in pool.blocks.items()} if tolerance > 0 else {}
        self._picks: dict[tuple[tuple[int, int], ...], _Signatures] = {}

    def find(self, candidate: int) -> tuple[int, float] | None:
        """The nearest pick and its distance, if that is below the tolerance."""
        picks = self._picks.get(self._pool.composition(candidate))
        if self._tolerance == 0 or picks is None:
            return None
        distances = (picks.rows - self._signature(candidate)).square().mean(1).sqrt()
        nearest = int(distances.argmin())
        distance = float(distances[nearest])
        return (picks.candidates[nearest], distance) if distance < self._tolerance else None

    def remember(self, candidate: int) -> None:
        """Count a candidate among the picks."""
        if self._tolerance > 0:
            signature = self._signature(candidate)
            picks = self._picks.setdefault(self._pool.composition(candidate), _Signatures(signature))
            picks.append(candidate, signature)

    def _signature(self, candidate: int) -> Float[Tensor, " entries"]:
        rows = [
            block.of(candidate).sort(0).values.flatten() / self._spread[number]
            for number, block in self._pool.blocks.items()
        ]
        return torch.cat(rows)


class _Signatures:
    """A growing table; its buffer doubles, so that appending does not copy it each time."""

    def __init__(self, like: Float[Tensor, " entries"]) -> None:
        self.candidates: list[int] = []
        self._buffer = like.new_empty((8, len(like)))

    @property
    def rows(self) -> Float[Tensor, "picks entries"]:
        return self._buffer[: len(self.candidates)]

    def append(self, candidate: int, signature: Float[Tensor, " entries"]) -> None:
        if len(self.candidates) == len(self._buffer):
            self._buffer = torch.cat([self._buffer, torch.empty_like(self._buffer)])
        self._buffer[len(self.candidates)] = signature
        self.candidates.append(candidate)


def _spread(rows: Float[Tensor, "rows features"]) -> float:
    """Root mean square of the standard deviations of the features; 1 where nothing varies.

    From at most about `SPREAD_SAMPLE` rows, evenly taken: it only sets the scale of a tolerance.
    """
    sample = rows[:: max(1, len(rows) // SPREAD_SAMPLE)].to(torch.float64)
    return float(sample.var(0, correction=0).mean().sqrt()) or 1.0
