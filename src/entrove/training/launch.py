"""Start training processes here or elsewhere, follow them, and collect what they made."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from entrove.errors import ModelError
from entrove.execution.program import Program, explain_end
from entrove.execution.running import Programs, ProgramsHere, run_programs
from entrove.structures import read_structures, write_structures
from entrove.training.job import (
    PROGRESS_FILE,
    Epoch,
    Job,
    OtherTrainingError,
    Result,
    prepare_folder,
    read_epochs,
    read_job,
)
from entrove.training.request import Request
from entrove.training.trained_model import LABELS_FILE, TrainedModel, same_labels
from entrove.training.trainers import trainer_for
from entrove.training.worker_process import EXIT_DIVERGED, DivergenceError


def launch_training(
    request: Request,
    folder: Path,
    on_epoch: Callable[[Epoch], None] | None = None,
    where: Programs | None = None,
) -> TrainedModel:
    """Train in a process of its own, until its `result.json` is there.

    Args:
        request: What to train, with a learning rate that is a number.
        folder: Where the training keeps its files; it belongs to this one alone.
        on_epoch: Called in this process after every epoch.
        where: Where the process runs; by default on this machine.

    An interrupted training continues after its last epoch, and a finished one is read.

    Raises `ModelError` with the worker's own message when it ends without a result, and
    `DivergenceError` when its loss is no longer finite.
    """

    def report(_: int, epoch: Epoch) -> None:
        if on_epoch is not None:
            on_epoch(epoch)

    [(_, trained)] = launch_trainings([(request, folder)], where or ProgramsHere(), report)
    if isinstance(trained, DivergenceError):
        raise trained
    return trained


def launch_trainings(
    wanted: Sequence[tuple[Request, Path]],
    where: Programs,
    on_epoch: Callable[[int, Epoch], None],
) -> Iterator[tuple[int, TrainedModel | DivergenceError]]:
    """Train several models, as many at a time as there is room for.

    Args:
        wanted: What to train, and the folder of each.
        where: Where the processes run.
        on_epoch: Called in this process after every epoch, with the place in `wanted`.

    Yields the place in `wanted` with the model, or with the reason why it diverged, as they end.
    Otherwise as `launch_training`.
    """
    programs: dict[int, Program] = {}
    for place, (request, folder) in enumerate(wanted):
        job = prepare_training(request, folder)
        if (folder / "result.json").exists():
            continue
        if replayed := request.replayed():
            write_structures(folder / "replay.xyz", replayed)
        programs[place] = Program(
            trainer_for(job.config.framework).worker, str(folder), job.threads, PROGRESS_FILE
        )
    reported = dict.fromkeys(programs, 0)

    def look() -> None:
        for place, count in reported.items():
            for epoch in read_epochs(wanted[place][1])[count:]:
                reported[place] += 1
                on_epoch(place, epoch)

    for place, (_, folder) in enumerate(wanted):
        if place not in programs:
            yield place, read_trained(folder)
    places = list(programs)
    for index, code in run_programs(list(programs.values()), where, look):
        reported.pop(places[index])
        yield places[index], _read_end(wanted[places[index]][1], code)


def prepare_training(request: Request, folder: Path) -> Job:
    """Write the request and its labels, or check that those that are there are the same.

    Labels whose forces or stresses were corrected are others, also where their energies, of which
    the request has a hash, are not. Labels that are there stay in their order: which of them are
    set aside follows from it.

    Raises `OtherTrainingError` when the folder holds a different training run.
    """
    job = request.job()
    began = read_job(folder) is not None
    prepare_folder(folder, job)
    kept = read_structures(folder / LABELS_FILE, may_be_empty=True) if began else []
    if not kept:
        write_structures(folder / LABELS_FILE, request.structures)
    elif not same_labels(kept, request.structures):
        raise OtherTrainingError(folder, ["labels_hash"])
    return job


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
        base=job.base_known_as or Path(job.base).name,
        base_hash=job.base_hash,
        random_weights=job.random_weights,
        seed=job.seed,
        training_labels=len(read_structures(folder / LABELS_FILE)),
        training_set_hash=job.labels_hash,
        epochs_run=result.epochs_run,
        best_epoch=result.best_epoch,
        training_loss=result.training_loss,
        watched_loss=result.watched_loss,
        reference_shifts_eV=result.reference_shifts_eV,
        seconds=result.seconds,
    )


def _read_end(folder: Path, code: int) -> TrainedModel | DivergenceError:
    if code == EXIT_DIVERGED:
        return DivergenceError((folder / "error.txt").read_text())
    if code != 0:
        raise ModelError(explain_end(folder, code, "training"))
    return read_trained(folder)
