"""What candidates would add to a dataset that grows pick by pick, many candidates at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entrove.entropy.config import EntropyConfig
from entrove.entropy.covariance import Spectrum
from entrove.entropy.information import inverse_root, regularised
from entrove.entropy.logdet import log_det_one_plus
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.selection.pool import FeaturePool, PoolBlock
from entrove.threads import even_pieces, map_over_threads

CHUNK_ELEMENTS = 2**18
"""Feature values that are gathered at once: with their product they fit the cache of one core.

Pieces go to the CPU threads as wholes, since their small matrices are not worth splitting.
"""

LEAST_ELEMENTS = 2**16
"""Fewer feature values than this are not worth a second thread."""

SINGLE_LEVERAGE = 1e5
"""|X|^2 / lambda of a candidate up to which float32 arithmetic is good enough.

1 + W W^T is rounded by about eps |W|^2 <= eps |X|^2 / lambda = 6e-3, and a gain by half of that:
4e-3 nats were seen for equal rows, 3e-5 for thermal ones. Beyond it, where cells without thermal
motion or under strain lie, float32 would lose the 1.
"""


@runtime_checkable
class GrowingDataset(Protocol):
    """A dataset, the picks so far included."""

    diminishing: bool
    """Whether a gain only falls as the dataset grows, so that an old gain is an upper bound."""

    sweep: int
    """Where gains nearly always fall: all are computed again in so many picks; 0: no need to."""

    def gains(self, candidates: Int[Tensor, " candidates"]) -> Float[Tensor, " candidates"]:
        """Gain of each candidate on its own, in nats."""
        ...

    def include(self, candidate: int) -> float:
        """Add a candidate and return its gain in nats, in float64."""
        ...


def growing_dataset(
    config: EntropyConfig, moments: SpeciesMoments, pool: FeaturePool
) -> GrowingDataset:
    """Continue a dataset with these statistics by candidates of this pool."""
    if config.kind == "information":
        return GrowingInformation(moments, pool, ridge=config.ridge)
    return GrowingCovariance(moments, pool, epsilon=config.epsilon)


class GrowingInformation:
    """Information gain, see `entrove.entropy.information`. Rows are whitened.

    Rows that are kept in float32 are multiplied in float32, too, but for candidates of large
    leverage.
    """

    diminishing = True
    sweep = 0

    def __init__(self, moments: SpeciesMoments, pool: FeaturePool, *, ridge: float) -> None:
        self._blocks = pool.blocks
        self._ridge = ridge
        self._M: dict[int, Tensor] = {}
        self._root: dict[int, Tensor] = {}
        self._needs_double: dict[int, Tensor | None] = {}
        for number, block in pool.blocks.items():
            known = moments[number] if number in moments else Moments.empty(block.rows.shape[1])
            self._M[number] = regularised(known, ridge)
            self._root[number] = inverse_root(self._M[number], self._ridge)
            self._needs_double[number] = needs_double(block, ridge)

    def gains(self, candidates: Int[Tensor, " candidates"]) -> Float[Tensor, " candidates"]:
        """Gain of each candidate on its own, in nats."""
        gains = torch.zeros(len(candidates), dtype=torch.float64)
        for number, block in self._blocks.items():
            for places, dtype in split_by_precision(self._needs_double[number], candidates):
                root = self._root[number].to(dtype)
                for piece, log_det in map_pieces(
                    partial(_log_det, block, root), block, candidates[places]
                ):
                    gains[places[piece.places]] += 0.5 * log_det
        return gains

    def include(self, candidate: int) -> float:
        """Add a candidate and return its gain in nats."""
        gain = 0.0
        for number, block in self._blocks.items():
            rows = block.of(candidate).to(torch.float64)
            if len(rows):
                gain += 0.5 * float(log_det_one_plus((rows @ self._root[number])[None]))
                self._M[number] += rows.mT @ rows
                self._root[number] = inverse_root(self._M[number], self._ridge)
        return gain


def needs_double(block: PoolBlock, ridge: float) -> Tensor | None:
    """Which candidates need float64 arithmetic; None where all rows are kept in float64."""
    if block.rows.dtype == torch.float64:
        return None
    return block.squares() > SINGLE_LEVERAGE * ridge


def split_by_precision(
    double: Tensor | None, candidates: Int[Tensor, " candidates"]
) -> list[tuple[Int[Tensor, " places"], torch.dtype]]:
    """Which of these candidates are evaluated in which precision, see `needs_double`."""
    if double is None:
        return [(torch.arange(len(candidates)), torch.float64)]
    double = double[candidates]
    return [
        (double.nonzero().squeeze(1), torch.float64),
        ((~double).nonzero().squeeze(1), torch.float32),
    ]


class GrowingCovariance:
    """Gain in ln det of the normalised covariance, see `entropy.covariance`. Rows are raw."""

    diminishing = False
    sweep = 0

    def __init__(self, moments: SpeciesMoments, pool: FeaturePool, *, epsilon: float) -> None:
        self._blocks = pool.blocks
        self._epsilon = epsilon
        self._moments = {
            number: moments[number] if number in moments else Moments.empty(block.rows.shape[1])
            for number, block in pool.blocks.items()
        }
        self._spectra = {number: Spectrum.of(known) for number, known in self._moments.items()}

    def gains(self, candidates: Int[Tensor, " candidates"]) -> Float[Tensor, " candidates"]:
        """Gain of each candidate on its own; negative where it lowers the entropy."""
        gains = torch.zeros(len(candidates), dtype=torch.float64)
        for number, block in self._blocks.items():
            spectrum = self._spectra[number]
            for piece in _cut(block, candidates):
                padded = block.gather(piece.candidates)
                rows = (padded.rows.to(torch.float64) - spectrum.mean) * padded.filled[:, :, None]
                gain = spectrum.gain(rows @ spectrum.eigenvectors, padded.count, self._epsilon)
                gains[piece.places] += gain
        return gains

    def include(self, candidate: int) -> float:
        """Add a candidate and return its gain."""
        gain = float(self.gains(torch.tensor([candidate])))
        for number, block in self._blocks.items():
            rows = block.of(candidate)
            if len(rows):
                self._moments[number] = self._moments[number] + Moments.of(rows)
                self._spectra[number] = Spectrum.of(self._moments[number])
        return gain


@dataclass(frozen=True)
class _Piece:
    """Some of the candidates that were asked for, and their places among them."""

    candidates: Int[Tensor, " candidates"]
    places: slice


def _cut(block: PoolBlock, candidates: Int[Tensor, " candidates"]) -> list[_Piece]:
    """Cut candidates evenly, so that the padded rows of each piece stay below `CHUNK_ELEMENTS`."""
    if len(candidates) == 0:
        return []
    longest = int((block.first[candidates + 1] - block.first[candidates]).max())
    if longest == 0:
        return []
    elements = len(candidates) * longest * block.rows.shape[1]
    least = -(-elements // CHUNK_ELEMENTS)
    pieces = 1 if elements < LEAST_ELEMENTS else even_pieces(least, block.rows.device)
    step = -(-len(candidates) // pieces)
    places = (slice(start, start + step) for start in range(0, len(candidates), step))
    return [_Piece(candidates[place], place) for place in places]


def map_pieces(
    function: Callable[[Int[Tensor, " candidates"]], Tensor],
    block: PoolBlock,
    candidates: Int[Tensor, " candidates"],
) -> Iterator[tuple[_Piece, Tensor]]:
    """Apply a function to the candidates piece by piece, side by side on the CPU threads."""
    pieces = _cut(block, candidates)
    results = map_over_threads(lambda piece: function(piece.candidates), pieces, block.rows.device)
    return zip(pieces, results, strict=True)


def _log_det(
    block: PoolBlock,
    root: Float[Tensor, "features features"],
    candidates: Int[Tensor, " candidates"],
) -> Float[Tensor, " candidates"]:
    return log_det_one_plus(block.gather(candidates).rows.to(root.dtype) @ root)
