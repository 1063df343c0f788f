"""Relaxation of positions and cell at external pressure, all structures in one batch."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import torch
import torch_sim as ts
from ase import Atoms
from jaxtyping import Bool, Float
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.optimizers import CellFireState
from torch_sim.optimizers.cell_filters import CellFilter, compute_cell_forces
from torch_sim.optimizers.fire import fire_init, fire_step

from entrove.errors import ConfigError
from entrove.sampling.batch import gather_batch, reduce_atoms, require_stress
from entrove.sampling.config import RelaxationSettings
from entrove.sampling.precision import in_double
from entrove.units import ev_per_a3_to_gpa, gpa_to_ev_per_a3

logger = logging.getLogger(__name__)

VOLUME_RANGE = (0.2, 5.0)
"""A relaxation whose volume leaves this range, relative to its start, has run away."""


class RelaxationOutcome(StrEnum):
    """How a relaxation ended."""

    CONVERGED = "converged"
    STEPS_EXHAUSTED = "steps exhausted"
    NOT_FINITE = "energy, force, stress, position or cell not finite"
    RAN_AWAY = "volume left the range of 0.2 to 5 times its start"


@dataclass(frozen=True)
class Relaxation:
    """Where a relaxation ended; `atoms` is the last geometry, converged or not."""

    atoms: Atoms
    outcome: RelaxationOutcome
    steps: int
    pressure_GPa: float
    energy_eV: float
    largest_force_eV_per_A: float
    stress_deviation_GPa: float
    """Largest component of stress + pressure * identity."""

    @property
    def converged(self) -> bool:
        """Whether forces and stress are within their tolerances."""
        return self.outcome is RelaxationOutcome.CONVERGED

    @property
    def enthalpy_eV(self) -> float:
        """Energy + pressure * volume of the cell."""
        return self.energy_eV + gpa_to_ev_per_a3(self.pressure_GPa) * self.atoms.get_volume()


def relax_at_pressure(
    model: ModelInterface,
    structures: Sequence[Atoms],
    pressures_GPa: Sequence[float],
    settings: RelaxationSettings = RelaxationSettings(),  # noqa: B008  # frozen
) -> list[Relaxation]:
    """Relax each structure, positions and cell, at its own pressure; results in the same order.

    Args:
        model: A torch-sim model with stress, of any precision; the relaxation is float64.
        structures: Periodic in three dimensions. Masses that they carry are kept.
        pressures_GPa: One pressure for each structure, in GPa.
        settings: Tolerances of force and stress, and the largest number of steps.

    FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006)) on positions and the logarithm of the
    deformation. A structure leaves the batch when it converges or fails, which makes the steps of
    the others faster. A relaxation that does not converge is a value, see `RelaxationOutcome`.

    Raises `ConfigError` when the lists differ in length, `StructureError` when the structures
    cannot share a batch or have no volume, and `ModelError` when the model computes no stress.
    """
    if len(structures) != len(pressures_GPa):
        raise ConfigError(
            f"{len(structures)} structures but {len(pressures_GPa)} pressures; "
            "give one pressure for each structure"
        )
    if not structures:
        return []
    require_stress(model, "relaxation at a pressure", "a calculator that implements 'stress'")
    model = in_double(model)
    start = gather_batch(structures, model, needs_volume=True)
    pressure = torch.tensor(pressures_GPa, dtype=torch.float64, device=start.device)
    state: CellFireState = _start_fire(start, model, pressure)
    start_volume = start.volume.abs()
    waiting = list(range(len(structures)))
    finished: dict[int, Relaxation] = {}
    for step in range(settings.largest_steps + 1):
        outcomes = _outcomes_of(state, start_volume[waiting], settings)
        last = step == settings.largest_steps
        done = [row for row, outcome in enumerate(outcomes) if outcome is not None or last]
        if done:
            for row, ended in zip(done, state.pop(done), strict=True):
                outcome = outcomes[row] or RelaxationOutcome.STEPS_EXHAUSTED
                index = waiting[row]
                finished[index] = _to_relaxation(ended, outcome, step, pressures_GPa[index])
                if structures[index].has("masses"):
                    finished[index].atoms.set_array("masses", structures[index].get_masses())
            waiting = [index for row, index in enumerate(waiting) if row not in done]
        if not waiting:
            break
        state = cast("CellFireState", fire_step(state, model))
    relaxations = [finished[index] for index in range(len(structures))]
    for relaxation in relaxations:
        if not relaxation.converged:
            logger.warning(
                "relaxation of %s at %g GPa: %s after %d steps; force %.3g eV/A, stress off by "
                "%.3g GPa",
                relaxation.atoms.get_chemical_formula(),
                relaxation.pressure_GPa,
                relaxation.outcome,
                relaxation.steps,
                relaxation.largest_force_eV_per_A,
                relaxation.stress_deviation_GPa,
            )
    return relaxations


def _start_fire(
    start: ts.SimState, model: ModelInterface, pressure_GPa: Float[Tensor, " systems"]
) -> CellFireState:
    state = fire_init(start, model, cell_filter=CellFilter.frechet)
    assert isinstance(state, CellFireState)
    # The filter's own argument is one pressure for the whole batch; each system has its own here.
    identity = torch.eye(3, dtype=torch.float64, device=start.device)
    state.pressure = pressure_GPa[:, None, None] * gpa_to_ev_per_a3(1.0) * identity
    compute_cell_forces({"stress": state.stress}, state)
    return state


def _deviation(
    state: CellFireState,
) -> tuple[Float[Tensor, " systems"], Float[Tensor, " systems"]]:
    """Largest force (eV/A) and largest component of stress + pressure (eV/A^3) of each system."""
    force = reduce_atoms(state.forces.norm(dim=1), state, reduce="amax")
    return force, (state.stress + state.pressure).abs().amax(dim=(1, 2))


def _outcomes_of(
    state: CellFireState, start_volume: Float[Tensor, " systems"], settings: RelaxationSettings
) -> list[RelaxationOutcome | None]:
    force, stress = _deviation(state)
    farthest = reduce_atoms(state.positions.abs().amax(dim=1), state, reduce="amax")
    extent = state.cell.abs().amax(dim=(1, 2)) + farthest
    finite: Bool[Tensor, " systems"] = (force + stress + state.energy + extent).isfinite()
    ratio = state.volume.abs() / start_volume
    inside = (ratio > VOLUME_RANGE[0]) & (ratio < VOLUME_RANGE[1])
    converged = (force <= settings.force_tolerance_eV_per_A) & (
        stress <= gpa_to_ev_per_a3(settings.stress_tolerance_GPa)
    )
    outcomes: list[RelaxationOutcome | None] = []
    for is_finite, is_inside, is_converged in torch.stack(
        [finite, inside, converged], dim=1
    ).tolist():
        if not is_finite:
            outcomes.append(RelaxationOutcome.NOT_FINITE)
        elif not is_inside:
            outcomes.append(RelaxationOutcome.RAN_AWAY)
        else:
            outcomes.append(RelaxationOutcome.CONVERGED if is_converged else None)
    return outcomes


def _to_relaxation(
    ended: CellFireState, outcome: RelaxationOutcome, steps: int, pressure_GPa: float
) -> Relaxation:
    force, stress = _deviation(ended)
    return Relaxation(
        atoms=ended.to_atoms()[0],
        outcome=outcome,
        steps=steps,
        pressure_GPa=float(pressure_GPa),
        energy_eV=float(ended.energy[0]),
        largest_force_eV_per_A=float(force[0]),
        stress_deviation_GPa=ev_per_a3_to_gpa(float(stress[0])),
    )
