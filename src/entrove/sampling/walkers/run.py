"""All walkers in one batch: thermalise, then chunk by chunk under the bias.

`init_walkers` makes a state, `thermalise` and `run_chunk` turn a state into the next; nothing else
is remembered, and the random generator is part of the state, so a run that continues from a stored
state equals one that was never interrupted, bit for bit on a CPU.

The noise of all walkers is one stream: walkers are coupled through the shared dataset anyway, and
torch-sim's integrators draw the noise of a batch at once. What a walker does therefore depends on
the grid that it is part of, while its forces do not.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from torch_sim.integrators.md import MDState
from torch_sim.models.interface import ModelInterface

from entrove.errors import ConfigError
from entrove.sampling.batch import gather_batch, reduce_atoms, require_stress
from entrove.sampling.bias.entropy_bias import EntropyBias
from entrove.sampling.candidates import Candidate, Kind, Pool
from entrove.sampling.config import SamplingConfig
from entrove.sampling.walkers.grid import Walker
from entrove.sampling.walkers.state import WalkersState
from entrove.sampling.walkers.stepping import Biases, Stepper, dynamics_of, starts_hot
from entrove.sampling.walkers.strength import Strengths

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with steps done and steps in all."""

OnFrame = Callable[[int, list[Walker], MDState], None]
"""Called with the step, the walkers of the batch, and the batch."""


def init_walkers(
    walkers: Sequence[Walker],
    structures: Sequence[Atoms],
    model: ModelInterface,
    config: SamplingConfig,
    rng: np.random.Generator | int,
) -> WalkersState:
    """Place every walker at its structure, a relaxed phase, with Maxwell-Boltzmann velocities.

    Args:
        walkers, structures: From `plan_walkers`: the walkers, and the structure that each starts
            from.
        model: The unbiased torch-sim model.
        config: Settings of the dynamics.
        rng: Generator or seed of all velocities and noise.

    Velocities are those of twice the temperature, half of which becomes potential energy during
    the thermalisation (see `HEAT_AT_MINIMUM`); without `thermalise_steps` they are those of the
    temperature itself.

    Raises `ConfigError` when walkers and structures do not match, `StructureError` when the
    structures cannot share a batch, `ModelError` when the ensemble needs a stress and the model
    has none.
    """
    if config.ensemble == "npt":
        require_stress(model, "ensemble 'npt'", "ensemble 'nvt'")
    if len(walkers) != len(structures) or not walkers:
        raise ConfigError(
            f"{len(walkers)} walkers but {len(structures)} structures; "
            "give one structure for each walker, and at least one walker"
        )
    seed = int(np.random.default_rng(rng).integers(2**63 - 1))
    start = gather_batch(structures, model, needs_volume=config.ensemble == "npt")
    relaxed = start.clone()
    start.rng = torch.Generator(device=start.device).manual_seed(seed)
    dynamics = dynamics_of(walkers, config, start.device)
    unbiased = EntropyBias.unbiased(model, len(walkers))
    md = dynamics.start(start, unbiased, at_minimum=starts_hot(config))
    rng_state = md.rng.get_state()
    md.rng = None
    count = len(walkers)
    return WalkersState(
        walkers=tuple(walkers),
        rows=tuple(range(count)),
        step=0,
        md=md,
        rng_state=rng_state,
        strengths=Strengths.start(walkers, start.device),
        relaxed=relaxed,
        healthy=relaxed.clone(),
        spent=torch.ones(count, dtype=torch.bool, device=start.device),
        quiet_until=torch.full((count,), config.thermalise_steps, device=start.device),
        restarts=(),
    )


def thermalise(
    state: WalkersState,
    model: ModelInterface,
    config: SamplingConfig,
    *,
    on_step: Progress | None = None,
) -> WalkersState:
    """Run `thermalise_steps` without bias; measure the thermal force scale in the second half."""
    run = Stepper(state, model, None, config)
    sum_of_squares = torch.zeros(len(state.rows), dtype=torch.float64, device=state.md.device)
    first = config.thermalise_steps // 2
    for done in range(config.thermalise_steps):
        run.advance(check_distances=False)
        if done >= first:
            square = run.md.base_forces.square().sum(dim=1)
            sum_of_squares += reduce_atoms(square, run.md, reduce="mean")
        if on_step is not None:
            on_step(done + 1, config.thermalise_steps)
    measured = config.thermalise_steps - first
    if measured:
        run.strengths = run.strengths.with_force_scale((sum_of_squares / measured).sqrt())
    return run.finish()


def run_chunk(
    state: WalkersState,
    model: ModelInterface,
    biases: Biases,
    config: SamplingConfig,
    *,
    pool: Pool = "entropy_md",
    kind: Kind = "md",
    on_step: Progress | None = None,
    on_frame: OnFrame | None = None,
) -> tuple[WalkersState, list[Candidate]]:
    """Run `chunk_steps` of every walker under its bias; return the new state and the snapshots.

    Args:
        state: Where the walkers are; it is not changed.
        model: The unbiased torch-sim model.
        biases: The bias for each (entropy, mode) of the grid, fixed for the whole chunk.
        config: Settings of dynamics, guards and adaptive strengths.
        pool, kind: What the snapshots are marked with.
        on_step: Called after each step with steps done and steps in all.
        on_frame: Called every `trajectory_every` steps with the step, the walkers and the batch.

    Raises `ConfigError` when a bias is missing, or when an adaptive walker was never thermalised.
    """
    if not state.rows:
        logger.warning("every walker was ended by its guards; nothing is sampled")
        return state, []
    if bool((state.strengths.adaptive & state.strengths.force_scale_eV_per_A.isnan()).any()):
        raise ConfigError(
            "an adaptive bias strength has no thermal force scale yet; call thermalise() before "
            "run_chunk()"
        )
    run = Stepper(state, model, biases, config)
    snapshots: list[Candidate] = []
    for done in range(1, config.chunk_steps + 1):
        at_snapshot = done % config.snapshot_every == 0
        run.advance(check_distances=at_snapshot)
        if at_snapshot:
            snapshots += run.take_snapshots(pool, kind)
        if (
            on_frame is not None
            and config.trajectory_every
            and run.step % config.trajectory_every == 0
        ):
            on_frame(run.step, run.walkers, run.md)
        if on_step is not None:
            on_step(done, config.chunk_steps)
    return run.finish(), snapshots
