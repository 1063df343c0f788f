"""Fine-tune a SevenNet model on labelled structures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.sevennet.loading import SEVENNET, pretrained_checkpoint
from entrove.training.config import TrainingConfig
from entrove.training.job import Epoch, Job
from entrove.training.launch import available_device, check_labels, hash_of_file, run_job
from entrove.training.trained_model import TrainedModel, training_set_hash


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
    path = Path(base)
    packaged = not path.is_file()
    if packaged and str(base) not in SEVENNET.models:
        raise ModelError(
            f"{base}: no such file, and no packaged model ({', '.join(SEVENNET.models)})"
        )
    job = Job(
        base=str(base) if packaged else str(path.resolve()),
        base_hash=hash_of_file(pretrained_checkpoint(str(base)) if packaged else path),
        modal=modal,
        device=available_device(device),
        threads=threads,
        seed=seed,
        head_noise=head_noise,
        labels_hash=training_set_hash(structures),
        # What only a committee reads must not make a finished member look like another run.
        config=config.model_copy(update={"committee_size": 1, "head_noise": 0.0}),
    )
    return run_job(
        "entrove.training.sevennet.worker", structures, Path(folder).resolve(), job, on_epoch
    )
