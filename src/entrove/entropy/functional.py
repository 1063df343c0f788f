"""What the bias of a walker, and the selection, ask of an entropy."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Entropy(Protocol):
    """An entropy S of each configuration of a batch, with the dataset frozen.

    S is dimensionless (nats). What the bias needs is its gradient; the zero of S is each
    definition's own, see its class.
    """

    def value_and_gradient(
        self,
        values: Float[Tensor, "atoms features"],
        numbers: Int[Tensor, " atoms"],
        system_idx: Int[Tensor, " atoms"],
        n_systems: int,
    ) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
        """S of every system and dS/d(features) of every atom.

        `values` may be float32 or float64, on any device; the arithmetic is float64 and the gradient
        comes back in the type of `values`. Atoms of one system need not be next to each other.
        """
        ...


@runtime_checkable
class GainFunctional(Entropy, Protocol):
    """An entropy that knows a dataset, and so what each configuration would add to it."""

    def gains(
        self,
        values: Float[Tensor, "atoms features"],
        numbers: Int[Tensor, " atoms"],
        system_idx: Int[Tensor, " atoms"],
        n_systems: int,
    ) -> Float[Tensor, " systems"]:
        """Gain in nats of adding each configuration on its own; no gradient is formed."""
        ...
