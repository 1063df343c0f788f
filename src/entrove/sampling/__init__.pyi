from .bias.calculator import EntropyCalculator as EntropyCalculator
from .bias.entropy_bias import EntropyBias as EntropyBias
from .candidates import (
    Candidate as Candidate,
)
from .candidates import (
    read_candidates as read_candidates,
)
from .candidates import (
    write_candidates as write_candidates,
)
from .config import SamplingConfig as SamplingConfig
from .correlation import independent_snapshots as independent_snapshots
from .exploration import explore as explore
from .pools.anchors import generate_anchors as generate_anchors
from .pools.entropy_md import Exploration as Exploration
from .pools.entropy_md import advance as advance
from .pools.entropy_md import begin as begin
from .pools.hold_out import generate_hold_out as generate_hold_out
from .pools.ordered import generate_ordered as generate_ordered
from .pools.random_md import run_plain_md as run_plain_md
from .relax import relax_at_pressure as relax_at_pressure
from .walkers.grid import Start as Start
from .walkers.grid import plan_walkers as plan_walkers
