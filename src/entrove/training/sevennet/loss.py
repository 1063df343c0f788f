"""The loss that training makes small."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import huber_loss

from entrove.training.config import LossConfig


@dataclass(frozen=True)
class Targets:
    """Energies, forces and stresses of a batch; a stress that is NaN is unknown, not counted."""

    energy_eV: Float[Tensor, " systems"]
    forces_eV_per_A: Float[Tensor, "atoms 3"]
    stress_eV_per_A3: Float[Tensor, "systems 6"]


def huber_sum(
    predicted: Targets,
    reference: Targets,
    atom_counts: Int[Tensor, " systems"],
    config: LossConfig,
) -> Float[Tensor, ""]:
    """Weighted sum of mean Huber losses, see `LossConfig`; means over a batch's components."""
    known = ~torch.isnan(reference.stress_eV_per_A3)
    counts = atom_counts.to(predicted.energy_eV.dtype)
    total = config.energy_weight * huber_loss(
        predicted.energy_eV / counts,
        reference.energy_eV / counts,
        delta=config.energy_delta_eV_per_atom,
    )
    total = total + config.force_weight * huber_loss(
        predicted.forces_eV_per_A, reference.forces_eV_per_A, delta=config.force_delta_eV_per_A
    )
    if known.any():
        total = total + config.stress_weight * huber_loss(
            predicted.stress_eV_per_A3[known],
            reference.stress_eV_per_A3[known],
            delta=config.stress_delta_eV_per_A3,
        )
    return total
