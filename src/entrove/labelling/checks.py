"""What can be checked before anything runs.

Is the engine installed, does it know the elements, is there a Slurm, does a label fit into a job?
"""

from collections.abc import Iterable

from entrove.errors import ConfigError, LabelError
from entrove.execution.checks import check_usable
from entrove.execution.settings import LocalExecution, SlurmExecution
from entrove.labelling.config import LabellingConfig


def check_executor(config: LabellingConfig) -> None:
    """Raise `LabelError` unless the executor can be used, and gives each label its time."""
    executor = config.executor
    try:
        check_usable(executor)
    except ConfigError as error:
        raise LabelError(str(error)) from error
    if isinstance(executor, SlurmExecution):
        longest_s = config.longest_attempt_s
        if longest_s > executor.walltime_s:
            raise LabelError(
                f"executor slurm: a label may take {longest_s:g} s (time_limit_s "
                f"{config.time_limit_s:g} times longer_try_factor "
                f"{config.longer_try_factor:g}), but a job ends after "
                f"{executor.walltime_s} s (walltime {executor.walltime}); raise "
                "walltime or lower time_limit_s"
            )


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
