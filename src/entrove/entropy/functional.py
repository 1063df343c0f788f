"""What every entropy offers, and `Bias`: an entropy together with its feature map."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from entrove.features import AtomFeatures, FeatureMap


@runtime_checkable
class Entropy(Protocol):
    """An entropy S of each configuration of a batch, with the dataset frozen.

    S is dimensionless (nats). Its zero differs between definitions, see their classes; the bias
    needs the gradient only.
    """

    def value_and_gradient(
        self, batch: AtomFeatures
    ) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
        """S of every system and dS/d(features) of every atom.

        The arithmetic is float64, and the gradient comes back in the type of `batch.values`.
        """
        ...


@runtime_checkable
class GainFunctional(Entropy, Protocol):
    """An entropy of a dataset, which gives what each configuration would add to it."""

    def gains(self, batch: AtomFeatures) -> Float[Tensor, " systems"]:
        """Gain in nats of adding each configuration on its own; no gradient is formed."""
        ...


@dataclass(frozen=True)
class Bias:
    """What a system is biased by: an entropy, and the feature map that it is a function of.

    `EntropyDataset.bias()` makes it, so that the two always belong together. Only an entropy
    without a dataset is combined with features by hand::

        Bias(GaussianOverlap(), LocalEntropy())
    """

    features: FeatureMap
    entropy: Entropy
