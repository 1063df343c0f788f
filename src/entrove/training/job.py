"""A training job on disk: the request to the worker process, its progress and its result.

job.json        the request
labels.xyz      the training labels
replay.xyz      structures that the untuned model labels, if any
state.pt        all that the next epoch needs, replaced after every epoch
progress.jsonl  one line per epoch
model.pth       the tuned model, written once; its name is `Trainer.checkpoint`
result.json     written last: its presence means that the job is done
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from entrove.errors import ModelError
from entrove.files import replace_text
from entrove.settings import Settings
from entrove.training.config import TrainingConfig

JOB_VERSION = 1
PROGRESS_FILE = "progress.jsonl"
MAY_CHANGE = ("base", "base_known_as", "random_weights", "device", "threads")
"""A run that is resumed on another machine is still this run; `base_hash` tells the model."""


class OtherTrainingError(ModelError):
    """A folder holds another training; `different` are the keys of `Job` in which it differs."""

    def __init__(self, folder: Path, different: Sequence[str]):
        super().__init__(
            f"{folder} holds another training run (it differs in {', '.join(different)}); "
            "use a new folder"
        )
        self.different = frozenset(different)


class Job(Settings):
    """The request."""

    version: int = Field(default=JOB_VERSION, description="Version of this file's form.")
    base: str = Field(description="Packaged name of a model, or path of a checkpoint or package.")
    base_hash: str = Field(description="SHA-256 of the checkpoint's bytes.")
    base_known_as: str = Field(
        default="", description="Public name of the model, or name of its file."
    )
    random_weights: bool = Field(
        default=False, description="Whether base is an architecture, without trained weights."
    )
    modal: str | None = Field(default=None, description="Fidelity of a multi-fidelity model.")
    device: str = Field(
        default="cpu", description="cpu, cuda, or auto: what the machine has that trains."
    )
    threads: int = Field(
        default=1, ge=0, description="CPU threads; 0: all that the process may use."
    )
    seed: int = Field(ge=0, description="Seed of data order, set-aside labels and head noise.")
    head_noise: float = Field(default=0.0, ge=0, description="Relative noise on the energy head.")
    labels_hash: str = Field(description="Hash of the training labels.")
    replay_hash: str | None = Field(
        default=None, description="Hash of the structures that the untuned model labels."
    )
    config: TrainingConfig = Field(description="Training settings.")


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    `watched_loss` is None when no label is set aside for stopping. `gradient_norm` is the largest
    norm of the gradient of a step, before it is clipped; None where the framework says none.
    """

    number: int
    epochs: int
    training_loss: float
    watched_loss: float | None
    learning_rate: float
    gradient_norm: float | None = None


class Result(Settings):
    """What the worker reports at its end."""

    epochs_run: int = Field(description="Epochs that were run.")
    best_epoch: int = Field(description="Epoch whose averaged weights were kept.")
    training_loss: float = Field(description="Loss on the training labels in the last epoch.")
    watched_loss: float | None = Field(
        description="Lowest loss on the set-aside labels, if there are any."
    )
    reference_shifts_eV: dict[str, float] = Field(
        description="Energy added per atom of a species, in eV."
    )
    seconds: float = Field(description="Wall time of all attempts, in seconds.")


def write_json(path: Path, content: Settings) -> None:
    """Write a settings model; the file is replaced in one step."""
    replace_text(path, content.model_dump_json(indent=2))


def prepare_folder(folder: Path, job: Job) -> None:
    """Write `job.json`, or check that the one that is there asks for the same.

    Raises `OtherTrainingError` when the folder holds a different training run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = read_job(folder)
    if found is not None:
        if found.base_hash.startswith(f"{job.base} of sevenn "):
            # Entrove 0.1 told packaged models apart by their name and the version of sevenn.
            found = found.model_copy(update={"base_hash": job.base_hash})
        different = [
            key
            for key in Job.model_fields
            if key not in MAY_CHANGE and getattr(found, key) != getattr(job, key)
        ]
        if different:
            raise OtherTrainingError(folder, different)
    write_json(folder / "job.json", job)


def read_job(folder: Path) -> Job | None:
    """Read the request of a folder, None when there is none; keys added since have their defaults.

    Raises `ModelError` when it is not one that this version understands.
    """
    path = folder / "job.json"
    if not path.exists():
        return None
    try:
        return Job.model_validate_json(path.read_text())
    except ValidationError as error:
        raise ModelError(
            f"{path}: not a training job of this version of Entrove "
            f"({error.error_count()} keys that it does not understand); "
            "use the version that wrote it"
        ) from error


def append_epoch(folder: Path, epoch: Epoch, seconds: float) -> None:
    """Add a line to `progress.jsonl`; `seconds` is the wall time of all attempts so far."""
    with (folder / PROGRESS_FILE).open("a") as handle:
        handle.write(json.dumps({**vars(epoch), "seconds": round(seconds, 3)}) + "\n")


def read_epochs(folder: Path) -> list[Epoch]:
    """Epochs reported so far; a torn last line is not one."""
    epochs = []
    for line in _progress_lines(folder):
        fields = json.loads(line)
        fields.pop("seconds")
        epochs.append(Epoch(**fields))
    return epochs


def count_epochs(folder: Path, *, ended: bool) -> int:
    """Epochs reported so far; of a training that has ended all that it was meant to have."""
    job = read_job(folder) if ended else None
    return len(read_epochs(folder)) if job is None else job.config.fixed_epochs


def keep_epochs(folder: Path, count: int) -> float:
    """Drop all lines but the first `count`; return the seconds of the last of them, else 0."""
    lines = _progress_lines(folder)[:count]
    replace_text(folder / PROGRESS_FILE, "".join(lines))
    return progress_seconds(folder)


def progress_seconds(folder: Path) -> float:
    """Wall time of all attempts so far, in seconds."""
    lines = _progress_lines(folder)
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0


def _progress_lines(folder: Path) -> list[str]:
    path = folder / PROGRESS_FILE
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n")]
