"""A model plus the entropy bias, E = E_base - kappa S, for batches.

Forces and stress include the bias: F = F_base + kappa dS/dr, and
stress = stress_base - (kappa / V) dS/dstrain.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.functional import Bias
from entrove.errors import ConfigError
from entrove.sampling.batch import reduce_atoms
from entrove.sampling.bias.entropy_gradient import EntropyGradient, entropy_gradient
from entrove.sampling.precision import in_double, plain_state


class EntropyBias(ModelInterface):
    """A torch-sim model with E = E_base - kappa S for each system of a batch.

    Attributes:
        base: The torch-sim model to bias, of any precision; everything here is float64.
        biases: One `Bias` for each system of the batch, in its order, or None for an unbiased
            system.
        kappa_eV: One strength for each system, in eV; zero leaves a system unbiased and costs
            nothing.
        largest_bias_force_eV_per_A: Upper bound of the bias force on each atom, for each system.
        largest_bias_virial_eV: Upper bound of kappa |dS/dstrain| (Frobenius norm; bias stress
            times volume), for each system. kappa of a system is scaled down until both bounds
            hold, which keeps the net force zero and force and stress consistent with each other.

    A system whose features cannot be computed (two atoms at one place, a collapsed cell) gets no
    bias force and an energy that is not a number, which the guards detect; the others are not
    affected.

    Results, beside energy, forces and stress: `base_energy` (eV), `base_forces` (eV/A), `entropy`
    (dimensionless, NaN where unbiased), `kappa_eV` (as applied) and `entropy_slope`, the rms over
    atoms of |dS/dr| in 1/A. Raises `ConfigError` when `biases` and `kappa_eV` differ in length.
    """

    def __init__(
        self,
        base: ModelInterface,
        biases: Sequence[Bias | None],
        kappa_eV: Float[Tensor, " systems"],
        largest_bias_force_eV_per_A: Float[Tensor, " systems"] | None = None,
        largest_bias_virial_eV: Float[Tensor, " systems"] | None = None,
    ) -> None:
        super().__init__()
        if len(biases) != len(kappa_eV):
            raise ConfigError(
                f"{len(biases)} biases but {len(kappa_eV)} strengths; "
                "give one of each for every system"
            )
        self.base = in_double(base)
        self.biases = tuple(biases)
        self.kappa_eV = kappa_eV.to(device=base.device, dtype=torch.float64)
        self.largest_bias_force_eV_per_A = largest_bias_force_eV_per_A
        self.largest_bias_virial_eV = largest_bias_virial_eV
        self._device = base.device
        self._dtype = torch.float64
        self._compute_stress = base.compute_stress
        self._compute_forces = True

    @classmethod
    def for_dataset(
        cls,
        base: ModelInterface,
        dataset: EntropyDataset,
        kappa_eV: float | np.number | np.ndarray | Sequence[float],
        systems: int,
    ) -> "EntropyBias":
        """Bias all systems by a dataset as it is now, with its own features.

        Args:
            base: The torch-sim model that gives the unbiased energy.
            dataset: The dataset; later additions to it do not change the bias.
            kappa_eV: One strength for all systems, or one for each, in eV.
            systems: Number of systems in a batch.

        Raises `ConfigError` for a strength that is negative or not finite, or for a wrong number
        of them.
        """
        # Scalars of NumPy are numbers of other types.
        given = np.asarray(kappa_eV, dtype=float)
        strengths = [float(given)] * systems if given.ndim == 0 else given.tolist()
        for strength in strengths:
            check_strength(strength)
        return cls(base, [dataset.bias()] * systems, torch.tensor(strengths, dtype=torch.float64))

    @classmethod
    def unbiased(cls, base: ModelInterface, systems: int) -> "EntropyBias":
        """The base alone, with the results of a biased model.

        Args:
            base: The torch-sim model.
            systems: Number of systems in a batch.
        """
        return cls(base, [None] * systems, torch.zeros(systems, dtype=torch.float64))

    def forward(self, state: SimState, **kwargs: Any) -> dict[str, Tensor]:
        """Evaluate base and bias together.

        Raises `ConfigError` when the batch does not have one system for each bias.
        """
        systems = state.cell.shape[0]
        if systems != len(self.biases):
            raise ConfigError(
                f"a batch of {systems} systems but {len(self.biases)} biases; "
                "give one for every system"
            )
        base = self.base(plain_state(state, torch.float64), **kwargs)
        slope = self._slope(state)
        length = slope.positions.norm(dim=1)
        kappa = self._bounded(
            reduce_atoms(length, state, reduce="amax"), slope.strain.norm(dim=(1, 2))
        )
        results = dict(base)
        results["base_energy"] = base["energy"]
        results["base_forces"] = base["forces"]
        results["entropy"] = slope.entropy
        results["kappa_eV"] = kappa
        results["entropy_slope"] = reduce_atoms(length.square(), state, reduce="mean").sqrt()
        results["energy"] = base["energy"] - torch.where(kappa > 0, kappa * slope.entropy, 0.0)
        results["forces"] = base["forces"] + kappa[state.system_idx, None] * slope.positions
        if "stress" in base:
            # Molecules have no volume, and no stress to bias.
            volume = state.volume.abs()
            density = torch.where(
                (kappa > 0) & (volume > 0), kappa / volume.clamp_min(1e-300), 0.0
            )
            results["stress"] = base["stress"] - density[:, None, None] * slope.strain
        return results

    def _slope(self, state: SimState) -> EntropyGradient:
        active = (self.kappa_eV > 0).tolist()
        biases = [
            bias if is_active else None
            for bias, is_active in zip(self.biases, active, strict=True)
        ]
        if all(bias is None for bias in biases):
            return EntropyGradient.nothing(state)
        return entropy_gradient(plain_state(state, torch.float64), biases, leave_out_broken=True)

    def _bounded(
        self, longest: Float[Tensor, " systems"], strain: Float[Tensor, " systems"]
    ) -> Float[Tensor, " systems"]:
        """Scale kappa down to bound kappa * longest |dS/dr| and kappa * |dS/dstrain|."""
        biased = torch.tensor([bias is not None for bias in self.biases], device=self.device)
        kappa = torch.where(biased, self.kappa_eV, 0.0)
        for bound, slope in (
            (self.largest_bias_force_eV_per_A, longest),
            (self.largest_bias_virial_eV, strain),
        ):
            if bound is not None:
                kappa = torch.where(
                    slope > 0, torch.minimum(kappa, bound / slope.clamp_min(1e-300)), kappa
                )
        return kappa


def check_strength(kappa_eV: float) -> None:
    """Raise `ConfigError` for a strength that is negative or not finite."""
    if not (math.isfinite(kappa_eV) and kappa_eV >= 0):
        raise ConfigError(
            f"kappa_eV={kappa_eV} is not allowed; give a finite strength of zero or more, in eV"
        )
