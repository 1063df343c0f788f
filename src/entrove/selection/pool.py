"""Candidates as feature rows: all of a pool that is kept in memory while it is selected from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrove.entropy.batches import FeatureBatch, evaluate_in_batches
from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.rows import SpeciesRows
from entrove.entropy.typed_torch import row_norms, split
from entrove.provenance import PHASE, POOL, provenance_of
from entrove.selection.budget import checked_cost_s
from entrove.selection.config import SelectionConfig
from entrove.structures import StructureSource, content_hash


@dataclass(frozen=True)
class Padded:
    """Rows of some candidates, one candidate after the other, filled up with zeros."""

    rows: Float[Tensor, "candidates slots features"]
    count: Int[Tensor, " candidates"]
    filled: Bool[Tensor, "candidates slots"]


@dataclass(frozen=True)
class PoolBlock:
    """Rows of one species: those of candidate c are `rows[first[c] : first[c + 1]]`."""

    rows: Float[Tensor, "rows features"]
    first: Int[Tensor, " candidates_and_end"]

    @property
    def count(self) -> Int[Tensor, " candidates"]:
        """Number of rows of each candidate."""
        return self.first[1:] - self.first[:-1]

    @cached_property
    def each(self) -> int:
        """Number of rows of every candidate where all have as many, otherwise 0."""
        count = self.count
        return int(count[0]) if len(count) and bool((count == count[0]).all()) else 0

    def of(self, candidate: int) -> Float[Tensor, "rows features"]:
        """Rows of one candidate, a view."""
        return self.rows[int(self.first[candidate]) : int(self.first[candidate + 1])]

    def squares(self) -> Float[Tensor, " candidates"]:
        """Sum over rows and features of the squares of each candidate's values, in float64."""
        owner = torch.repeat_interleave(self.count)
        of_rows = row_norms(self.rows).to(torch.float64).square()
        return torch.zeros(len(self.count), dtype=torch.float64).index_add_(0, owner, of_rows)

    def gather(self, candidates: Int[Tensor, " candidates"]) -> Padded:
        """Rows of some candidates, padded to the longest of them."""
        if self.each:  # whole candidates are copied, not row by row
            rows = self.rows.view(-1, self.each, self.rows.shape[1]).index_select(0, candidates)
            filled = torch.ones(1, 1, dtype=torch.bool).expand(rows.shape[:2])
            return Padded(rows, torch.tensor(self.each).expand(len(rows)), filled)
        start = self.first[candidates]
        count = self.first[candidates + 1] - start
        slot = torch.arange(int(count.max()))
        filled = slot < count[:, None]
        index = (start[:, None] + slot).clamp_max(len(self.rows) - 1)
        rows = self.rows[index]
        if not bool(filled.all()):
            rows *= filled[:, :, None]
        return Padded(rows, count, filled)


@dataclass(frozen=True)
class FeaturePool:
    """The candidates of a selection.

    `blocks` has the rows per species, as the statistics of the dataset count them. `hashes` are
    content hashes, `pools` and `phases` their names, `costs_s` the predicted label seconds and
    `sizes` the numbers of atoms; each is empty or has one entry per candidate.
    """

    size: int
    blocks: dict[int, PoolBlock]
    hashes: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    costs_s: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    phases: tuple[str, ...] = ()

    def composition(self, candidate: int) -> tuple[tuple[int, int], ...]:
        """(species, number of rows) of a candidate."""
        counts = ((number, len(block.of(candidate))) for number, block in self.blocks.items())
        return tuple((number, count) for number, count in counts if count)

    def moments(self) -> SpeciesMoments:
        """Statistics of all rows, block by block in pieces, so that no second copy is made."""
        return SpeciesMoments(
            {
                number: sum(
                    (Moments.of(piece) for piece in split(block.rows, 2**16)), Moments.empty(width)
                )
                for number, block in self.blocks.items()
                for width in [block.rows.shape[1]]
            }
        )

    def transform_(self, function: Callable[[int, Tensor], Tensor]) -> None:
        """Replace the rows of each species, in place and piece by piece."""
        for number, block in self.blocks.items():
            for piece in split(block.rows, 2**16):
                piece.copy_(function(number, piece.to(torch.float64)))


class PoolBuilder:
    """Collects a pool batch by batch; of a structure it keeps rows, hash, pool and cost only.

    `dtype` is the precision of the rows, `rows_of` splits a batch into them, and `cost_s` predicts
    the label seconds of a structure.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        rows_of: Callable[[FeatureBatch], list[SpeciesRows]],
        cost_s: Callable[[Atoms], float] | None = None,
    ) -> None:
        self._dtype = dtype
        self._rows_of = rows_of
        self._cost_s = cost_s
        self._size = 0
        self._rows: dict[int, list[Tensor]] = {}
        self._counts: dict[int, list[Tensor]] = {}
        self._hashes: list[str] = []
        self._pools: list[str] = []
        self._costs_s: list[float] = []
        self._sizes: list[int] = []
        self._phases: list[str] = []

    def collect(self, batches: Iterable[FeatureBatch]) -> FeaturePool:
        """Go through all batches and return the pool."""
        for batch in batches:
            self._take(batch)
        blocks: dict[int, PoolBlock] = {}
        for number in sorted(self._rows):
            counts = torch.cat(self._counts.pop(number))
            first = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
            # Popped block by block: at most one species is in memory twice.
            blocks[number] = PoolBlock(torch.cat(self._rows.pop(number)), first)
        return FeaturePool(
            self._size,
            blocks,
            tuple(self._hashes),
            tuple(self._pools),
            tuple(self._costs_s),
            tuple(self._sizes),
            tuple(self._phases),
        )

    def _take(self, batch: FeatureBatch) -> None:
        new = len(batch.structures)
        blocks = {block.number: block for block in self._rows_of(batch)}
        for number in blocks.keys() - self._rows.keys():
            self._rows[number] = []
            self._counts[number] = [torch.zeros(self._size, dtype=torch.int64)]
        for number, counts in self._counts.items():
            block = blocks.get(number)
            counts.append(torch.zeros(new, dtype=torch.int64) if block is None else block.count)
            if block is not None:
                self._rows[number].append(block.values.to(self._dtype))
        for index, atoms in enumerate(batch.structures, start=self._size):
            self._hashes.append(content_hash(atoms))
            self._sizes.append(len(atoms))
            origin = provenance_of(atoms)
            self._pools.append(str(origin.get(POOL, "")))
            self._phases.append(str(origin.get(PHASE, "")))
            if self._cost_s is not None:
                self._costs_s.append(checked_cost_s(float(self._cost_s(atoms)), atoms, index))
        self._size += new


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
