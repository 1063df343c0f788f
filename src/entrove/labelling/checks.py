"""What can be known before anything runs: is the engine there, does it know the elements, is Slurm there."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from entrove.errors import LabelError
from entrove.labelling.config import LabellingConfig, LocalExecution, ParslExecution, SlurmExecution
from entrove.labelling.executor import parsl_config


def check_labelling(config: LabellingConfig, species: Iterable[str]) -> None:
    """Raise `EntroveError` unless labels of these chemical symbols can be computed as configured.

    A program that a job script prepares (`module load`) is not looked for on this machine.
    """
    match config.executor:
        case SlurmExecution():
            if shutil.which("sbatch") is None:
                raise LabelError(
                    "executor slurm: there is no 'sbatch' on PATH; run on a login node of the cluster, or use "
                    "executor: {name: local}"
                )
        case ParslExecution():
            parsl_config(config.executor, Path())
        case LocalExecution():
            pass
    engine = config.engine
    if isinstance(config.executor, LocalExecution) or not engine.is_program:
        engine.check_available()
    missing = engine.uncovered(species)
    if missing:
        raise LabelError(
            f"engine {engine.kind}: knows nothing about {', '.join(missing)}; give it what it needs for these "
            "elements (dataset, pseudopotential, model), use another engine, or remove them from the seeds"
        )
