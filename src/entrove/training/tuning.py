"""Fine-tune a model on labelled structures, whatever its framework."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms

from entrove.errors import ModelError
from entrove.models.loaded import resolve_device
from entrove.models.registry import FRAMEWORKS, explain_untrainable, framework_of
from entrove.training.config import TrainingConfig
from entrove.training.job import Epoch, Job
from entrove.training.launch import check_labels, hash_of_file, run_job
from entrove.training.replay import replay_hash, replay_structures
from entrove.training.trained_model import TrainedModel, training_set_hash
from entrove.training.trainers import Trainer, trainer_for


def fine_tune(
    structures: Sequence[Atoms],
    base: str | Path,
    folder: str | Path,
    config: TrainingConfig,
    *,
    seed: int = 0,
    head_noise: float = 0.0,
    snapshots: Sequence[Atoms] = (),
    modal: str | None = None,
    device: str = "auto",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainedModel:
    """Tune a model to labels, in a process of its own.

    The same call on the same folder continues an interrupted run after its last epoch, and returns
    at once when the run is done.

    Args:
        structures: The labels; each carries energy (eV) and forces (eV/A), and stress (eV/A^3) if
            it is periodic and the stress is known.
        base: The model to start from, a packaged name or the path of a checkpoint or package.
        folder: Where the run keeps its files; it belongs to this run alone.
        config: How to train; its `framework` is that of `base`.
        seed: Decides the order of the labels, which are set aside, and the head noise.
        head_noise: Random change of the energy head before training, relative to the spread of its
            weights; SevenNet only.
        snapshots: Structures like those of the exploration, for `config.replay`: some of them are
            labelled by the untuned model, beside dimers. They need no labels.
        modal: Fidelity of a multi-fidelity model; SevenNet only.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of the process.
        on_epoch: Called in this process after every epoch.

    Returns the tuned model, whose `checkpoint` is a file for `entrove.models.load`.

    Raises `ModelError` when the model cannot be loaded or trained or does not know an element, a
    label is missing, the loss diverges, or `folder` holds another run; and `EntroveError` when the
    package of the framework is not installed.
    """
    base = str(base)
    framework, trainer = config.framework, trainer_for(config.framework)
    _check_supported(framework, trainer, modal=modal, head_noise=head_noise)
    owner = framework_of(base)
    if owner is not None and not owner.trains(base):
        raise ModelError(explain_untrainable(base))
    next(known for known in FRAMEWORKS if known.name == framework).require_installed()
    check_labels(structures)
    start = trainer.find_starting_model(base)
    replayed = replay_structures(structures, snapshots, seed=seed) if config.replay > 0 else []
    job = Job(
        base=start.name,
        base_hash=hash_of_file(start.file),
        modal=modal,
        device=str(resolve_device(device)),
        threads=threads,
        seed=seed,
        head_noise=head_noise,
        labels_hash=training_set_hash(structures),
        replay_hash=replay_hash(replayed),
        # What only a committee reads must not make a finished member look like another run.
        config=config.model_copy(update={"committee_size": 1, "head_noise": 0.0}),
    )
    return run_job(trainer.worker, structures, replayed, Path(folder).resolve(), job, on_epoch)


def _check_supported(
    framework: str, trainer: Trainer, *, modal: str | None, head_noise: float
) -> None:
    refused = {
        f"no fidelities (modal={modal})": modal is not None and not trainer.takes_fidelities,
        f"no head_noise ({head_noise})": head_noise > 0 and not trainer.takes_head_noise,
    }
    given = [text for text, is_refused in refused.items() if is_refused]
    if given:
        raise ModelError(f"framework {framework} has {' and '.join(given)}; leave them out")
