"""How engines run in workers, from the campaign down to the engine.

Read in this order, which is that of the processes; each starts the next one::

    executor.py          in the campaign: AttemptExecutor sends attempts to Parsl's workers
    worker.py            in a Parsl worker: keeps one engine process and the time limit
    engine_process.py    the program that imports an engine and computes label after label

A worker and an engine are two processes, so that the worker survives what an engine does to its
own. Public is `AttemptExecutor`, for several labellers that share workers. Parsl and its workers
are `entrove.execution`.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
