"""Where candidates come from: biased molecular dynamics, ordered cells, anchors, a hold-out.

Read in this order:

    config.py       settings
    candidates.py   `Candidate`: a structure with its provenance, and files of candidates
    bias/           a model plus the entropy bias, for batches and for ASE
    walkers/        many biased trajectories in one batch: dynamics, guards, restarts, checkpoints
    pools/          the pools of candidates that a campaign selects from
    exploration.py  `explore`: from seeds to candidates in one call
    relax.py        positions and cell at a pressure, many structures at once

Below them: batch.py (structures to one batch, sums over its systems) and precision.py (dynamics in
double precision over models of any precision).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrove.sampling.bias.calculator import EntropyCalculator
    from entrove.sampling.bias.entropy_bias import EntropyBias
    from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
    from entrove.sampling.config import SamplingConfig
    from entrove.sampling.pools.anchors import generate_anchors
    from entrove.sampling.pools.entropy_md import Exploration, advance, begin
    from entrove.sampling.pools.hold_out import generate_hold_out
    from entrove.sampling.pools.ordered import generate_ordered
    from entrove.sampling.pools.random_md import run_plain_md
    from entrove.sampling.relax import relax_at_pressure
    from entrove.sampling.walkers.grid import Start, plan_walkers

_PUBLIC = {
    "Candidate": "entrove.sampling.candidates",
    "EntropyBias": "entrove.sampling.bias.entropy_bias",
    "EntropyCalculator": "entrove.sampling.bias.calculator",
    "Exploration": "entrove.sampling.pools.entropy_md",
    "SamplingConfig": "entrove.sampling.config",
    "Start": "entrove.sampling.walkers.grid",
    "advance": "entrove.sampling.pools.entropy_md",
    "begin": "entrove.sampling.pools.entropy_md",
    "explore": "entrove.sampling.exploration",
    "generate_anchors": "entrove.sampling.pools.anchors",
    "generate_hold_out": "entrove.sampling.pools.hold_out",
    "generate_ordered": "entrove.sampling.pools.ordered",
    "plan_walkers": "entrove.sampling.walkers.grid",
    "read_candidates": "entrove.sampling.candidates",
    "relax_at_pressure": "entrove.sampling.relax",
    "run_plain_md": "entrove.sampling.pools.random_md",
    "write_candidates": "entrove.sampling.candidates",
}

__all__ = [  # loaded on first use, below
    "Candidate",
    "EntropyBias",
    "EntropyCalculator",
    "Exploration",
    "SamplingConfig",
    "Start",
    "advance",
    "begin",
    "explore",
    "generate_anchors",
    "generate_hold_out",
    "generate_ordered",
    "plan_walkers",
    "read_candidates",
    "relax_at_pressure",
    "run_plain_md",
    "write_candidates",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entrove.sampling' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
