"""Structures that are the same, by content, and nearly the same, by their features."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from entrove.features import LEAST_SPREAD
from entrove.fingerprints.nearness import tolerance_of
from entrove.selection.pool import FeaturePool
from entrove.selection.result import Filter, Rejection

SPREAD_SAMPLE = 2**15

Composition = tuple[tuple[int, int], ...]
"""(species, number of rows) of a structure."""


def reject_duplicates(pool: FeaturePool, known: Iterable[str]) -> list[Rejection]:
    """Reject candidates whose content hash is in `known`, or occurred earlier in the pool.

    Hashes do not depend on the order of the atoms or on image wrapping, see
    `entrove.structures.content_hash`.
    """
    known = frozenset(known)
    first: dict[str, int] = {}
    rejections: list[Rejection] = []
    for index, digest in enumerate(pool.hashes):
        if digest in known:
            rejections.append(
                Rejection(index, Filter.DUPLICATE, "the dataset holds this structure already")
            )
        elif digest in first:
            detail = f"the same structure as candidate {first[digest]}"
            rejections.append(Rejection(index, Filter.DUPLICATE, detail))
        else:
            first[digest] = index
    return rejections


class NearDuplicates:
    """Compares candidates with picks and labelled structures of their composition, by features.

    The distance is the root mean square over rows and features of the difference of two
    candidates' rows, each feature sorted over the rows of a species, relative to the spread of
    that species' rows in the pool (root mean square of the standard deviations of its features).
    Sorting makes it independent of the order of the atoms without solving an assignment; it is
    never above the distance of the best assignment, and images, rotations and permutations of a
    structure have distance zero. The tolerance is lower for large cells, see
    `entrove.fingerprints.nearness.tolerance_of`.

    `labelled` holds the rows of labelled structures where these are available: a dataset keeps
    statistics and hashes only, so that of its members only equal structures are recognised.
    """

    def __init__(
        self, pool: FeaturePool, tolerance: float, labelled: FeaturePool | None = None
    ) -> None:
        self._pool = pool
        self._tolerance = tolerance
        self._spread = (
            {n: _spread(block.rows) for n, block in pool.blocks.items()} if tolerance > 0 else {}
        )
        self._picks: dict[Composition, _Signatures] = {}
        self._labelled: dict[Composition, _Signatures] = {}
        if labelled is not None and tolerance > 0:
            for index in range(labelled.size):
                self._take(self._labelled, labelled, index)

    def find(self, candidate: int) -> tuple[int, float] | None:
        """The nearest pick and its distance, if that is below the tolerance."""
        return self._nearest(self._picks, candidate)

    def find_labelled(self, candidate: int) -> tuple[int, float] | None:
        """The nearest labelled structure and its distance, if that is below the tolerance."""
        return self._nearest(self._labelled, candidate)

    def remember(self, candidate: int) -> None:
        """Count a candidate among the picks."""
        if self._tolerance > 0:
            self._take(self._picks, self._pool, candidate)

    def _nearest(
        self, tables: "dict[Composition, _Signatures]", candidate: int
    ) -> tuple[int, float] | None:
        composition = self._pool.composition(candidate)
        table = tables.get(composition)
        if self._tolerance == 0 or table is None:
            return None
        signature = self._signature(self._pool, candidate)
        sizes = self._pool.sizes
        atoms = sizes[candidate] if sizes else sum(count for _, count in composition)
        tolerance = tolerance_of(self._tolerance, atoms)
        # The root mean square of a difference is never below its mean: most are too far by that
        # alone.
        apart = (table.means - signature.mean(dtype=torch.float64)).abs()
        close = torch.nonzero(apart < 1.001 * tolerance).flatten()
        if len(close) == 0:
            return None
        distances = (table.rows[close] - signature).square().mean(1).sqrt()
        nearest = int(distances.argmin())
        distance = float(distances[nearest])
        return (table.candidates[int(close[nearest])], distance) if distance < tolerance else None

    def _take(
        self, tables: "dict[Composition, _Signatures]", pool: FeaturePool, index: int
    ) -> None:
        composition = pool.composition(index)
        if all(number in self._spread for number, _ in composition):
            signature = self._signature(pool, index)
            tables.setdefault(composition, _Signatures(signature)).append(index, signature)

    def _signature(self, pool: FeaturePool, index: int) -> Float[Tensor, " entries"]:
        rows = [
            block.of(index).sort(0).values.flatten() / self._spread.get(number, 1.0)
            for number, block in pool.blocks.items()
        ]
        return torch.cat(rows)


class _Signatures:
    """A growing table; its buffers double, so that appending does not copy them each time."""

    def __init__(self, like: Float[Tensor, " entries"]) -> None:
        self.candidates: list[int] = []
        self._buffer = like.new_empty((8, len(like)))
        self._means = torch.empty(8, dtype=torch.float64)

    @property
    def rows(self) -> Float[Tensor, "picks entries"]:
        return self._buffer[: len(self.candidates)]

    @property
    def means(self) -> Float[Tensor, " picks"]:
        return self._means[: len(self.candidates)]

    def append(self, candidate: int, signature: Float[Tensor, " entries"]) -> None:
        count = len(self.candidates)
        if count == len(self._buffer):
            self._buffer = torch.cat([self._buffer, torch.empty_like(self._buffer)])
            self._means = torch.cat([self._means, torch.empty_like(self._means)])
        self._buffer[count] = signature
        self._means[count] = signature.mean(dtype=torch.float64)
        self.candidates.append(candidate)


def _spread(rows: Float[Tensor, "rows features"]) -> float:
    """Root mean square of the standard deviations of the features, or the least one that counts.

    Where nothing varies but by rounding, as in a pool of one perfect crystal, all copies are at
    distance zero. Whitened rows have lost their mean and with it their size, but are in units of
    the spread of the set that they were whitened on.

    From at most about `SPREAD_SAMPLE` rows, evenly taken: it only sets the scale of a tolerance.
    """
    sample = rows[:: max(1, len(rows) // SPREAD_SAMPLE)].to(torch.float64)
    size = float(sample.square().mean().sqrt())
    return max(float(sample.var(0, correction=0).mean().sqrt()), LEAST_SPREAD * max(size, 1.0))
