"""Spread independent pieces of work over the CPU threads that torch may use.

LAPACK solves a batch of small matrices one after the other, and threads inside a small matrix cost more
than they gain. So pieces run side by side instead, each on one thread; torch and LAPACK release the GIL.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def thread_count(device: torch.device) -> int:
    """How many pieces run at a time: torch's thread count on a CPU, one on a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def even_pieces(least: int, device: torch.device) -> int:
    """Number of pieces, at least `least`, that keeps all threads busy to the end."""
    threads = thread_count(device)
    return -(-least // threads) * threads


def map_over_threads[Task, Result](
    function: Callable[[Task], Result], tasks: Sequence[Task], device: torch.device
) -> list[Result]:
    """Apply `function` to every task; results in the order of the tasks."""
    threads = thread_count(device)
    if threads == 1 or len(tasks) == 1:
        return [function(task) for task in tasks]
    return list(_pool(threads).map(function, tasks))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # The thread count of torch is a property of each thread: the caller's does not change.
    return ThreadPoolExecutor(
        threads, thread_name_prefix="entrove-fingerprints", initializer=torch.set_num_threads, initargs=(1,)
    )
