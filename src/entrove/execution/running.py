"""Programs on this machine or in workers elsewhere, followed until they end."""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from entrove.errors import EntroveError
from entrove.execution.pool import WorkerPool, worker_was_lost
from entrove.execution.program import LOG_FILE, Program, run_in_worker, start_program
from entrove.execution.settings import (
    LocalTrainings,
    ParslExecution,
    SlurmExecution,
    ThisMachine,
)

logger = logging.getLogger(__name__)

POLL_HERE_S = 0.2
POLL_ELSEWHERE_S = 1.0
"""How often progress is looked for, in s; files of other machines show up late in any case."""
MAX_LOSSES = 3
"""A program that loses its worker so often, without getting on in between, is given up."""
GRACE_S = 60.0
"""A process of a lost job may live so much longer, in s, than it takes to be missed."""
PARSL_LOST_AFTER_S = 120.0
"""Parsl's own default of the time, in s, after which a worker without its campaign ends."""


@runtime_checkable
class Running(Protocol):
    """A program that was started."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs.

        Raises `EntroveError` when it cannot run where it was sent.
        """
        ...

    def end(self) -> None:
        """End it."""
        ...


@runtime_checkable
class Programs(Protocol):
    """Where programs run."""

    elsewhere: bool
    """Whether that is another machine: devices and cores are then found out there."""
    poll_s: float

    @property
    def capacity(self) -> int:
        """Programs that can run at the same time."""
        ...

    def threads(self, wanted: int) -> int:
        """Return the CPU threads of a program, for those of this machine's that are `wanted`.

        0 stands for all that it may use where it runs.
        """
        ...

    def start(self, program: Program) -> Running:
        """Start a program, or send it to where it will start."""
        ...

    def stop(self) -> None:
        """End the workers, whatever they are doing."""
        ...


class ProgramsHere:
    """Programs that are child processes of this one."""

    elsewhere = False
    poll_s = POLL_HERE_S

    def __init__(self, workers: int = 1):
        self.capacity = workers

    def threads(self, wanted: int) -> int:
        """Programs that run at the same time share the threads."""
        return max(1, (wanted or len(os.sched_getaffinity(0))) // self.capacity)

    def start(self, program: Program) -> Running:
        """Start it at once."""
        return _Child(start_program(program))

    def stop(self) -> None:
        """Nothing outlives `run_programs`."""


class ProgramsElsewhere:
    """Programs in Parsl's workers, which start with the first one; see `WorkerPool`."""

    elsewhere = True
    poll_s = POLL_ELSEWHERE_S

    def __init__(self, execution: SlurmExecution | ParslExecution, run_folder: Path):
        self._execution = execution
        self._pool = WorkerPool(run_in_worker, execution, run_folder)

    @property
    def capacity(self) -> int:
        """Programs that can run at the same time, as far as it is known."""
        return self._pool.capacity

    def threads(self, wanted: int) -> int:
        """As many as a worker has cores; in a Parsl configuration of the user's own, `wanted`."""
        if isinstance(self._execution, SlurmExecution):
            return self._execution.cores_per_worker
        return wanted

    def start(self, program: Program) -> Running:
        """Send it to the next free worker."""
        if not self._pool.running:
            self._pool.start()
        lost_after_s = (
            float(self._execution.lost_after_s)
            if isinstance(self._execution, SlurmExecution)
            else PARSL_LOST_AFTER_S
        )
        return _Submitted(self._pool, replace(program, waits_s=lost_after_s + GRACE_S))

    def stop(self) -> None:
        """End the workers and their jobs."""
        self._pool.stop()


class Executors:
    """Workers of the stages of a campaign; stages with equal settings share them.

    A context manager that leaves no process and no job behind.
    """

    def __init__(self) -> None:
        self._open: dict[SlurmExecution | ParslExecution, Programs] = {}

    def __enter__(self) -> "Executors":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def programs(
        self, execution: ThisMachine | SlurmExecution | ParslExecution, run_folder: Path
    ) -> Programs:
        """Return where programs run with these settings; workers start with the first program."""
        if isinstance(execution, ThisMachine):
            workers = execution.workers if isinstance(execution, LocalTrainings) else 1
            return ProgramsHere(workers)
        if execution not in self._open:
            self._open[execution] = ProgramsElsewhere(execution, run_folder)
        return self._open[execution]

    def stop(self) -> None:
        """End all workers."""
        while self._open:
            _, programs = self._open.popitem()
            programs.stop()


def run_programs(
    programs: Sequence[Program], where: Programs, on_poll: Callable[[], None]
) -> Iterator[tuple[int, int]]:
    """Run programs, as many at a time as there is room for, and yield each one's end.

    Args:
        programs: What to run.
        where: Where they run.
        on_poll: Called again and again while they run, to look at their progress.

    Yields (index into `programs`, exit code) as they end. When the caller stops before, those that
    still run are ended.
    """
    waiting = list(range(len(programs)))
    running: dict[int, Running] = {}
    try:
        while waiting or running:
            # Workers elsewhere keep a queue of their own, by which Parsl decides about jobs.
            while waiting and (where.elsewhere or len(running) < where.capacity):
                index = waiting.pop(0)
                running[index] = where.start(programs[index])
            time.sleep(where.poll_s)
            on_poll()
            for index, program in list(running.items()):
                code = program.poll()
                if code is not None:
                    on_poll()
                    del running[index]
                    yield index, code
    finally:
        for program in running.values():
            program.end()


class _Child:
    """A program that is a child process."""

    def __init__(self, process: subprocess.Popen[bytes]):
        self._process = process

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._close()
        return code

    def end(self) -> None:
        self._process.kill()
        self._close()

    def _close(self) -> None:
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class _Submitted:
    """A program in a worker; when the worker is lost, it continues in another one."""

    def __init__(self, pool: WorkerPool[Program, int], program: Program):
        self._pool = pool
        self._program = program
        self._losses = 0
        self._progress = self._read_progress()
        self._future: Future[int] = pool.submit(program)

    def poll(self) -> int | None:
        if not self._future.done():
            return None
        error = self._future.exception()
        if error is None:
            return self._future.result()
        logs = f"{Path(self._program.folder) / LOG_FILE} and {self._pool.log.parent}"
        if not worker_was_lost(error):
            raise EntroveError(
                f"a job cannot run: {type(error).__name__}: {error}; correct that and start "
                f"again: what is finished is kept; logs: {logs}"
            ) from error
        progress = self._read_progress()
        self._losses = 1 if progress != self._progress else self._losses + 1
        self._progress = progress
        logger.warning("%s lost its worker: %s", self._program.folder, error)
        if self._losses >= MAX_LOSSES:
            raise EntroveError(
                f"{self._program.folder}: its job was lost {MAX_LOSSES} times without progress "
                f"between, last: {error}; a longer walltime or more memory may help; start again "
                f"to continue; logs: {logs}"
            )
        self._future = self._pool.submit(self._program)
        return None

    def end(self) -> None:
        # Parsl cannot cancel what runs: it ends with its worker.
        self._pool.stop()

    def _read_progress(self) -> bytes:
        path = Path(self._program.folder) / self._program.progress
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
