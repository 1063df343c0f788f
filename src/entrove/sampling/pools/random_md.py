"""MD without bias: the thermal anchors, the thermal part of the hold-out, and the control arm."""

from collections.abc import Callable, Iterable

import numpy as np
from torch_sim.models.interface import ModelInterface

from entrove.sampling.candidates import Candidate, Pool
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.run import init_walkers, run_chunk, thermalise


def run_plain_md(
    starts: Iterable[Start],
    temperatures_K: Iterable[float],
    model: ModelInterface,
    config: SamplingConfig,
    rng: np.random.Generator | int,
    *,
    steps: int,
    snapshots: int,
    pool: Pool = "random_md",
    on_step: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Run every phase at every temperature for about `steps` steps; return even snapshots.

    Args:
        starts, temperatures_K: The relaxed phases, and the temperatures of each in K.
        model: Computes energy and forces.
        config: Time step, friction, guards, replicas, and the `thermalise_steps` that come first.
            The ensemble is always NVT, at the volume of the relaxed phase.
        rng: Generator or seed of the velocities.
        steps, snapshots: MD steps after the thermalisation, and how many snapshots of each run are
            returned.
        pool: What the candidates are marked with; their kind is "md".
        on_step: Called with MD steps done and steps in all, the thermalisation included.
    """
    if not steps or not snapshots:
        return []
    every = max(1, steps // snapshots)
    plain = config.model_copy(
        update={
            "ensemble": "nvt",
            "biases": (BiasSettings(entropy="none"),),
            "chunk_steps": every * snapshots,
            "snapshot_every": every,
        }
    )
    walkers, structures = plan_walkers(starts, temperatures_K, plain)
    first = plain.thermalise_steps
    total = first + plain.chunk_steps

    def report_from(start: int) -> Callable[[int, int], None]:
        return lambda done, _: on_step(start + done, total) if on_step is not None else None

    state = init_walkers(walkers, structures, model, plain, rng)
    state = thermalise(state, model, plain, on_step=report_from(0))
    _, found = run_chunk(state, model, {}, plain, pool=pool, on_step=report_from(first))
    return found
