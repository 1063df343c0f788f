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

import importlib
from typing import Any

__all__ = ["AttemptExecutor"]  # loaded on first use, below


def __getattr__(name: str) -> Any:
    # Loaded on first use: workers and engine processes, which live here, do without it.
    if name in __all__:
        module = importlib.import_module("entrove.labelling.execution.executor")
        return getattr(module, name)
    raise AttributeError(f"module 'entrove.labelling.execution' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
