"""What every kind of per-atom features offers: values, and the pull-back of a gradient.

Entropies are functions of features only. They see this protocol and nothing else, so Gaussian
overlap fingerprints and the last layer of a foundation model are interchangeable.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState


@dataclass(frozen=True)
class PullBack:
    """Derivatives of a scalar L (any unit u) with respect to the structure.

    `positions` is dL/dr in u/Angstrom. `strain` is dL/d(strain) in u for the deformation
    r -> (1 + strain) r of positions and cell: symmetric, not divided by the volume, one per system.
    """

    positions: Float[Tensor, "atoms 3"]
    strain: Float[Tensor, "systems 3 3"]


@runtime_checkable
class Features(Protocol):
    """Features of one batch, and the way back from their gradient to the structure."""

    @property
    def values(self) -> Float[Tensor, "atoms features"]:
        """Per-atom features in the order of the state's atoms, detached."""
        ...

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """Turn dL/dvalues into dL/dr and dL/d(strain)."""
        ...


@runtime_checkable
class FeatureMap(Protocol):
    """Anything that turns atoms into per-atom features of a fixed length."""

    @property
    def length(self) -> int:
        """Number of features per atom."""
        ...

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> Features:
        """Compute the features of every atom of a batch.

        With `pull_back=False` only the values are wanted: a map may then save work, and calling
        `Features.pull_back` is an error.
        """
        ...

    def describe(self) -> dict[str, object]:
        """Identity of the map, JSON-able: stored beside statistics and compared when they are loaded."""
        ...
