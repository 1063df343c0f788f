"""Train each recipe without each fold, judge it on the fold, and choose.

choice.json           the choice, written last: its presence means that it is made
job.json, labels.xyz  what it was made for, as those of a training
untuned.json          losses of the untuned model on the folds
RECIPE/fold-N/        a training, of which only the request, the epochs and score.json are kept
"""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrove.errors import ModelError
from entrove.execution.running import Programs, ProgramsHere
from entrove.files import replace_text
from entrove.training.choice import Choice, decide
from entrove.training.config import Recipe
from entrove.training.cross_validation.judging import Judgement, judge_all, split
from entrove.training.job import Epoch, count_epochs
from entrove.training.launch import launch_trainings, prepare_training
from entrove.training.request import Request
from entrove.training.trained_model import TrainedModel

logger = logging.getLogger(__name__)

CROSS_VALIDATION = "cross-validation"
"""Folder of a choice, in that of the training or committee that it is for."""

KEPT = ("job.json", "progress.jsonl", "score.json", "worker.log")
"""Files of a training that stay when it is judged: its weights would fill the disk."""


@dataclass(frozen=True)
class TrialEpoch:
    """An epoch of one of the trainings of a cross-validation, which may run at the same time.

    `total` are the epochs of all of them, and `done` those that are done, one that has ended as if
    it had run all. `fold` counts from 1.
    """

    done: int
    total: int
    recipe: Recipe
    fold: int
    folds: int
    epoch: Epoch

    def describe(self) -> str:
        """Return which training it is, and its loss."""
        return (
            f"comparing {self.recipe}, fold {self.fold} of {self.folds}, "
            f"loss {self.epoch.training_loss:.3g}"
        )


@dataclass(frozen=True)
class Trial:
    """A training without one fold; `fold` counts from 1, `held_out` are indices of its labels."""

    request: Request
    recipe: Recipe
    fold: int
    held_out: tuple[int, ...]
    folder: Path

    @property
    def score(self) -> Path:
        """The file of its loss, written last."""
        return self.folder / "score.json"

    @property
    def epochs(self) -> int:
        """The passes of its training over the labels."""
        return self.request.config.fixed_epochs

    def training(self) -> tuple[Request, Path]:
        """Return the request without the fold, and the folder."""
        others, _ = split(self.request.structures, self.held_out)
        return self.request.with_structures(others), self.folder

    def judgement(self, checkpoint: Path) -> Judgement:
        """Return how its model is judged, on the labels of the fold alone."""
        return Judgement(
            model=self.request.model_name(checkpoint),
            device=self.request.device,
            threads=self.request.threads,
            loss=self.request.config.loss,
            folds=(tuple(range(len(self.held_out))),),
            refit_reference_energies=False,
        )


def choose_recipe(
    request: Request,
    folder: Path,
    *,
    on_trial: Callable[[TrialEpoch], None] | None = None,
    where: Programs | None = None,
) -> Choice:
    """Choose a recipe by cross-validation on the labels of a request.

    Args:
        request: The training whose `learning_rate` is "auto".
        folder: Where the trainings of the folds are kept; it belongs to this request alone.
        on_trial: Called after every epoch of these trainings.
        where: Where they run, as many at a time as there is room for; by default on this machine,
            one after the other.

    Each recipe is trained on the labels without one fold, reference energies included, and judged
    on that fold by the same loss, its energies as they are. Labels that resemble each other are in
    one fold. The same call continues an interrupted choice and gives what an uninterrupted one
    gives; a finished one is read.

    Raises `ModelError` as a training does, when `folder` belongs to another request, and when the
    training of every recipe diverged.
    """
    prepare_training(request, folder)
    path = folder / "choice.json"
    if path.exists():
        return Choice.model_validate_json(path.read_text())
    choice = _choose(request, folder, on_trial, where or ProgramsHere())
    replace_text(path, choice.model_dump_json(indent=2) + "\n")
    logger.info("%s", choice.describe())
    return choice


def read_choice(folder: Path) -> Choice | None:
    """Read what `choose_recipe` has chosen in a folder; None while it has not."""
    path = folder / "choice.json"
    return Choice.model_validate_json(path.read_text()) if path.exists() else None


def trial_epochs_done(folder: Path) -> int:
    """Epochs of the folds' trainings; one that is judged counts as if it had run all."""
    return sum(
        count_epochs(trial, ended=(trial / "score.json").exists())
        for trial in folder.glob("*/fold-*")
    )


def _choose(
    request: Request,
    folder: Path,
    on_trial: Callable[[TrialEpoch], None] | None,
    where: Programs,
) -> Choice:
    from entrove.training.folds import (  # torch-sim
        divide,
        independent_groups,
        leaving_every_element,
    )

    labels, config = request.structures, request.config
    recipes, settings = request.recipes, config.cross_validation
    first = recipes[0]
    if len(labels) < settings.at_least_labels:
        return _without_comparison(
            first,
            len(labels),
            f"the default, because {len(labels)} labels are too few to be compared on "
            f"(training.cross_validation.at_least_labels: {settings.at_least_labels})",
        )
    groups = independent_groups(labels)
    if len(groups) < 2:
        return _without_comparison(
            first,
            len(labels),
            f"the default, because all {len(labels)} labels are of one trajectory or nearly equal",
        )
    divided = divide(labels, groups, min(settings.folds, len(groups)), request.seed)
    held_out = [leaving_every_element(labels, fold) for fold in divided]
    folds = [fold for fold in held_out if fold]
    if len(folds) < 2:
        return _without_comparison(
            first,
            len(labels),
            f"the default, because the {len(labels)} labels have no two parts without an element "
            "of their own",
        )
    logger.info(
        "cross-validation: %d recipes in %d folds of %d labels, which are %d trainings",
        *(len(recipes), len(folds), len(labels), len(recipes) * len(folds)),
    )
    untuned = _untuned_losses(request, folds, folder, where)
    trials = [
        Trial(
            request.with_config(config.with_recipe(recipe)),
            recipe,
            number,
            tuple(held_out),
            folder / str(recipe).replace(" ", "-") / f"fold-{number}",
        )
        for recipe in recipes
        for number, held_out in enumerate(folds, 1)
    ]
    losses = losses_of_trials(trials, len(folds), on_trial, where)
    by_recipe = [losses[i : i + len(folds)] for i in range(0, len(losses), len(folds))]
    choice = decide(recipes, by_recipe, untuned, labels=len(labels), groups=len(groups))
    if choice is None:
        rates = ", ".join(str(recipe) for recipe in recipes)
        raise ModelError(
            f"the training of every recipe diverged ({rates}); list lower learning rates in "
            "training.cross_validation.recipes, or look for a damaged label"
        )
    return choice


def _without_comparison(first: Recipe, labels: int, reason: str) -> Choice:
    return Choice(recipe=first, labels=labels, groups=0, folds=0, reason=reason)


def losses_of_trials(
    trials: Sequence[Trial],
    folds: int,
    on_trial: Callable[[TrialEpoch], None] | None,
    where: Programs,
) -> list[float | None]:
    """Train without each fold and return the losses on it; None where a training diverged."""
    left = [trial for trial in trials if not trial.score.exists()]
    done = {trial.folder: trial.epochs for trial in trials if trial not in left}
    total = sum(trial.epochs for trial in trials)

    def report(place: int, epoch: Epoch) -> None:
        trial = left[place]
        done[trial.folder] = epoch.number
        if on_trial is not None:
            on_trial(TrialEpoch(sum(done.values()), total, trial.recipe, trial.fold, folds, epoch))

    trained: list[tuple[Trial, TrainedModel]] = []
    for place, ended in launch_trainings([trial.training() for trial in left], where, report):
        trial = left[place]
        done[trial.folder] = trial.epochs
        if not isinstance(ended, TrainedModel):
            _enter_score(trial, None, str(ended))
        elif where.elsewhere:
            trained.append((trial, ended))
        else:
            _judge_trials([(trial, ended)], where)
    _judge_trials(trained, where)
    return [json.loads(trial.score.read_text())["loss"] for trial in trials]


def _judge_trials(trained: Sequence[tuple[Trial, TrainedModel]], where: Programs) -> None:
    wanted = [
        (
            trial.judgement(model.checkpoint),
            split(trial.request.structures, trial.held_out)[1],
            trial.folder / "judged",
        )
        for trial, model in trained
    ]
    for (trial, _), [loss] in zip(trained, judge_all(wanted, where), strict=True):
        _enter_score(trial, loss, "" if loss is not None else "the loss is not finite")


def _enter_score(trial: Trial, loss: float | None, cause: str) -> None:
    """Write the loss of a trial, and remove what is no longer needed."""
    replace_text(trial.score, json.dumps({"loss": loss, "cause": cause}) + "\n")
    for file in trial.folder.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name not in KEPT:
            file.unlink()


def _untuned_losses(
    request: Request, folds: Sequence[Sequence[int]], folder: Path, where: Programs
) -> list[float | None] | None:
    """Losses of the foundation model, its reference energies fitted without the fold.

    None where training begins with random weights.
    """
    if not request.start.trained:
        return None
    path = folder / "untuned.json"
    if path.exists():
        return json.loads(path.read_text())
    judgement = Judgement(
        model=request.model_name(request.base),
        device=request.device,
        threads=request.threads,
        loss=request.config.loss,
        folds=tuple(tuple(fold) for fold in folds),
        refit_reference_energies=request.config.refit_reference_energies,
    )
    [losses] = judge_all([(judgement, request.structures, folder / "untuned")], where)
    replace_text(path, json.dumps(losses) + "\n")
    return losses
