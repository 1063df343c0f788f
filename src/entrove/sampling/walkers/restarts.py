"""Restarts of walkers that left the physical range.

A walker is restarted from its last snapshot, with new velocities. If it fails again before the
next snapshot, it is restarted from its relaxed phase and thermalised without bias once more. After
`largest_restarts` it is ended. The next snapshot is taken at the earliest `snapshot_every` steps
after a restart: a restored cell that has moved for a femtosecond is neither new nor shown to be
stable.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import torch
from jaxtyping import Bool
from torch import Tensor
from torch_sim.integrators.md import MDState
from torch_sim.integrators.npt import NPTLangevinAnisotropicState, NPTLangevinIsotropicState
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove.sampling.walkers.dynamics import Dynamics
from entrove.sampling.walkers.grid import Walker
from entrove.sampling.walkers.guards import GuardReason


class RestartedFrom(StrEnum):
    """Where a restarted walker continued from."""

    SNAPSHOT = "last snapshot"
    RELAXED_PHASE = "relaxed phase"
    NOWHERE = "nowhere: ended"


@dataclass(frozen=True)
class Restart:
    """One restart of a walker: when, why (value and limit of the guard), and from where.

    `detail` is what the model raised, where that is the reason.
    """

    walker: int
    step: int
    reason: GuardReason
    value: float
    limit: float
    restarted_from: RestartedFrom
    detail: str = ""


@dataclass(frozen=True)
class RestartSummary:
    """Restarts of one walker, counted by reason."""

    walker: Walker
    restarts: int
    ended_at_step: int | None
    by_reason: dict[GuardReason, int]


def summarise_restarts(
    walkers: Sequence[Walker], restarts: Sequence[Restart]
) -> list[RestartSummary]:
    """Count the restarts of every walker, those without any included."""
    summaries = []
    for walker in walkers:
        own = [restart for restart in restarts if restart.walker == walker.index]
        ends = [restart.step for restart in own if restart.restarted_from is RestartedFrom.NOWHERE]
        by_reason = {
            reason: sum(restart.reason is reason for restart in own) for reason in GuardReason
        }
        summaries.append(
            RestartSummary(
                walker=walker,
                restarts=len(own) - len(ends),
                ended_at_step=ends[0] if ends else None,
                by_reason={reason: count for reason, count in by_reason.items() if count},
            )
        )
    return summaries


def describe_reasons(restarts: Sequence[Restart]) -> str:
    """Return how often each guard stopped a walker, the most frequent first.

    For example "14 x two atoms are too close, 2 x the volume left its range". What a model raised
    is shown once.
    """
    counts = Counter(restart.reason for restart in restarts)
    details = {restart.reason: restart.detail for restart in reversed(restarts) if restart.detail}
    return ", ".join(
        f"{count} x {reason}" + (f" ({details[reason]})" if reason in details else "")
        for reason, count in counts.most_common()
    )


def restore_systems(
    md: MDState,
    rows: Bool[Tensor, " systems"],
    source: SimState,
    dynamics: Dynamics,
    model: ModelInterface,
    *,
    at_minimum: bool,
) -> None:
    """Set some systems of a running batch to the positions and cell of `source`, in place.

    Momenta are drawn anew from the generator of `md`, hotter when the source is `at_minimum`
    (see `Dynamics`), the cell of an NPT run is brought to rest, and energy, forces and stress are
    those of the new positions. The other systems keep every bit.
    """
    of_atoms = rows[md.system_idx]
    md.positions = torch.where(of_atoms[:, None], source.positions, md.positions)
    md.cell = torch.where(rows[:, None, None], source.cell, md.cell)
    fresh = dynamics.fresh_momenta(md, at_minimum=at_minimum)
    md.momenta = torch.where(of_atoms[:, None], fresh, md.momenta)
    if isinstance(md, NPTLangevinIsotropicState | NPTLangevinAnisotropicState):
        moving = cast("NPTLangevinIsotropicState", md)
        at_rest = rows.reshape(-1, *([1] * (moving.cell_positions.ndim - 1)))
        moving.reference_cell = torch.where(
            rows[:, None, None], source.cell, moving.reference_cell
        )
        moving.cell_positions = torch.where(at_rest, 0.0, moving.cell_positions)
        moving.cell_velocities = torch.where(at_rest, 0.0, moving.cell_velocities)
    evaluate_systems(md, rows, model)


def evaluate_systems(md: MDState, rows: Bool[Tensor, " systems"], model: ModelInterface) -> None:
    """Evaluate the model at the present positions and store its results for some systems."""
    results = model(md)
    of_atoms = rows[md.system_idx]
    extras = {}
    for key, new in results.items():
        old = getattr(md, key, None)
        if old is None:
            extras[key] = new
            continue
        chosen = of_atoms if new.shape[0] == md.n_atoms else rows
        merged = torch.where(chosen.reshape(-1, *([1] * (new.ndim - 1))), new, old)
        if key in ("energy", "forces") or (key == "stress" and "stress" in md.attributes):
            setattr(md, key, merged)
        else:
            extras[key] = merged
    md.store_model_extras(extras)
