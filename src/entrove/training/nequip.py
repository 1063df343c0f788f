"""Fine-tune a NequIP or Allegro model on labelled structures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.nequip import FOUNDATION_MODELS, find_foundation_model
from entrove.training.config import TrainingConfig
from entrove.training.job import Epoch, Job
from entrove.training.launch import available_device, check_labels, hash_of_file, run_job
from entrove.training.trained_model import TrainedModel, training_set_hash

TRAINABLE = (".nequip.zip", ".ckpt")


def fine_tune(
    structures: Sequence[Atoms],
    base: str | Path,
    folder: Path,
    config: TrainingConfig,
    *,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainedModel:
    """Tune a package (`*.nequip.zip`), a checkpoint (`*.ckpt`) or a named foundation model, in a process of its own.

    The tuned model is a package, `model.nequip.zip`; compile it for speed. The same call on the same
    folder continues an interrupted run after its last epoch, and returns at once when it is done. NequIP's own
    training loop runs: equal seeds give equal runs, but bitwise equality over interruptions is not promised.

    Raises `ModelError` when the model cannot be trained or does not know an element, a label is missing,
    the loss diverges, or `folder` holds another run.
    """
    require("nequip", extra="nequip")
    check_labels(structures)
    path = find_foundation_model(str(base)) if str(base) in FOUNDATION_MODELS else Path(base)
    if not path.is_file() or not path.name.endswith(TRAINABLE):
        raise ModelError(
            f"{path}: NequIP trains packages and checkpoints ({', '.join(TRAINABLE)}); "
            "a compiled model cannot be trained, give the package that it came from"
        )
    job = Job(
        base=str(path.resolve()),
        base_hash=hash_of_file(path),
        device=available_device(device),
        threads=threads,
        seed=seed,
        labels_hash=training_set_hash(structures),
        config=config.model_copy(update={"committee_size": 1, "head_noise": 0.0, "framework": "nequip"}),
    )
    return run_job(
        "entrove.training.nequip_worker",
        structures,
        Path(folder).resolve(),
        job,
        on_epoch,
    )
