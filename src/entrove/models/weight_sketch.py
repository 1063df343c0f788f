"""A sketch of the gradients of all weights: features of a network that is tuned as a whole.

To first order, tuning changes the energy of a configuration by dtheta . dE/dtheta. So X_c =
dE_c/dtheta are the features in which a tuned network is linear (its tangent kernel), and their
derivatives by positions give its forces. The entries, 842,000 of SevenNet-0, are added up with
random signs in `length` places (a count sketch): scalar products are right on average, with a
relative error of about sqrt(2 / length).

X_c belongs to a configuration, not to its atoms: each of its n atoms gets X_c / n.

Refs: Jacot, Gabriel & Hongler, NeurIPS 31 (2018); Weinberger et al., ICML 26 (2009), for the
sketch; Holzmüller et al., JMLR 24, 164 (2023), for selection by sketched gradients.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from entrove.errors import ModelError
from entrove.features import PullBack

SKETCH_LENGTH = 512


@dataclass(frozen=True)
class GradientFeatures:
    """Values alone: second derivatives by weights and positions are left to differences."""

    values: Float[Tensor, "atoms features"]

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """Refuse: raises `ModelError`."""
        del gradient
        raise ModelError(
            "gradients of weights have no pull-back here, so they cannot bias walkers; use "
            "fingerprints or the model's last layer for that"
        )


class WeightSketch:
    """The places and signs of some weights.

    Args:
        weights: The weights, on one device and of one precision.
        length: Number of places.
        seed: Decides places and signs.
    """

    def __init__(self, weights: Sequence[Tensor], length: int, seed: int) -> None:
        self.weights = list(weights)
        self.length = length
        self.seed = seed
        count = sum(weight.numel() for weight in self.weights)
        generator = torch.Generator().manual_seed(seed)
        place = torch.randint(length, (count,), generator=generator)
        signs = torch.randint(2, (count,), generator=generator) * 2 - 1
        first = self.weights[0]
        self._place = place.to(first.device)
        self._signs = signs.to(first.device, first.dtype)

    def gradient(self, energy: Float[Tensor, ""]) -> Float[Tensor, " weights"]:
        """Compute dE/dtheta, with zeros where the energy does not depend on a weight."""
        slopes = cast(
            "tuple[Tensor | None, ...]",
            torch.autograd.grad(energy, self.weights, allow_unused=True),
        )
        return torch.cat(
            [
                (torch.zeros_like(weight) if slope is None else slope).reshape(-1)
                for weight, slope in zip(self.weights, slopes, strict=True)
            ]
        )

    def of(self, gradient: Float[Tensor, " weights"]) -> Float[Tensor, " features"]:
        """Add up a gradient in its places."""
        sketch = torch.zeros(self.length, dtype=gradient.dtype, device=gradient.device)
        return sketch.index_add_(0, self._place, gradient * self._signs)

    def describe(self) -> dict[str, Any]:
        """Size and seed of the sketch, and a hash of the weights."""
        return {
            "length": self.length,
            "seed": self.seed,
            "weights_sha256": hash_of_weights(self.weights),
        }


def hash_of_weights(weights: Iterable[Tensor]) -> str:
    """SHA-256 of weights in their order: a model that was tuned has other features."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
