"""What can be checked before anything runs.

Is the engine installed, does it know the elements, is there a Slurm, does a label fit into a job?
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from entrove.errors import LabelError
from entrove.labelling.config import (
    LabellingConfig,
    LocalExecution,
    ParslExecution,
    SlurmExecution,
)


def check_executor(config: LabellingConfig) -> None:
    """Raise `LabelError` unless the executor can be used, and gives each label its time."""
    match config.executor:
        case SlurmExecution():
            if shutil.which("sbatch") is None:
                raise LabelError(
                    "executor slurm: there is no 'sbatch' on PATH; run on a login node of the "
                    "cluster, or use executor: {name: local}"
                )
            longest_s = config.time_limit_s * config.longer_try_factor
            if longest_s > config.executor.walltime_s:
                raise LabelError(
                    f"executor slurm: a label may take {longest_s:g} s (time_limit_s "
                    f"{config.time_limit_s:g} times longer_try_factor "
                    f"{config.longer_try_factor:g}), but a job ends after "
                    f"{config.executor.walltime_s} s (walltime {config.executor.walltime}); raise "
                    "walltime or lower time_limit_s"
                )
        case ParslExecution():
            # Not at the top of the file: it loads Parsl, and most campaigns do not need it here.
            from entrove.labelling.execution.parsl_config import parsl_config

            parsl_config(config.executor, Path())
        case LocalExecution():
            pass


def check_engine(config: LabellingConfig, species: Iterable[str]) -> None:
    """Raise `EntroveError` unless the engine can compute labels of these chemical symbols.

    A program is looked for on this machine only when labels run here: elsewhere a job script
    prepares it (`module load`).
    """
    engine = config.engine
    if isinstance(config.executor, LocalExecution):
        engine.check_available()
    else:
        engine.check_settings()
    missing = engine.uncovered(species)
    if missing:
        raise LabelError(
            f"the engine '{engine.kind}' has no data for {', '.join(missing)}; choose another "
            "engine, give it what it needs for these elements (dataset, pseudopotential, model), "
            "or leave these elements out"
        )
