"""Start Parsl's workers, give them tasks, stop them."""

import logging
import os
import sysconfig
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

from entrove.errors import ConfigError
from entrove.execution.log_file import LogFile
from entrove.execution.settings import AnyExecution

LOG_FILE = "parsl.log"


class WorkerPool[Task, Result]:
    """Run one function on many tasks through Parsl; a context manager that leaves no process.

    Args:
        function: What a worker does with a task. Workers import it by its name.
        execution: The value of a key `executor` of a configuration.
        run_folder: Where Parsl writes its log and what its workers print.
        longest_task_s: How long a task may take, in s: a Slurm job takes no new one when less of
            its walltime is left. None where tasks continue in another job.
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        execution: AnyExecution,
        run_folder: Path,
        longest_task_s: float | None = None,
    ):
        self._function = function
        self._execution = execution
        self._run_folder = run_folder.absolute()
        self._longest_task_s = longest_task_s
        self._capacity = execution.capacity
        self._kernel: Any = None
        self._log: logging.Handler | None = None
        self._run: Callable[[Task], Future[Result]] | None = None

    def __enter__(self) -> "WorkerPool[Task, Result]":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ):
        self.stop()

    @property
    def capacity(self) -> int:
        """Tasks that can run at the same time.

        Of a user's own Parsl configuration it is known only after `start`.
        """
        return self._capacity

    @property
    def running(self) -> bool:
        """Whether Parsl was started."""
        return self._kernel is not None

    @property
    def log(self) -> Path:
        """Parsl's log; what workers print is in folders beside it."""
        return self._run_folder / LOG_FILE

    def start(self) -> None:
        """Start Parsl. Raises `ConfigError` when it cannot start."""
        from parsl import DataFlowKernel, python_app

        # Not at the top of the file: this loads Parsl, which is not needed where nothing is run.
        from entrove.execution.parsl_config import count_workers, parsl_config

        config = parsl_config(self._execution, self._run_folder, self._longest_task_s)
        self._capacity = max(count_workers(config), self._execution.capacity)
        self._run_folder.mkdir(parents=True, exist_ok=True)
        _put_scripts_on_path()
        self._log = _open_log(self.log)
        try:
            self._kernel = DataFlowKernel(config)
        # Parsl raises a bare Exception when its interchange does not answer.
        except Exception as error:
            self._close_log()
            raise ConfigError(
                f"Parsl cannot start in {self._run_folder}: {error}; see its parsl.log there"
            ) from error
        # No result is Parsl's to remember: `cache` here is Parsl's own memoization.
        self._run = python_app(self._function, data_flow_kernel=self._kernel, cache=False)

    def submit(self, task: Task) -> "Future[Result]":
        """Send a task to the next free worker."""
        if self._run is None:
            raise ConfigError("the workers were not started; use them in a `with` statement")
        return self._run(task)

    def stop(self) -> None:
        """End all workers at once, whatever they are doing."""
        if self._kernel is None:
            return
        kernel, self._kernel, self._run = self._kernel, None, None
        try:
            kernel.cleanup()
        finally:
            self._close_log()

    def _close_log(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            logging.getLogger("parsl").removeHandler(log)
            log.close()


def worker_was_lost(error: BaseException) -> bool:
    """Whether a task failed with its worker: job cancelled, node failed, process killed."""
    from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

    return isinstance(error, ManagerLost | WorkerLost)


def _open_log(path: Path) -> logging.Handler:
    log = LogFile(path)
    log.setLevel(logging.INFO)
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    parsl = logging.getLogger("parsl")
    parsl.setLevel(logging.INFO)
    parsl.addHandler(log)
    return log


def _put_scripts_on_path() -> None:
    # A Parsl configuration of the user's own starts Parsl's scripts by name, and `entrove` may
    # have been called by its full path. Our own configurations start them as modules.
    scripts = sysconfig.get_path("scripts")
    folders = os.environ.get("PATH", "").split(os.pathsep)
    if scripts not in folders:
        os.environ["PATH"] = os.pathsep.join([scripts, *folders])
