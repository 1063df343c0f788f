"""What can be checked of an executor before anything runs in it."""

import shutil
from pathlib import Path

from entrove.errors import ConfigError
from entrove.execution.settings import (
    LocalExecution,
    ParslExecution,
    SlurmExecution,
    ThisMachine,
)


def check_usable(
    execution: LocalExecution | ThisMachine | SlurmExecution | ParslExecution,
) -> None:
    """Raise `ConfigError` unless an executor can be used from this machine."""
    match execution:
        case SlurmExecution():
            if shutil.which("sbatch") is None:
                raise ConfigError(
                    "executor slurm: there is no 'sbatch' on PATH; run on a login node of the "
                    "cluster, or use executor: {name: local}"
                )
        case ParslExecution():
            # Not at the top of the file: it loads Parsl, and most campaigns do not need it here.
            from entrove.execution.parsl_config import parsl_config

            parsl_config(execution, Path())
        case LocalExecution() | ThisMachine():
            pass
