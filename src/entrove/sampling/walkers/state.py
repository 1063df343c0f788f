"""The state of all walkers between two calls: everything that a run needs to continue."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from torch_sim.integrators.md import MDState
from torch_sim.state import SimState

from entrove.sampling.walkers.grid import Walker
from entrove.sampling.walkers.restarts import Restart
from entrove.sampling.walkers.strength import Strengths

NEVER = torch.iinfo(torch.int64).max
"""`quiet_until` of a walker that was ended."""


@dataclass(frozen=True)
class WalkersState:
    """All walkers; tensors have one row for each walker that is still running.

    `rows` holds the walker index of each system of the batch. `relaxed` holds the relaxed phases
    that the walkers started from, `healthy` their last snapshots. `spent` is whether this snapshot
    was used for a restart already. `quiet_until` is the step from which a walker is biased and
    sampled.
    """

    walkers: tuple[Walker, ...]
    rows: tuple[int, ...]
    step: int
    md: MDState
    rng_state: UInt8[Tensor, " bytes"]
    strengths: Strengths
    relaxed: SimState
    healthy: SimState
    spent: Bool[Tensor, " systems"]
    quiet_until: Int[Tensor, " systems"]
    restarts: tuple[Restart, ...]

    @property
    def running(self) -> list[Walker]:
        """The walker of each system of the batch."""
        return [self.walkers[row] for row in self.rows]

    @property
    def ended(self) -> list[Walker]:
        """Walkers that were ended by their guards."""
        return [walker for walker in self.walkers if walker.index not in self.rows]
