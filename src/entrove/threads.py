"""Spread independent pieces of work over the CPU threads that torch may use.

LAPACK solves a batch of small matrices one after the other, and for small tensors threads inside
an operation cost more time than they save. So pieces run in parallel instead, each on one thread;
torch and LAPACK release the GIL.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Barrier

import torch

_claimed: ContextVar[int | None] = ContextVar("entrove_claimed_threads", default=None)


def usable_threads(wanted: int) -> int:
    """Return `wanted`, or for 0 the number of cores that this process is allowed to use."""
    return wanted or len(os.sched_getaffinity(0))


def thread_count(device: torch.device) -> int:
    """Return how many pieces run at a time: torch's thread count on a CPU, 1 on a GPU."""
    if device.type != "cpu":
        return 1
    return _claimed.get() or torch.get_num_threads()


@contextmanager
def claim_threads(device: torch.device) -> Iterator[None]:
    """Reserve torch's threads for pieces of work; anything in between runs on the calling thread.

    Otherwise OpenMP's own threads, which busy-wait for a while after each parallel loop, occupy
    the cores that the pieces need (measured: twice the processor time, and slower than one
    thread).
    """
    threads = thread_count(device)
    if threads == 1 or _claimed.get() is not None:
        yield
        return
    token = _claimed.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _claimed.reset(token)


def even_pieces(least: int, device: torch.device) -> int:
    """Return the number of pieces, at least `least`, that keeps all threads busy to the end."""
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
    all_started = Barrier(threads + 1)

    def start() -> None:
        # A thread inherits torch's last setting on its first query, so query before setting.
        torch.get_num_threads()
        torch.set_num_threads(1)
        all_started.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="entrove", initializer=start)
    for _ in range(threads):
        pool.submit(torch.get_num_threads)
    all_started.wait()
    # The workers have changed what later threads inherit; restore the caller's choice.
    torch.set_num_threads(before)
    return pool
