"""Give attempts at labels to Parsl's workers."""

from concurrent.futures import Future
from pathlib import Path

from entrove.errors import ConfigError, LabelError
from entrove.execution.pool import WorkerPool
from entrove.execution.settings import AnyExecution
from entrove.labelling.attempt import Attempt, AttemptResult
from entrove.labelling.execution.worker import run_in_engine_process


class AttemptExecutor(WorkerPool[Attempt, AttemptResult]):
    """Run attempts at labels through Parsl; a context manager that leaves no process behind.

    `execution` is the value of the key `labelling.executor` of a configuration. Parsl writes its
    log and what its workers print into `run_folder`. `longest_attempt_s` is the time limit of the
    longest attempt, in s, by which Slurm jobs know when to take no more.
    """

    def __init__(
        self,
        execution: AnyExecution,
        run_folder: Path,
        longest_attempt_s: float | None = None,
    ):
        super().__init__(run_in_engine_process, execution, run_folder, longest_attempt_s)

    def start(self) -> None:
        """Start Parsl. Raises `LabelError` when it cannot start."""
        try:
            super().start()
        except ConfigError as error:
            raise LabelError(str(error)) from error

    def submit(self, task: Attempt) -> "Future[AttemptResult]":
        """Send an attempt to the next free worker."""
        try:
            return super().submit(task)
        except ConfigError as error:
            raise LabelError(str(error)) from error
