"""Pool C, what every dataset should hold: relaxed phases, strains, shears, thermal motion."""

from collections.abc import Callable, Iterable

import numpy as np
from torch_sim.models.interface import ModelInterface

from entrove.sampling.candidates import Candidate
from entrove.sampling.config import SamplingConfig
from entrove.sampling.pools.random_md import run_plain_md
from entrove.sampling.pools.strained import (
    deform,
    refuse_overlaps,
    without_copies,
    without_overlaps,
)
from entrove.sampling.walkers.grid import Start


def generate_anchors(
    starts: Iterable[Start],
    temperatures_K: Iterable[float],
    model: ModelInterface,
    config: SamplingConfig,
    rng: np.random.Generator | int,
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Make the anchors of every phase at every pressure; no structure is made twice.

    Args:
        starts: The relaxed phases, each at its pressure.
        temperatures_K: Temperatures of the unbiased MD, in K.
        model: Computes energy and forces.
        config: `config.anchors` has strains, shears and MD steps. Biases and replicas of the
            walkers do not matter.
        rng: Generator or seed of the velocities.
        on_step: Called with MD steps done and steps in all.

    Strained and sheared cells whose atoms are closer than the guards of the walkers allow are left
    out: nothing that the guards would stop is labelled.

    Raises `StructureError` for a relaxed phase whose own atoms are that close.
    """
    starts = list(starts)
    refuse_overlaps(starts, config.guards)
    settings = config.anchors
    relaxed = [
        Candidate(start.atoms, "anchors", "relaxed", start.phase, start.pressure_GPa)
        for start in starts
    ]
    deformed = deform(starts, settings.volume_strains, settings.shears, "anchors")
    deformed = without_overlaps(deformed, config.guards)
    thermal = run_plain_md(
        starts,
        temperatures_K,
        model,
        config.model_copy(update={"replicas": 1}),
        rng,
        steps=settings.md_steps,
        snapshots=settings.md_snapshots,
        pool="anchors",
        on_step=on_step,
    )
    return without_copies([*relaxed, *deformed]) + thermal
