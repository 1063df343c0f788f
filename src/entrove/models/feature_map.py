"""The shape of a model's own per-atom features, gradients included.

It is the shape of the fingerprints' feature map, so that every entropy runs on either; the two folders
do not import each other.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState


@dataclass(frozen=True)
class FeaturePullBack:
    """Gradient of a scalar L: dL/dr (1/A) and dL/d(symmetric strain), both per unit of L."""

    positions: Float[Tensor, "atoms 3"]
    strain: Float[Tensor, "systems 3 3"]


@runtime_checkable
class ModelFeatures(Protocol):
    """Features of one batch, ready to pull gradients back."""

    values: Float[Tensor, "atoms features"]

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> FeaturePullBack:
        """Turn dL/dvalues into dL/dr and dL/d(symmetric strain)."""
        ...


@runtime_checkable
class ModelFeatureMap(Protocol):
    """Turns a batch of atoms into per-atom features of fixed length."""

    length: int

    def evaluate(self, state: SimState) -> ModelFeatures:
        """Compute the features of every atom of the batch."""
        ...

    def describe(self) -> dict[str, object]:
        """Identity of the features, JSON-able; two maps with equal identity give equal features."""
        ...
