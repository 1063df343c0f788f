"""What Parsl is told: workers on this machine, in Slurm jobs, or as the user configured them."""

import importlib
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.launchers import SimpleLauncher, SrunLauncher

from entrove.errors import ConfigError
from entrove.execution.parsl_providers import LocalProcesses, PolledSlurm
from entrove.execution.settings import (
    CORES_VARIABLE,
    AnyExecution,
    LocalExecution,
    ParslExecution,
    SlurmExecution,
)
from entrove.execution.watchdog import with_watchdog

LABEL = "workers"
POLL_S = 1.0
"""How often Parsl looks after its workers: the first ones start after this time."""
DRAIN_MARGIN_S = 120.0
"""What a job and a task need to start, beyond the time limit of the task, in s."""
LEAST_WORK_S = 300.0
"""A job takes new tasks for so long, in s, however long they may take.

One that took none would be replaced by another such job, again and again.
"""
_CORE_VARIABLES = (CORES_VARIABLE, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_MPI_INSIDE_A_PILOT_JOB = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "SRUN_CPUS_PER_TASK": "$SLURM_CPUS_PER_TASK",
}
"""Settings of MPI for a pilot job, which is one task with many cores.

Open MPI (4, then 5) counts one slot there and binds the ranks of every worker to the same first
cores, and a recent srun starts the pool of workers with one core of its own.
"""


class QuotingExecutor(HighThroughputExecutor):
    """Parsl's executor, in folders whose names have blanks, quotes or braces.

    Parsl puts their paths into the command of its workers as they are.
    """

    def initialize_scaling(self) -> None:
        """Put the paths in, quoted for the shell, and leave the rest to Parsl."""
        for name, path in (("{logdir}", self.worker_logdir), ("{cert_dir}", self.cert_dir)):
            self.launch_cmd = self.launch_cmd.replace(name, _in_launch_command(path))
        super().initialize_scaling()


def parsl_config(
    execution: AnyExecution, run_folder: Path, longest_task_s: float | None = None
) -> Config:
    """The Parsl configuration of an `executor` key.

    Args:
        execution: The value of the key.
        run_folder: Where Parsl writes its log.
        longest_task_s: How long a task may take, in s. A Slurm job takes no new one when less of
            its walltime is left. None: tasks continue in another job when theirs ends.

    Raises `ConfigError` when there is none.
    """
    match execution:
        case LocalExecution():
            return _configure(_local_executor(execution), run_folder)
        case SlurmExecution():
            return _configure(_slurm_executor(execution, run_folder, longest_task_s), run_folder)
        case ParslExecution():
            return _import_config(execution.config)


def count_workers(config: Config) -> int:
    """Workers of a Parsl configuration when all its jobs run, as far as it tells."""
    counted = 0
    for executor in config.executors:
        per_node = getattr(executor, "max_workers_per_node", None) or getattr(
            executor, "max_threads", 1
        )
        provider = getattr(executor, "provider", None)
        nodes = provider.max_blocks * provider.nodes_per_block if provider is not None else 1
        counted += int(per_node) * nodes if math.isfinite(per_node) else 0
    return counted


def _configure(executor: Any, run_folder: Path) -> Config:
    return Config(
        executors=[executor],
        run_dir=str(run_folder),
        usage_tracking=0,
        retries=0,  # who submits knows which failures are worth another try
        strategy="simple",
        strategy_period=POLL_S,
        initialize_logging=False,  # Parsl writes a debug log and never closes the file
    )


def _local_executor(execution: LocalExecution) -> Any:
    return QuotingExecutor(
        label=LABEL,
        address="127.0.0.1",
        encrypted=True,
        block_error_handler=windowed_error_handler,  # gives up after three failed jobs in a row
        max_workers_per_node=execution.workers,
        # More workers than cores is the user's decision; Parsl would silently start fewer.
        cores_per_worker=1e-3,
        provider=LocalProcesses(_worker_environment(execution.cores_per_worker)),
        launch_cmd=_launch_command(),
        interchange_launch_cmd=with_watchdog(_module("interchange")),
    )


def _slurm_executor(
    execution: SlurmExecution, run_folder: Path, longest_task_s: float | None
) -> Any:
    execution.check_folder(run_folder)
    environment = _worker_environment(execution.cores_per_worker)
    exports = [
        f"export {name}={value}" for name, value in (environment | _MPI_INSIDE_A_PILOT_JOB).items()
    ]
    return QuotingExecutor(
        label=LABEL,
        address=execution.address,
        encrypted=True,
        block_error_handler=windowed_error_handler,  # gives up after three failed jobs in a row
        max_workers_per_node=execution.workers_per_node,
        cores_per_worker=1e-3,
        heartbeat_period=max(1, execution.lost_after_s // 4),
        heartbeat_threshold=execution.lost_after_s,
        drain_period=_drain_period(execution, longest_task_s),
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
        interchange_launch_cmd=with_watchdog(_module("interchange")),
    )


def _drain_period(execution: SlurmExecution, longest_task_s: float | None) -> int | None:
    """Time in s after which a job takes no new tasks, since they could outlive it."""
    if longest_task_s is None:
        return None
    return int(max(LEAST_WORK_S, execution.walltime_s - longest_task_s - DRAIN_MARGIN_S))


def _worker_environment(cores: int) -> dict[str, str]:
    return {str(name): str(cores) for name in _CORE_VARIABLES}


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"parsl.executors.high_throughput.{name}"]


def _launch_command() -> str:
    module = " ".join(map(_in_launch_command, _module("process_worker_pool")))
    return DEFAULT_LAUNCH_CMD.replace("process_worker_pool.py", f"exec {module}")


def _in_launch_command(word: object) -> str:
    """A word, quoted for the shell, for a command that Parsl formats twice."""
    return shlex.quote(str(word)).replace("{", "{{{{").replace("}", "}}}}")


def _import_config(path: str) -> Config:
    module_name, _, attribute = path.partition(":")
    try:
        config = getattr(importlib.import_module(module_name), attribute)()
    except Exception as error:  # the user's module and function can raise anything
        raise ConfigError(
            f"executor parsl: cannot import '{path}' ({type(error).__name__}: {error}); write "
            "'module:function' of a function without arguments that returns a parsl.Config, and "
            "put its module on PYTHONPATH"
        ) from error
    if not isinstance(config, Config):
        raise ConfigError(
            f"executor parsl: '{path}' returned {type(config).__name__}; it must return a "
            "parsl.Config"
        )
    return config
