"""End a process together with everything that it started."""

import contextlib

import psutil


def kill_process_tree(pid: int, *, grace_s: float = 0.0) -> None:
    """Kill `pid` and all its descendants, also those in process groups of their own.

    With `grace_s` (seconds) the tree is asked to end first, so that a launcher such as mpirun can
    end its ranks. Returns when all are gone, or after five seconds: a process in the middle of a
    disk access cannot be killed earlier.
    """
    try:
        root = psutil.Process(pid)
        processes = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    if grace_s > 0:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, processes = psutil.wait_procs(processes, timeout=grace_s)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5.0)
