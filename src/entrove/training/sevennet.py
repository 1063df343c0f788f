"""Fine-tune a SevenNet model on labelled structures."""

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from ase import Atoms

from entrove._optional import require
from entrove.errors import ModelError
from entrove.structures import write_structures
from entrove.training.config import TrainingConfig
from entrove.training.fitting import Epoch
from entrove.training.job import Job, Result, prepare_folder
from entrove.training.sevennet_worker import EXIT_USER_ERROR
from entrove.training.trained_model import TrainedModel, training_set_hash

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def fine_tune(
    structures: Sequence[Atoms],
    base: str | Path,
    folder: Path,
    config: TrainingConfig,
    *,
    seed: int = 0,
    head_noise: float = 0.0,
    modal: str | None = None,
    device: str = "auto",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainedModel:
    """Tune `base` (a packaged SevenNet name or a checkpoint) to labels, in a process of its own.

    The same call on the same folder continues an interrupted run, and returns at once when the run is
    done. On CPUs, equal inputs with an equal number of threads give bitwise equal weights, interrupted
    or not. `on_epoch` is called in this process after every epoch.

    Raises `ModelError` when the model cannot be loaded or does not know an element, a label is missing,
    the loss diverges, or `folder` holds another run.
    """
    require("sevenn", extra="sevennet")
    check_labels(structures)
    folder = Path(folder).resolve()
    job = Job(
        base=str(Path(base).resolve()) if Path(base).exists() else str(base),
        base_hash=_identity_of(base),
        modal=modal,
        device=_resolve(device),
        threads=threads,
        seed=seed,
        head_noise=head_noise,
        labels_hash=training_set_hash(structures),
        # What only a committee reads must not make a finished member look like another run.
        config=config.model_copy(update={"committee_size": 1, "head_noise": 0.0}),
    )
    prepare_folder(folder, job)
    if not (folder / "result.json").exists():
        write_structures(folder / "labels.xyz", structures)
        _run_worker(folder, threads, on_epoch)
    result = Result.model_validate_json((folder / "result.json").read_text())
    return TrainedModel(
        folder=folder,
        checkpoint=folder / "model.pth",
        framework="sevennet",
        base=str(base),
        seed=seed,
        training_labels=len(structures),
        training_set_hash=job.labels_hash,
        epochs_run=result.epochs_run,
        best_epoch=result.best_epoch,
        training_loss=result.training_loss,
        watched_loss=result.watched_loss,
        reference_shifts_eV=result.reference_shifts_eV,
        seconds=result.seconds,
    )


def check_labels(structures: Sequence[Atoms]) -> None:
    """Raise `ModelError` when there is no structure, or one without energy and forces."""
    if not structures:
        raise ModelError("no labels to train on; label at least one structure")
    for index, atoms in enumerate(structures):
        results = {} if atoms.calc is None else atoms.calc.results
        if "energy" not in results or "forces" not in results:
            raise ModelError(
                f"structure {index} of {len(structures)} has no label; training needs energy and forces"
            )


def _run_worker(folder: Path, threads: int, on_epoch: Callable[[Epoch], None] | None) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # makes cuBLAS deterministic
    }
    (folder / "error.txt").unlink(missing_ok=True)
    command = [sys.executable, "-m", "entrove.training.sevennet_worker", str(folder)]
    with (
        (folder / "worker.log").open("ab") as log,
        # The worker ends when this pipe closes, also when this process is killed.
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment
        ) as worker,
    ):
        try:
            seen = 0
            while worker.poll() is None:
                time.sleep(POLL_SECONDS)
                seen = _forward_progress(folder, seen, on_epoch)
            _forward_progress(folder, seen, on_epoch)
        except BaseException:
            worker.kill()
            raise
    if worker.returncode != 0:
        raise ModelError(_explain_failure(folder, worker.returncode))


def _forward_progress(folder: Path, seen: int, on_epoch: Callable[[Epoch], None] | None) -> int:
    """Call `on_epoch` for each line that is new; return how many have been seen."""
    path = folder / "progress.jsonl"
    if on_epoch is None or not path.exists():
        return seen
    lines = path.read_text().splitlines(keepends=True)
    for line in lines[seen:]:
        if not line.endswith("\n"):
            break
        fields = json.loads(line)
        fields.pop("seconds")
        on_epoch(Epoch(**fields))
        seen += 1
    return seen


def _explain_failure(folder: Path, returncode: int) -> str:
    if returncode == EXIT_USER_ERROR and (folder / "error.txt").exists():
        return (folder / "error.txt").read_text()
    tail = (folder / "worker.log").read_text(errors="replace").splitlines()[-5:]
    return (
        f"training ended with exit code {returncode}; the log {folder / 'worker.log'} ends with: "
        + " | ".join(tail)
        + "; the same call continues after the last finished epoch"
    )


def _identity_of(base: str | Path) -> str:
    path = Path(base)
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{base} of sevenn {version('sevenn')}"


def _resolve(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
