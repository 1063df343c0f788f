"""One step of all walkers after the other: strengths, guards, restarts, snapshots."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.models.interface import ModelInterface

from entrove.entropy.functional import Bias
from entrove.errors import ConfigError
from entrove.models.failures import failures_of
from entrove.sampling.bias.entropy_bias import EntropyBias
from entrove.sampling.candidates import Candidate, Kind, Pool
from entrove.sampling.config import SamplingConfig
from entrove.sampling.walkers.dynamics import HEAT_AT_MINIMUM, Dynamics
from entrove.sampling.walkers.grid import Walker
from entrove.sampling.walkers.guards import (
    Reference,
    Violation,
    find_violations,
    name_failures,
)
from entrove.sampling.walkers.restarts import (
    Restart,
    RestartedFrom,
    evaluate_systems,
    restore_systems,
)
from entrove.sampling.walkers.state import NEVER, WalkersState

logger = logging.getLogger(__name__)

Biases = Mapping[tuple[str, str], Bias]
"""What walkers are biased by, for each (entropy, mode) of the grid."""


class Stepper:
    """Copies a state, advances the copy step by step, and returns a new state with `finish`.

    With `biases=None` nothing is biased. Raises `ConfigError` when a walker lacks its bias.
    """

    def __init__(
        self,
        state: WalkersState,
        model: ModelInterface,
        biases: Biases | None,
        config: SamplingConfig,
    ) -> None:
        self.before = state
        self.config = config
        self.walkers = state.running
        self.step = state.step
        self.strengths = state.strengths.forget(torch.ones_like(state.spent))
        self.healthy = state.healthy.clone()
        self.spent = state.spent.clone()
        self.quiet_until = state.quiet_until.clone()
        self.restarts = list(state.restarts)
        self.md = state.md.clone()
        self.md.rng = torch.Generator(device=self.md.device)
        self.md.rng.set_state(state.rng_state)
        self.dynamics = dynamics_of(self.walkers, config, self.md.device)
        self.reference = Reference(
            self.dynamics.temperature_K, torch.det(state.relaxed.cell).abs()
        )
        own_biases = [
            None if biases is None else bias_of(walker, biases) for walker in self.walkers
        ]
        self.bias = EntropyBias(model, own_biases, self.strengths.kappa_eV)
        self._set_strengths()
        # The biases may have changed since the last evaluation: the first half step needs forces.
        evaluate_systems(self.md, torch.ones_like(self.spent), self.bias)

    def advance(self, *, check_distances: bool) -> None:
        """Move all walkers one step, adapt their strengths, restart those outside the range.

        `check_distances` checks distances whatever `distance_every` is, for a step with snapshots.
        """
        self._set_strengths()
        self.md = self.dynamics.step(self.md, self.bias)
        self.step += 1
        self.strengths = self.strengths.follow(self.md.entropy_slope, self.config.adaptive)
        due = check_distances or self.step % self.config.guards.distance_every == 0
        reference = self.reference.heated(self.quiet_until >= self.step, HEAT_AT_MINIMUM)
        violations = find_violations(self.md, reference, self.config.guards, distances=due)
        if violations:
            self._restart(name_failures(violations, failures_of(self.bias)))

    def take_snapshots(self, pool: Pool, kind: Kind) -> list[Candidate]:
        """Copy every walker that is neither thermalising nor just restarted; it is healthy now."""
        since = self.step - self.config.snapshot_every
        just_restarted = {restart.walker for restart in self.restarts if restart.step > since}
        settled = [walker.index not in just_restarted for walker in self.walkers]
        ready = torch.tensor(settled, device=self.md.device) & (self.quiet_until <= self.step)
        of_atoms = ready[self.md.system_idx]
        self.healthy.positions = torch.where(
            of_atoms[:, None], self.md.positions, self.healthy.positions
        )
        self.healthy.cell = torch.where(ready[:, None, None], self.md.cell, self.healthy.cell)
        self.spent &= ~ready
        rows = zip(
            self.walkers,
            self.md.to_atoms(),
            ready.tolist(),
            self.md.kappa_eV.tolist(),
            strict=True,
        )
        snapshots = []
        for walker, atoms, is_ready, kappa in rows:
            if is_ready:
                atoms.wrap()
                snapshots.append(
                    Candidate(
                        atoms=atoms,
                        pool=pool,
                        kind=kind,
                        phase=walker.phase,
                        pressure_GPa=walker.pressure_GPa,
                        temperature_K=walker.temperature_K,
                        walker=walker.index,
                        step=self.step,
                        kappa_eV=kappa,
                        bias_fraction=walker.fraction,
                        entropy=walker.entropy,
                        mode=walker.mode,
                    )
                )
        return snapshots

    def finish(self) -> WalkersState:
        """Return the new state, without the walkers that were ended."""
        rng_state = self.md.rng.get_state()
        self.md.rng = None
        alive = self.quiet_until != NEVER
        state = replace(
            self.before,
            step=self.step,
            md=self.md,
            rng_state=rng_state,
            strengths=self.strengths,
            healthy=self.healthy,
            spent=self.spent,
            quiet_until=self.quiet_until,
            restarts=tuple(self.restarts),
            rows=tuple(
                row
                for row, is_alive in zip(self.before.rows, alive.tolist(), strict=True)
                if is_alive
            ),
        )
        # A batch cannot be empty: when every walker was ended, all stay in it and `rows` is empty.
        if bool(alive.all()) or not state.rows:
            return state
        keep = alive.nonzero().squeeze(1)
        return replace(
            state,
            md=state.md[keep],
            strengths=state.strengths[keep],
            relaxed=state.relaxed[keep],
            healthy=state.healthy[keep],
            spent=state.spent[keep],
            quiet_until=state.quiet_until[keep],
        )

    def _set_strengths(self) -> None:
        unbiased = self.quiet_until > self.step
        self.bias.kappa_eV = torch.where(unbiased, 0.0, self.strengths.applied_kappa_eV)
        self.bias.largest_bias_force_eV_per_A = self.strengths.bound(self.config.adaptive)
        if self.config.ensemble == "npt":
            counts = self.md.n_atoms_per_system
            self.bias.largest_bias_virial_eV = self.strengths.bound_of_virial(
                self.config.adaptive, counts, self.reference.volume_A3
            )

    def _restart(self, violations: Sequence[Violation]) -> None:
        to_snapshot = torch.zeros_like(self.spent)
        to_relaxed = torch.zeros_like(self.spent)
        for violation in violations:
            target = self._restart_from(violation.row)
            if target is RestartedFrom.SNAPSHOT:
                to_snapshot[violation.row] = True
            else:
                to_relaxed[violation.row] = True
            if self.quiet_until[violation.row] != NEVER:
                self._record(violation, target)
        changed = to_snapshot | to_relaxed
        self.spent |= changed
        self.strengths = self.strengths.forget(changed)
        self._set_strengths()
        from_minimum = starts_hot(self.config)
        for rows, source, at_minimum in (
            (to_snapshot, self.healthy, False),
            (to_relaxed, self.before.relaxed, from_minimum),
        ):
            if bool(rows.any()):
                restore_systems(
                    self.md, rows, source, self.dynamics, self.bias, at_minimum=at_minimum
                )

    def _restart_from(self, row: int) -> RestartedFrom:
        earlier = sum(restart.walker == self.walkers[row].index for restart in self.restarts)
        if earlier >= self.config.guards.largest_restarts:
            return RestartedFrom.NOWHERE
        return RestartedFrom.RELAXED_PHASE if bool(self.spent[row]) else RestartedFrom.SNAPSHOT

    def _record(self, violation: Violation, target: RestartedFrom) -> None:
        """Record a restart, and until when the walker is neither biased nor sampled."""
        walker = self.walkers[violation.row]
        self.restarts.append(
            Restart(
                walker.index,
                self.step,
                violation.reason,
                violation.value,
                violation.limit,
                target,
                violation.detail,
            )
        )
        logger.info(
            "walker %d, step %d: %s%s; continued from %s",
            walker.index,
            self.step,
            violation.reason,
            violation.detail and f" ({violation.detail})",
            target,
        )
        if target is RestartedFrom.RELAXED_PHASE:
            self.quiet_until[violation.row] = self.step + self.config.thermalise_steps
        elif target is RestartedFrom.NOWHERE:
            # It stays in the batch, unbiased and not sampled, until the end of the chunk.
            self.quiet_until[violation.row] = NEVER


def starts_hot(config: SamplingConfig) -> bool:
    """Whether walkers start with `HEAT_AT_MINIMUM`: only when a thermalisation follows."""
    return config.thermalise_steps > 0


def dynamics_of(
    walkers: Sequence[Walker], config: SamplingConfig, device: torch.device
) -> Dynamics:
    """Collect temperature and pressure of each walker for one batch."""

    def column(values: list[float]) -> Float[Tensor, " systems"]:
        return torch.tensor(values, dtype=torch.float64, device=device)

    return Dynamics(
        temperature_K=column([walker.temperature_K for walker in walkers]),
        pressure_GPa=column([walker.pressure_GPa for walker in walkers]),
        timestep_fs=config.timestep_fs,
        friction_per_fs=config.friction_per_fs,
        ensemble=config.ensemble,
        barostat=config.barostat,
        barostat_time_fs=config.barostat_time_fs,
    )


def bias_of(walker: Walker, biases: Biases) -> Bias | None:
    """The bias of a walker, None for unbiased ones; raises `ConfigError` when it is missing."""
    if not walker.biased:
        return None
    try:
        return biases[walker.entropy, walker.mode]
    except KeyError:
        known = ", ".join("/".join(key) for key in biases)
        raise ConfigError(
            f"walker {walker.index} is biased by {walker.entropy}/{walker.mode}, but only {known} "
            "is given; pass a bias for every entropy and mode of the grid"
        ) from None
