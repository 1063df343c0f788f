"""A signature of each geometry: whitened means and spreads of the invariants of its atoms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from entrove.curation.auditing.predictions.basis import Basis, Surroundings
from entrove.curation.auditing.predictions.quick_potential import over_batches
from entrove.fingerprints.batching import Batch

SIGNATURE_LENGTH = 16

_LEAST_VARIATION = 1e-4
"""Of means and spreads, relative to the invariant: displacements by less than about 1e-4 A.

Files round positions to 1e-8 to 1e-5 A; spreads of perfect crystals hold nothing else.
"""

_LEAST_INVARIANT = 1e-4
"""Relative to the largest one: invariants that symmetry makes zero have no scale of their own."""


@dataclass(frozen=True)
class Whitening:
    """Directions in the space of means and spreads of invariants in which the sample varies."""

    basis: Basis
    mean: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, basis: Basis, structures: Sequence[Atoms]) -> "Whitening":
        """Choose the directions by a sample."""
        raw = _raw_of_structures(basis, structures)
        mean = raw.mean(axis=0)
        scale = raw.std(axis=0)
        # Spreads of equal surroundings have no size of their own: the invariants have.
        size = np.abs(mean[: len(mean) // 2])
        size = np.tile(np.maximum(size, _LEAST_INVARIANT * size.max(initial=0.0)), 2)
        scale = np.where(scale > np.maximum(_LEAST_VARIATION * size, 1e-15), scale, np.inf)
        _, spread, directions = np.linalg.svd((raw - mean) / scale, full_matrices=False)
        count = min(SIGNATURE_LENGTH, int((spread > 1e-6 * max(spread[0], 1e-300)).sum()))
        count = max(count, 1)
        norm = spread[:count] / np.sqrt(len(raw))
        # Weak directions are not blown up: they hold noise.
        norm = np.maximum(norm, 0.1 * max(float(norm[0]), 1e-12))
        return cls(basis, mean, directions[:count] / scale / norm[:, None])

    def signatures(
        self, around: Surroundings, of_atoms: Float[Tensor, "atoms features"]
    ) -> np.ndarray:
        """Signatures of the systems of a batch, from the invariants of its atoms."""
        raw = _raw_signatures(self.basis, around, of_atoms)
        return (raw - self.mean) @ self.directions.T

    def of_structures(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Signatures of structures, in their order."""
        return (_raw_of_structures(self.basis, structures) - self.mean) @ self.directions.T


def _raw_of_structures(basis: Basis, structures: Sequence[Atoms]) -> np.ndarray:
    raw: dict[int, np.ndarray] = {}

    def of_batch(batch: Batch) -> None:
        around = basis.surroundings(batch)
        made = _raw_signatures(basis, around, basis.of_atoms(around))
        raw.update(zip(batch.structures.tolist(), made, strict=True))

    over_batches(of_batch, structures)
    return np.array([raw[place] for place in range(len(structures))])


def _raw_signatures(
    basis: Basis, around: Surroundings, of_atoms: Float[Tensor, "atoms features"]
) -> np.ndarray:
    """Means and spreads of the invariants over the atoms of each element, side by side."""
    return torch.cat(basis.means_and_spreads(around, of_atoms), dim=1).numpy()
