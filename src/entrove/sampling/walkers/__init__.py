"""Walkers: many biased trajectories in one batch.

Read in this order:

    grid.py          which walkers there are: phase x pressure x temperature x bias
    run.py           `init_walkers`, `thermalise`, `run_chunk`: from one state to the next
    state.py         `WalkersState`: everything that a run needs to continue
    stepping.py      one step after the other: strengths, guards, restarts, snapshots
    dynamics.py      Langevin dynamics, NVT and NPT
    strength.py      how strongly each walker is biased
    guards.py        which systems have left the physical range, and why
    restarts.py      what becomes of a walker that did
    checkpoint.py    the file of a state
    trajectories.py  frames of a run as ASE trajectories
"""
