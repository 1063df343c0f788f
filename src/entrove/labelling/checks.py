"""What can be known before anything runs: is the engine there, does it know the elements, is Slurm there."""

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
from entrove.labelling.execution.executor import parsl_config


def check_executor(config: LabellingConfig) -> None:
    """Raise `LabelError` unless labels can be sent to where the configuration says, and have the time they may take."""
    match config.executor:
        case SlurmExecution():
            if shutil.which("sbatch") is None:
                raise LabelError(
                    "executor slurm: there is no 'sbatch' on PATH; run on a login node of the cluster, or use "
                    "executor: {name: local}"
                )
            longest_s = config.time_limit_s * config.longer_try_factor
            if longest_s > config.executor.walltime_s:
                raise LabelError(
                    f"executor slurm: a label may take {longest_s:g} s (time_limit_s {config.time_limit_s:g} times "
                    f"longer_try_factor {config.longer_try_factor:g}), but a job ends after "
                    f"{config.executor.walltime_s} s (walltime {config.executor.walltime}); raise walltime or lower "
                    "time_limit_s"
                )
        case ParslExecution():
            parsl_config(config.executor, Path())
        case LocalExecution():
            pass


def check_engine(config: LabellingConfig, species: Iterable[str]) -> None:
    """Raise `EntroveError` unless the engine can compute labels of these chemical symbols.

    A program is looked for on this machine only when labels run here: elsewhere a job script prepares it
    (`module load`).
    """
    engine = config.engine
    if isinstance(config.executor, LocalExecution):
        engine.check_available()
    else:
        engine.check_settings()
    missing = engine.uncovered(species)
    if missing:
        raise LabelError(
            f"the engine '{engine.kind}' has no data for {', '.join(missing)}; choose another engine, give it what it "
            "needs for these elements (dataset, pseudopotential, model), or remove them from the seeds"
        )
