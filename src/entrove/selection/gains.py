"""What candidates would add to a dataset that grows pick by pick, many candidates at once."""

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


@runtime_checkable
class GrowingDataset(Protocol):
    """A dataset, the picks so far included."""

    diminishing: bool
    """Whether a gain can only fall as the dataset grows, so that an old gain is an upper bound."""

    def gains(self, candidates: Int[Tensor, " candidates"]) -> Float[Tensor, " candidates"]:
        """Gain of each candidate on its own, in nats."""
        ...

    def include(self, candidate: int) -> float:
        """Add a candidate and return its gain in nats, in float64."""
        ...


def growing_dataset(config: EntropyConfig, moments: SpeciesMoments, pool: FeaturePool) -> GrowingDataset:
    """Continue a dataset with these statistics by candidates of this pool."""
    if config.kind == "information":
        return GrowingInformation(moments, pool, ridge=config.ridge)
    return GrowingCovariance(moments, pool, epsilon=config.epsilon)


class GrowingInformation:
    """Information gain, see `entrove.entropy.information`. Rows are whitened."""

    diminishing = True

    def __init__(self, moments: SpeciesMoments, pool: FeaturePool, *, ridge: float) -> None:
        self._blocks = pool.blocks
        self._M = {}
        self._root = {}
        for number, block in pool.blocks.items():
            known = moments[number] if number in moments else Moments.empty(block.rows.shape[1])
            self._M[number] = regularised(known, ridge)
            self._root[number] = inverse_root(self._M[number])

    def gains(self, candidates: Int[Tensor, " candidates"]) -> Float[Tensor, " candidates"]:
        """Gain of each candidate on its own, in nats, computed in the precision of the pool."""
        gains = torch.zeros(len(candidates), dtype=torch.float64)
        for number, block in self._blocks.items():
            root = self._root[number].to(block.rows.dtype)
            pieces = _cut(block, candidates)
            for piece, log_det in zip(
                pieces,
                map_over_threads(partial(_log_det, block, root), pieces, block.rows.device),
                strict=True,
            ):
                gains[piece.places] += 0.5 * log_det
        return gains

    def include(self, candidate: int) -> float:
        """Add a candidate and return its gain in nats."""
        gain = 0.0
        for number, block in self._blocks.items():
            rows = block.of(candidate).to(torch.float64)
            if len(rows):
                gain += 0.5 * float(log_det_one_plus((rows @ self._root[number])[None]))
                self._M[number] += rows.mT @ rows
                self._root[number] = inverse_root(self._M[number])
        return gain


class GrowingCovariance:
    """Gain in ln det of the normalised covariance, see `entrove.entropy.covariance`. Rows are raw."""

    diminishing = False

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


def _log_det(
    block: PoolBlock, root: Float[Tensor, "features features"], piece: _Piece
) -> Float[Tensor, " candidates"]:
    return log_det_one_plus(block.gather(piece.candidates).rows @ root)
