"""The loss that training makes small, of any framework: also what cross-validation compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import huber_loss

from entrove.errors import ModelError
from entrove.structures import has_stress
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


def targets_of(atoms: Atoms, dtype: torch.dtype = torch.float32) -> Targets:
    """Labels of a structure; constraints hide no forces, and without periodicity is no stress.

    The energy is float64 in any case, because it may be that of an all-electron code.

    Raises `ModelError` when energy or forces are missing.
    """
    try:
        energy = atoms.get_potential_energy()
        forces = atoms.get_forces(apply_constraint=False)
    except (RuntimeError, PropertyNotImplementedError) as error:
        raise ModelError(
            f"a training structure of {len(atoms)} atoms has no label ({error})"
        ) from error
    stress = np.full(6, np.nan)
    if has_stress(atoms):
        stress = atoms.get_stress(apply_constraint=False)
    return Targets(
        energy_eV=torch.tensor([energy], dtype=torch.float64),
        forces_eV_per_A=torch.tensor(forces, dtype=dtype),
        stress_eV_per_A3=torch.tensor(stress, dtype=dtype).reshape(1, 6),
    )


def concatenated(parts: Sequence[Targets]) -> Targets:
    """Several batches as one; at least one."""
    return Targets(
        energy_eV=torch.cat([part.energy_eV for part in parts]),
        forces_eV_per_A=torch.cat([part.forces_eV_per_A for part in parts]),
        stress_eV_per_A3=torch.cat([part.stress_eV_per_A3 for part in parts]),
    )


def loss_of_predictions(
    predicted: Sequence[Atoms],
    labelled: Sequence[Atoms],
    config: LossConfig,
    *,
    shifts_eV: Mapping[str, float] = MappingProxyType({}),
) -> float:
    """Return the loss of predictions for labelled structures, in double precision.

    Args:
        predicted, labelled: The same structures in the same order, with energy (eV), forces
            (eV/A) and, where it is known, stress (eV/A^3).
        config: The loss.
        shifts_eV: Energy in eV that is added to the predictions per atom of a species.

    Means are over the components of all structures, as if they were one batch.
    """
    found, wanted = (
        concatenated([targets_of(atoms, torch.float64) for atoms in structures])
        for structures in (predicted, labelled)
    )
    shifts = [sum(shifts_eV.get(symbol, 0.0) for symbol in atoms.symbols) for atoms in labelled]
    shifted = replace(found, energy_eV=found.energy_eV + torch.tensor(shifts, dtype=torch.float64))
    counts = torch.tensor([len(atoms) for atoms in labelled])
    return float(huber_sum(shifted, wanted, counts, config))
