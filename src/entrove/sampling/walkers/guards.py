"""Guards: which systems of a batch have left the physical range, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from ase.data import covalent_radii
from jaxtyping import Bool, Float
from torch import Tensor
from torch_sim.integrators.md import MDState
from torch_sim.state import SimState

from entrove.fingerprints.batching import pick_systems
from entrove.models.neighbours import NeighbourSearch
from entrove.sampling.batch import reduce_atoms
from entrove.sampling.config import GuardSettings
from entrove.sampling.precision import plain_state
from entrove.sampling.walkers.dynamics import kinetic_temperature_K


class GuardReason(StrEnum):
    """Why a walker was stopped."""

    MODEL_FAILED = "the model could not evaluate it"
    NOT_FINITE = "energy, force, position or momentum is not finite"
    DISTANCE = "two atoms are too close"
    FORCE = "the force on an atom is too large"
    TEMPERATURE = "the kinetic temperature is too high"
    VOLUME = "the volume left its range"


@dataclass(frozen=True)
class Violation:
    """A system outside the physical range: its value and the limit that it crossed.

    `detail` is what the model raised, where that is the reason.
    """

    row: int
    reason: GuardReason
    value: float
    limit: float
    detail: str = ""


@dataclass(frozen=True)
class Reference:
    """What the guards compare with: targets and starting volumes of the walkers."""

    temperature_K: Float[Tensor, " systems"]
    volume_A3: Float[Tensor, " systems"]

    def heated(self, rows: Bool[Tensor, " systems"], factor: float) -> "Reference":
        """Return the reference with `factor` times the temperature for some of the systems."""
        return Reference(torch.where(rows, factor, 1.0) * self.temperature_K, self.volume_A3)

    def __getitem__(self, rows: Tensor) -> "Reference":
        """Return the reference of some of the systems."""
        return Reference(self.temperature_K[rows], self.volume_A3[rows])


def find_violations(
    state: MDState, reference: Reference, limits: GuardSettings, *, distances: bool = True
) -> list[Violation]:
    """Check every system; one that crosses several limits is reported once, by the first reason.

    Forces are those of the unbiased model where the state has them (`base_forces`): they are what
    a label would have to reproduce. `distances=False` skips the neighbour search.
    """
    checks = _checks(state, reference, limits, distances=distances)
    failed = torch.stack([check.failed for check in checks])
    if not bool(failed.any()):
        return []
    violations = []
    for row, column in enumerate(failed.T.tolist()):
        if any(column):
            check = checks[column.index(True)]
            violations.append(
                Violation(row, check.reason, float(check.value[row]), float(check.limit[row]))
            )
    return violations


def name_failures(violations: Sequence[Violation], failures: Mapping[int, str]) -> list[Violation]:
    """Give systems that are not finite because the model failed that reason, with its text.

    Args:
        violations: What `find_violations` found.
        failures: What the model raised in this step, for each system that failed.
    """
    return [
        replace(violation, reason=GuardReason.MODEL_FAILED, detail=failures[violation.row])
        if violation.row in failures
        else violation
        for violation in violations
    ]


@dataclass(frozen=True)
class _Check:
    """One limit on one number of every system."""

    reason: GuardReason
    value: Float[Tensor, " systems"]
    limit: Float[Tensor, " systems"]
    failed: Bool[Tensor, " systems"]


def _checks(
    state: MDState, reference: Reference, limits: GuardSettings, *, distances: bool
) -> list[_Check]:
    base = state.base_forces if state.has_extras("base_forces") else state.forces
    force = reduce_atoms(base.norm(dim=1), state, reduce="amax")
    volume = _volume_ratio(state, reference)
    moving = (state.positions + state.momenta + state.forces).abs().sum(dim=1)
    total = reduce_atoms(moving, state, reduce="sum") + state.energy + force + volume
    finite = total.isfinite()
    bond = _bonds_of_finite(state, finite) if distances else torch.full_like(volume, torch.inf)
    # Six standard deviations of the kinetic temperature of 3 N momenta.
    fluctuation = 6 * (2 / (3 * state.n_atoms_per_system.to(volume))).sqrt()
    hottest = reference.temperature_K * (limits.largest_temperature_ratio + fluctuation)
    checks = [_Check(GuardReason.NOT_FINITE, total, torch.full_like(total, torch.inf), ~finite)]

    def add(
        reason: GuardReason, value: Tensor, limit: Tensor | float, *, below: bool = False
    ) -> None:
        limits_of_all = torch.as_tensor(limit, dtype=value.dtype, device=value.device).expand_as(
            value
        )
        failed = value < limits_of_all if below else value > limits_of_all
        checks.append(_Check(reason, value, limits_of_all, failed))

    add(GuardReason.DISTANCE, bond, limits.shortest_distance, below=True)
    add(GuardReason.FORCE, force, limits.largest_force_eV_per_A)
    add(GuardReason.TEMPERATURE, kinetic_temperature_K(state), hottest)
    add(GuardReason.VOLUME, volume, limits.smallest_volume_ratio, below=True)
    add(GuardReason.VOLUME, volume, limits.largest_volume_ratio)
    return checks


def _volume_ratio(state: SimState, reference: Reference) -> Float[Tensor, " systems"]:
    """Volume over the starting volume; 1 for what has no cell."""
    has_cell = reference.volume_A3 > 0
    ratio = torch.det(state.cell).abs() / torch.where(has_cell, reference.volume_A3, 1.0)
    return torch.where(has_cell, ratio, 1.0)


def _bonds_of_finite(
    state: SimState, finite: Bool[Tensor, " systems"]
) -> Float[Tensor, " systems"]:
    """Shortest bond ratios of the systems that are finite; `inf` for the others."""
    if bool(finite.all()):
        return shortest_bond_ratio(plain_state(state, torch.float64))
    bond = torch.full(finite.shape, torch.inf, dtype=torch.float64, device=state.device)
    if bool(finite.any()):
        bond[finite] = shortest_bond_ratio(pick_systems(state, finite))
    return bond


def shortest_bond_ratio(state: SimState) -> Float[Tensor, " systems"]:
    """Shortest distance over the sum of the two covalent radii, periodic images included.

    Distances up to twice the largest covalent radius of the batch are considered; `inf` without
    any. Radii are ASE's
    (Cordero et al., Dalton Trans. 2832 (2008)).
    """
    radii = torch.as_tensor(covalent_radii, dtype=state.dtype, device=state.device)[
        state.atomic_numbers.long()
    ]
    pairs = NeighbourSearch(float(2 * radii.max()))(state)
    ratio = pairs.vectors.norm(dim=1) / (radii[pairs.centre] + radii[pairs.neighbour])
    shortest = torch.full(
        (state.cell.shape[0],), torch.inf, dtype=state.dtype, device=state.device
    )
    return shortest.scatter_reduce(0, state.system_idx[pairs.centre], ratio, reduce="amin")
