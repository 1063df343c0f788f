"""Energy plus the variance of same-species fingerprints, which favours ordered crystals.

In a crystal of high symmetry, atoms of one species have the same surroundings and so the same
fingerprint. Penalising their variance drives a disordered cell towards order.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove.entropy.functional import Bias
from entrove.features import AtomFeatures, FeatureMap
from entrove.sampling.bias.entropy_bias import EntropyBias


class FingerprintOrder:
    """S = -(1/N) sum_i |x_i - mean over the species of i|^2: 0 in full order, else negative.

    It has the form of an `Entropy`, so that `EntropyBias` adds it to a model.
    """

    def value_and_gradient(
        self, batch: AtomFeatures
    ) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
        """S of every system and dS/d(features) of every atom; dimensionless."""
        values, system_idx = batch.values, batch.system_idx
        _, group = torch.unique(system_idx * 1000 + batch.numbers, return_inverse=True)
        ones = torch.ones_like(group, dtype=values.dtype)
        sizes = torch.zeros(int(group.max()) + 1, dtype=values.dtype, device=values.device)
        sizes = sizes.index_add(0, group, ones)
        means = (
            values.new_zeros(len(sizes), values.shape[1]).index_add(0, group, values)
            / sizes[:, None]
        )
        deviation = values - means[group]
        atoms = values.new_zeros(batch.n_systems).index_add(0, system_idx, ones)
        total = values.new_zeros(batch.n_systems).index_add(
            0, system_idx, deviation.square().sum(dim=1)
        )
        # The mean moves with its members, but the deviations from it sum to zero.
        return (-total / atoms).double(), -2 * deviation / atoms[system_idx, None]


class OrderingModel(ModelInterface):
    """E = E_base + weight * variance for batches of any size, forces and stress included."""

    def __init__(self, base: ModelInterface, features: FeatureMap, weight_eV: float) -> None:
        super().__init__()
        self.base = base
        self.bias = Bias(features, FingerprintOrder())
        self.weight_eV = weight_eV
        self._device = base.device
        self._dtype = torch.float64
        self._compute_stress = base.compute_stress
        self._compute_forces = True

    def forward(self, state: SimState, **kwargs: Any) -> dict[str, Tensor]:
        """Evaluate base and variance together; see `EntropyBias` for the keys."""
        systems = state.cell.shape[0]
        weights = torch.full((systems,), self.weight_eV, dtype=torch.float64, device=self.device)
        return EntropyBias(self.base, [self.bias] * systems, weights)(state, **kwargs)
