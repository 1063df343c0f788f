"""Start a training process, follow it, and collect what it made."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from entrove.errors import ModelError
from entrove.structures import read_structures, write_structures
from entrove.training.job import Epoch, Result, prepare_folder, read_epochs, read_job
from entrove.training.request import Request
from entrove.training.trained_model import TrainedModel
from entrove.training.trainers import trainer_for
from entrove.training.worker_process import EXIT_DIVERGED, EXIT_USER_ERROR, DivergenceError

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def launch_training(
    request: Request, folder: Path, on_epoch: Callable[[Epoch], None] | None = None
) -> TrainedModel:
    """Train in a process of its own, until its `result.json` is there.

    Args:
        request: What to train, with a learning rate that is a number.
        folder: Where the training keeps its files; it belongs to this one alone.
        on_epoch: Called in this process after every epoch.

    An interrupted training continues after its last epoch, and a finished one is read.

    Raises `ModelError` with the worker's own message when it ends without a result, and
    `DivergenceError` when its loss is no longer finite.
    """
    job = request.job()
    prepare_folder(folder, job)
    if not (folder / "result.json").exists():
        write_structures(folder / "labels.xyz", request.structures)
        if replayed := request.replayed():
            write_structures(folder / "replay.xyz", replayed)
        _run_worker(trainer_for(job.config.framework).worker, folder, job.threads, on_epoch)
    return read_trained(folder)


def read_trained(folder: Path) -> TrainedModel:
    """Read the result of a finished training; `ModelError` when it is not finished."""
    job, path = read_job(folder), folder / "result.json"
    if job is None or not path.exists():
        raise ModelError(f"{folder} holds no finished training; train there first")
    result = Result.model_validate_json(path.read_text())
    return TrainedModel(
        folder=folder,
        checkpoint=folder / trainer_for(job.config.framework).checkpoint,
        framework=job.config.framework,
        base=Path(job.base).name,
        seed=job.seed,
        training_labels=len(read_structures(folder / "labels.xyz")),
        training_set_hash=job.labels_hash,
        epochs_run=result.epochs_run,
        best_epoch=result.best_epoch,
        training_loss=result.training_loss,
        watched_loss=result.watched_loss,
        reference_shifts_eV=result.reference_shifts_eV,
        seconds=result.seconds,
    )


def _run_worker(
    module: str, folder: Path, threads: int, on_epoch: Callable[[Epoch], None] | None
) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # Threads that spin while they wait make training five times slower on shared cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # makes cuBLAS deterministic
    }
    (folder / "error.txt").unlink(missing_ok=True)
    command = [sys.executable, "-m", module, str(folder)]
    with (
        (folder / "worker.log").open("ab") as log,
        # The worker ends when this pipe closes, also when this process is killed.
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment
        ) as worker,
    ):
        try:
            reported = 0
            while worker.poll() is None:
                time.sleep(POLL_SECONDS)
                reported = _report_epochs(folder, reported, on_epoch)
            _report_epochs(folder, reported, on_epoch)
        except BaseException:
            worker.kill()
            raise
    if worker.returncode == EXIT_DIVERGED:
        raise DivergenceError((folder / "error.txt").read_text())
    if worker.returncode != 0:
        raise ModelError(_explain_failure(folder, worker.returncode))


def _report_epochs(folder: Path, reported: int, on_epoch: Callable[[Epoch], None] | None) -> int:
    """Call `on_epoch` for each epoch that is new; return how many have been reported."""
    if on_epoch is None:
        return reported
    epochs = read_epochs(folder)
    for epoch in epochs[reported:]:
        on_epoch(epoch)
    return max(reported, len(epochs))


def _explain_failure(folder: Path, returncode: int) -> str:
    if returncode == EXIT_USER_ERROR and (folder / "error.txt").exists():
        return (folder / "error.txt").read_text()
    tail = (folder / "worker.log").read_text(errors="replace").splitlines()[-5:]
    return (
        f"training ended with exit code {returncode}; the log {folder / 'worker.log'} ends with: "
        f"{' | '.join(tail)}; the same call continues after the last finished epoch"
    )
