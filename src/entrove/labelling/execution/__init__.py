"""Where engines run, from the campaign down to the engine.

Read in this order, which is that of the processes; each starts the next one::

    executor.py          in the campaign: AttemptExecutor starts Parsl and sends it attempts
    parsl_config.py      what Parsl is told: this machine, Slurm, or the user's own configuration
    parsl_providers.py   how Parsl starts its worker pools: child processes or Slurm jobs
    watchdog.py          a program around each local pool, which ends it with the campaign
    worker.py            in a Parsl worker: keeps one engine process and the time limit
    process_tree.py      ends a process with all that it started
    engine_process.py    the program that imports an engine and computes label after label

A worker and an engine are two processes, so that the worker survives what an engine does to its
own. Public is `AttemptExecutor`, for several labellers that share workers.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
