"""Where engines run: Parsl, configured for this machine, for Slurm, or by the user."""

import importlib
import logging
import math
import os
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from entrove.errors import LabelError
from entrove.labelling.attempt import Attempt, AttemptEnd
from entrove.labelling.config import AnyExecution, LocalExecution, ParslExecution, SlurmExecution
from entrove.labelling.engines.external import CORES_VARIABLE
from entrove.labelling.execution.worker import run_attempt

if TYPE_CHECKING:
    from parsl.config import Config

logger = logging.getLogger(__name__)

LABEL = "labels"
LOG_FILE = "parsl.log"
POLL_S = 1.0
"""How often Parsl looks after its workers: the first ones start after this time."""
_CORE_VARIABLES = (CORES_VARIABLE, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_MPI_INSIDE_A_PILOT_JOB = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "SRUN_CPUS_PER_TASK": "$SLURM_CPUS_PER_TASK",
}
"""A pilot job is one task with many cores, so Open MPI (4, then 5) counts one slot and binds the ranks of every
worker to the same first cores, and a recent srun starts the pool of workers with one core of its own."""


class AttemptExecutor:
    """Run attempts at labels through Parsl; a context manager that leaves no process behind."""

    def __init__(self, execution: AnyExecution, run_folder: Path):
        self._execution = execution
        self._run_folder = run_folder.absolute()
        self._capacity = execution.capacity
        self._kernel: Any = None
        self._log: logging.Handler | None = None
        self._run: Callable[[Attempt], Future[AttemptEnd]] | None = None

    def __enter__(self) -> "AttemptExecutor":
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
        """Labels that can be computed at the same time; a user's own Parsl configuration tells when it started."""
        return self._capacity

    @property
    def running(self) -> bool:
        """Whether Parsl was started."""
        return self._kernel is not None

    def start(self) -> None:
        """Start Parsl. Raises `LabelError` when it cannot start."""
        from parsl import DataFlowKernel, python_app

        config = parsl_config(self._execution, self._run_folder)
        self._capacity = max(count_workers(config), self._execution.capacity)
        self._run_folder.mkdir(parents=True, exist_ok=True)
        _put_scripts_on_path()
        self._log = _open_log(self._run_folder / LOG_FILE)
        try:
            self._kernel = DataFlowKernel(config)
        except (
            Exception
        ) as error:  # Parsl raises a bare Exception when its interchange does not answer
            self._close_log()
            raise LabelError(
                f"Parsl cannot start in {self._run_folder}: {error}; see its parsl.log there"
            ) from error
        # No label is Parsl's to remember: `cache` here is Parsl's own memoization.
        self._run = python_app(run_attempt, data_flow_kernel=self._kernel, cache=False)

    def submit(self, attempt: Attempt) -> "Future[AttemptEnd]":
        """Send an attempt to the next free worker."""
        if self._run is None:
            raise LabelError("the executor was not started; use it in a `with` statement")
        return self._run(attempt)

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


def _open_log(path: Path) -> logging.Handler:
    log = logging.FileHandler(path)
    log.setLevel(logging.INFO)
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    parsl = logging.getLogger("parsl")
    parsl.setLevel(logging.INFO)
    parsl.addHandler(log)
    return log


def worker_was_lost(error: BaseException) -> bool:
    """Whether an attempt failed because its worker went away: job cancelled, node failed, killed."""
    from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

    return isinstance(error, ManagerLost | WorkerLost)


def parsl_config(execution: AnyExecution, run_folder: Path) -> "Config":
    """The Parsl configuration of an `executor` key. Raises `LabelError` when it cannot be made."""
    match execution:
        case LocalExecution():
            return _configure(_local_executor(execution), run_folder)
        case SlurmExecution():
            return _configure(_slurm_executor(execution, run_folder), run_folder)
        case ParslExecution():
            return _import_config(execution.config)


def count_workers(config: "Config") -> int:
    """Workers of a Parsl configuration when all its jobs run, as far as it says how many there are."""
    counted = 0
    for executor in config.executors:
        per_node = getattr(executor, "max_workers_per_node", None) or getattr(
            executor, "max_threads", 1
        )
        provider = getattr(executor, "provider", None)
        nodes = provider.max_blocks * provider.nodes_per_block if provider is not None else 1
        counted += int(per_node) * nodes if math.isfinite(per_node) else 0
    return counted


def _configure(executor: Any, run_folder: Path) -> "Config":
    from parsl.config import Config

    return Config(
        executors=[executor],
        run_dir=str(run_folder),
        usage_tracking=0,
        retries=0,  # the labeller knows which failures are worth another try
        strategy="simple",
        strategy_period=POLL_S,
        initialize_logging=False,  # Parsl writes a debug log and never closes the file
    )


def _local_executor(execution: LocalExecution) -> Any:
    from parsl.executors import HighThroughputExecutor
    from parsl.jobs.error_handlers import windowed_error_handler

    from entrove.labelling.execution.local_processes import LocalProcesses, tethered

    return HighThroughputExecutor(
        label=LABEL,
        address="127.0.0.1",
        encrypted=True,
        block_error_handler=windowed_error_handler,  # gives up after three failed jobs in a row
        max_workers_per_node=execution.workers,
        # More workers than cores is the user's decision; Parsl would silently start fewer.
        cores_per_worker=1e-3,
        provider=LocalProcesses(_worker_environment(execution.cores_per_worker)),
        launch_cmd=_launch_command(),
        interchange_launch_cmd=tethered(_module("interchange")),
    )


def _slurm_executor(execution: SlurmExecution, run_folder: Path) -> Any:
    from parsl.executors import HighThroughputExecutor
    from parsl.jobs.error_handlers import windowed_error_handler
    from parsl.launchers import SimpleLauncher, SrunLauncher

    from entrove.labelling.execution.local_processes import tethered
    from entrove.labelling.execution.slurm import PolledSlurm

    if any(character.isspace() for character in str(run_folder)):
        raise LabelError(
            f"executor slurm: {run_folder} has a blank in its path, which sbatch scripts cannot have; "
            "give the campaign a folder without blanks"
        )
    environment = _worker_environment(execution.cores_per_worker)
    exports = [
        f"export {name}={value}" for name, value in (environment | _MPI_INSIDE_A_PILOT_JOB).items()
    ]
    return HighThroughputExecutor(
        label=LABEL,
        address=execution.address,
        encrypted=True,
        block_error_handler=windowed_error_handler,  # gives up after three failed jobs in a row
        max_workers_per_node=execution.workers_per_node,
        cores_per_worker=1e-3,
        heartbeat_period=max(1, execution.lost_after_s // 4),
        heartbeat_threshold=execution.lost_after_s,
        provider=PolledSlurm(
            poll_s=execution.poll_s,
            partition=execution.partition,
            account=execution.account,
            walltime=execution.walltime,
            nodes_per_block=execution.nodes_per_job,
            cores_per_node=execution.workers_per_node * execution.cores_per_worker,
            init_blocks=1,
            min_blocks=execution.min_jobs,
            max_blocks=execution.max_jobs,
            exclusive=False,
            scheduler_options=execution.scheduler_options,
            worker_init="\n".join([*exports, execution.prepare]),
            launcher=SimpleLauncher() if execution.nodes_per_job == 1 else SrunLauncher(),
        ),
        launch_cmd=_launch_command(),
        interchange_launch_cmd=tethered(_module("interchange")),
    )


def _worker_environment(cores: int) -> dict[str, str]:
    return {str(name): str(cores) for name in _CORE_VARIABLES}


def _put_scripts_on_path() -> None:
    # A Parsl configuration of the user's own starts Parsl's scripts by name, and `entrove` may have
    # been called by its full path. Our own configurations start them as modules.
    scripts = sysconfig.get_path("scripts")
    folders = os.environ.get("PATH", "").split(os.pathsep)
    if scripts not in folders:
        os.environ["PATH"] = os.pathsep.join([scripts, *folders])


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"parsl.executors.high_throughput.{name}"]


def _launch_command() -> str:
    from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

    command = DEFAULT_LAUNCH_CMD.replace(
        "process_worker_pool.py", "exec " + " ".join(_module("process_worker_pool"))
    )
    # A campaign folder may have a blank in its name.
    return command.replace("{logdir}", "'{logdir}'").replace("{cert_dir}", "'{cert_dir}'")


def _import_config(path: str) -> "Config":
    module_name, _, attribute = path.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), attribute)()
    except Exception as error:  # what the user's module and function raise is theirs
        raise LabelError(
            f"executor parsl: cannot import '{path}' ({type(error).__name__}: {error}); write 'module:function' "
            "of a function without arguments that returns a parsl.Config, and put its module on PYTHONPATH"
        ) from error
    from parsl.config import Config

    if not isinstance(made, Config):
        raise LabelError(
            f"executor parsl: '{path}' returned {type(made).__name__}; it must return a parsl.Config"
        )
    return made
