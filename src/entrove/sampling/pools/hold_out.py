"""The validation set: other strains and shears than the anchors', and MD of its own."""

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
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


def generate_hold_out(
    starts: Sequence[Start],
    temperatures_K: Sequence[float],
    anchors: Sequence[Atoms],
    model: ModelInterface,
    config: SamplingConfig,
    rng: np.random.Generator | int,
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Make the structures that are never trained on; none is a copy of an anchor.

    Args:
        starts: The relaxed phases, each at its pressure.
        temperatures_K: Temperatures of the regime in K; there is MD at each of them, times
            `temperature_factor`: a model that errs at one of them must not pass unseen.
        anchors: Structures that must not be copied.
        model: Computes energy and forces.
        config: `config.hold_out` has strains, shears and MD steps. Biases and replicas of the
            walkers do not matter, so that campaigns that differ in them have one validation set.
        rng: Generator or seed; it must differ from that of the anchors and of the walkers, so that
            trajectories differ.
        on_step: Called with MD steps done and steps in all.

    As among the anchors, cells whose atoms are closer than the guards allow are left out.

    Raises `StructureError` for a relaxed phase whose own atoms are that close.
    """
    refuse_overlaps(starts, config.guards)
    settings = config.hold_out
    deformed = deform(
        starts,
        settings.volume_strains,
        settings.shears,
        "validation",
        planes=settings.shear_planes,
    )
    deformed = without_overlaps(deformed, config.guards)
    thermal = run_plain_md(
        starts,
        [settings.temperature_factor * temperature for temperature in temperatures_K],
        model,
        config.model_copy(update={"replicas": 1}),
        rng,
        steps=settings.md_steps,
        snapshots=settings.md_snapshots,
        pool="validation",
        on_step=on_step,
    )
    return without_copies(deformed, anchors) + thermal
