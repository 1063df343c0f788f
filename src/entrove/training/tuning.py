"""Fine-tune a model on labelled structures, whatever its framework."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from entrove.execution.running import Executors, Programs
from entrove.training.config import TrainingConfig
from entrove.training.cross_validation.trials import CROSS_VALIDATION, TrialEpoch, choose_recipe
from entrove.training.job import Epoch
from entrove.training.launch import launch_training
from entrove.training.request import make_request
from entrove.training.trained_model import TrainedModel

RUN_FOLDER = "runinfo"
"""Folder of Parsl's files, in that of a training or committee."""


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
    on_trial: Callable[[TrialEpoch], None] | None = None,
    where: Programs | None = None,
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
        threads: CPU threads of the process; 0: as many as it may use where it runs.
        on_epoch: Called in this process after every epoch.
        on_trial: With `config.learning_rate` "auto", called after every epoch of the trainings
            that are compared, before the model itself is trained.
        where: Workers that several calls share; by default those of `config.executor`, which end
            with this call.

    Returns the tuned model, whose `checkpoint` is a file for `entrove.models.load`, and whose
    `choice` has the table of what was compared.

    Raises `ModelError` when the model cannot be loaded or trained or does not know an element, a
    label is missing, the loss diverges, or `folder` holds another run; and `EntroveError` when the
    package of the framework is not installed, or the workers are lost.
    """
    folder = Path(folder).resolve()
    with Executors() as executors:
        where = where or executors.programs(config.executor, folder / RUN_FOLDER)
        request = make_request(
            structures,
            base,
            config,
            seed=seed,
            head_noise=head_noise,
            snapshots=snapshots,
            modal=modal,
            device=device,
            threads=threads,
            where=where,
        )
        config = request.config
        if config.learning_rate != "auto":
            return launch_training(request, folder, on_epoch, where)
        choice = choose_recipe(
            replace(request, head_noise=0.0),
            folder / CROSS_VALIDATION,
            on_trial=on_trial,
            where=where,
        )
        chosen = request.with_config(config.with_recipe(choice.recipe))
        return replace(launch_training(chosen, folder, on_epoch, where), choice=choice)
