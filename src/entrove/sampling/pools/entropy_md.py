"""Pool A: entropy-biased MD of all walkers, chunk by chunk against one shared dataset.

`begin` and `advance` turn one `Exploration` into the next. After each chunk the caller decides
which of the new snapshots join the dataset, so that the walkers of the next chunk are driven away
from them. An exploration is continued from its walkers (see `entrove.sampling.walkers.checkpoint`)
and the candidates so far as if it had never stopped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from torch_sim.models.interface import ModelInterface

from entrove.sampling.candidates import Candidate
from entrove.sampling.config import SamplingConfig
from entrove.sampling.walkers.grid import Walker
from entrove.sampling.walkers.run import init_walkers, run_chunk, thermalise
from entrove.sampling.walkers.state import WalkersState
from entrove.sampling.walkers.stepping import Biases
from entrove.sampling.walkers.trajectories import TrajectoryRecorder


@dataclass(frozen=True)
class Exploration:
    """An exploration so far; `admitted` are indices of the candidates that joined the dataset."""

    walkers: WalkersState
    candidates: tuple[Candidate, ...] = ()
    admitted: tuple[int, ...] = ()

    def chunks_done(self, config: SamplingConfig) -> int:
        """How many chunks these walkers have run since they were thermalised."""
        return (self.walkers.step - config.thermalise_steps) // config.chunk_steps


def begin(
    walkers: Sequence[Walker],
    structures: Sequence[Atoms],
    model: ModelInterface,
    config: SamplingConfig,
    rng: np.random.Generator | int,
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Place the walkers and thermalise them without bias.

    Args:
        walkers, structures: From `plan_walkers`: the walkers, and the structure that each starts
            from.
        model: The unbiased torch-sim model.
        config: Settings of the dynamics.
        rng: Generator or seed of all velocities and noise.
        on_step: Called after each step with steps done and steps in all.

    Returns an exploration without candidates. Raises what `init_walkers` raises.
    """
    return Exploration(
        thermalise(
            init_walkers(walkers, structures, model, config, rng), model, config, on_step=on_step
        )
    )


def advance(
    exploration: Exploration,
    model: ModelInterface,
    biases: Biases,
    config: SamplingConfig,
    admit: Callable[[Sequence[Candidate]], Sequence[int]],
    *,
    on_step: Callable[[int, int], None] | None = None,
    recorder: TrajectoryRecorder | None = None,
) -> Exploration:
    """Run one chunk under fixed biases, then let `admit` choose what joins the dataset.

    Args:
        exploration: The walkers and candidates so far.
        model: The unbiased torch-sim model.
        biases: What biases the walkers of each (entropy, mode) of the grid; fixed for this chunk.
        config: `chunk_steps`, `snapshot_every`, and the settings of dynamics and guards.
        admit: Takes the snapshots of all walkers and returns the indices of those that join the
            dataset.
        on_step: Called with steps of this chunk done and steps in all.
        recorder: Stores a frame of every walker each `trajectory_every` steps.

    Raises `ConfigError` when a walker has no bias in `biases`.
    """
    walkers, snapshots = run_chunk(
        exploration.walkers,
        model,
        biases,
        config,
        on_step=on_step,
        on_frame=recorder,
    )
    if recorder is not None:
        recorder.write_chunk(exploration.chunks_done(config))
    first = len(exploration.candidates)
    return replace(
        exploration,
        walkers=walkers,
        candidates=(*exploration.candidates, *snapshots),
        admitted=(*exploration.admitted, *(first + index for index in admit(snapshots))),
    )
