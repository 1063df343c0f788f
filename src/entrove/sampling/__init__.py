"""Where candidates come from: biased molecular dynamics, ordered cells, anchors, a hold-out.

Read in this order:

    config.py       settings
    candidates.py   `Candidate`: a structure with its provenance, and files of candidates
    bias/           a model plus the entropy bias, for batches and for ASE
    walkers/        many biased trajectories in one batch: dynamics, guards, restarts, checkpoints
    pools/          the pools of candidates that a campaign selects from
    exploration.py  `explore`: from seeds to candidates in one call
    reference.py    what calibrates the features, for every element
    correlation.py  how many of the walkers' snapshots are independent
    relax.py        positions and cell at a pressure, many structures at once
    vacuum.py       how slabs, layers, wires and molecules are recognised
    relax_layers.py their relaxation: across vacuum a cell keeps its length

Below them: batch.py (structures to one batch, sums over its systems) and precision.py (dynamics in
double precision over models of any precision).
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
