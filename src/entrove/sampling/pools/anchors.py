"""Pool C: what every dataset should hold: relaxed phases, their strains and shears, thermal motion."""

from collections.abc import Callable, Sequence

import numpy as np
from torch_sim.models.interface import ModelInterface

from entrove.sampling.candidates import Candidate
from entrove.sampling.config import SamplingConfig
from entrove.sampling.pools.random_md import run_plain_md
from entrove.sampling.pools.strained import deform, without_copies
from entrove.sampling.walkers.grid import Start


def generate_anchors(
    starts: Sequence[Start],
    temperatures_K: Sequence[float],
    model: ModelInterface,
    config: SamplingConfig,
    rng: np.random.Generator | int,
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Make the anchors of every phase at every pressure; no structure comes twice, whatever its pressure."""
    settings = config.anchors
    relaxed = [
        Candidate(one.atoms, "anchors", "relaxed", one.phase, one.pressure_GPa) for one in starts
    ]
    deformed = deform(starts, settings.volume_strains, settings.shears, "anchors")
    thermal = run_plain_md(
        starts,
        temperatures_K,
        model,
        config,
        rng,
        steps=settings.md_steps,
        snapshots=settings.md_snapshots,
        pool="anchors",
        on_step=on_step,
    )
    return without_copies([*relaxed, *deformed]) + thermal
