"""Train each recipe without each fold, judge it on the fold, and choose.

choice.json           the choice, written last: its presence means that it is made
job.json              what it was made for, as that of a training
untuned.json          losses of the untuned model on the folds
RECIPE/fold-N/        a training, of which only the request, the epochs and score.json are kept
"""

import json
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.errors import ModelError
from entrove.files import replace_text
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import energy_of
from entrove.training.choice import Choice, decide
from entrove.training.config import Recipe, TrainingConfig
from entrove.training.cross_validation.folds import divide, independent_groups
from entrove.training.job import Epoch, prepare_folder, read_epochs
from entrove.training.launch import launch_training
from entrove.training.loss import loss_of_predictions
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.request import Request
from entrove.training.worker_process import DivergenceError

logger = logging.getLogger(__name__)

CROSS_VALIDATION = "cross-validation"
"""Folder of a choice, in that of the training or committee that it is for."""

KEPT = ("job.json", "progress.jsonl", "score.json", "worker.log")
"""Files of a training that stay when it is judged: its weights would fill the disk."""


@dataclass(frozen=True)
class TrialEpoch:
    """An epoch of one of the trainings of a cross-validation.

    `trial` counts them from 0, `trials` is their number; `fold` counts from 1.
    """

    trial: int
    trials: int
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


def choose_recipe(
    request: Request, folder: Path, *, on_trial: Callable[[TrialEpoch], None] | None = None
) -> Choice:
    """Choose strategy and learning rate by cross-validation on the labels of a request.

    Args:
        request: The training whose `learning_rate` is "auto".
        folder: Where the trainings of the folds are kept; it belongs to this request alone.
        on_trial: Called after every epoch of these trainings.

    Each recipe is trained on the labels without one fold, reference energies included, and judged
    on that fold by the same loss, its energies as they are. Labels that resemble each other are in
    one fold. The same call continues an interrupted choice and gives what an uninterrupted one
    gives; a finished one is read.

    Raises `ModelError` as a training does, when `folder` belongs to another request, and when the
    training of every recipe diverged.
    """
    prepare_folder(folder, request.job())
    path = folder / "choice.json"
    if path.exists():
        return Choice.model_validate_json(path.read_text())
    choice = _choose(request, folder, on_trial)
    replace_text(path, choice.model_dump_json(indent=2) + "\n")
    logger.info("%s", choice.describe())
    return choice


def read_choice(folder: Path) -> Choice | None:
    """Read what `choose_recipe` has chosen in a folder; None while it has not."""
    path = folder / "choice.json"
    return Choice.model_validate_json(path.read_text()) if path.exists() else None


def trial_epochs_done(folder: Path, config: TrainingConfig) -> int:
    """Epochs of the folds' trainings; one that is judged counts as if it had run all."""
    return sum(
        config.epochs if (trial / "score.json").exists() else len(read_epochs(trial))
        for trial in folder.glob("*/fold-*")
    )


def _choose(
    request: Request, folder: Path, on_trial: Callable[[TrialEpoch], None] | None
) -> Choice:
    labels, config = request.structures, request.config
    first, settings = config.recipes[0], config.cross_validation
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
    folds = divide(labels, groups, min(settings.folds, len(groups)), request.seed)
    logger.info(
        "cross-validation: %d recipes in %d folds of %d labels, which are %d trainings",
        *(len(config.recipes), len(folds), len(labels), len(config.recipes) * len(folds)),
    )
    untuned = _untuned_losses(request, folds, folder / "untuned.json")
    losses = [
        [
            _loss_of_trial(
                request.with_config(config.with_recipe(recipe)),
                held_out,
                folder / f"{recipe.strategy}-{recipe.learning_rate:g}" / f"fold-{number}",
                _for_trial(on_trial, config.recipes, place, len(folds), number),
            )
            for number, held_out in enumerate(folds, 1)
        ]
        for place, recipe in enumerate(config.recipes)
    ]
    choice = decide(config.recipes, losses, untuned, labels=len(labels), groups=len(groups))
    if choice is None:
        rates = ", ".join(str(recipe) for recipe in config.recipes)
        raise ModelError(
            f"the training of every recipe diverged ({rates}); list lower learning rates in "
            "training.cross_validation.recipes, or look for a damaged label"
        )
    return choice


def _without_comparison(first: Recipe, labels: int, reason: str) -> Choice:
    return Choice(recipe=first, labels=labels, groups=0, folds=0, reason=reason)


def _loss_of_trial(
    request: Request,
    held_out: Sequence[int],
    folder: Path,
    on_epoch: Callable[[Epoch], None] | None,
) -> float | None:
    """Train without a fold and return the loss on it; None where the training diverged."""
    path = folder / "score.json"
    if path.exists():
        return json.loads(path.read_text())["loss"]
    without_fold, fold = _split(request.structures, held_out)
    loss, cause = None, ""
    try:
        trained = launch_training(request.with_structures(without_fold), folder, on_epoch)
    except DivergenceError as error:
        cause = str(error)
    else:
        model = load(request.model_name(trained.checkpoint), device=request.device)
        found = loss_of_predictions(predict(model, fold), fold, request.config.loss)
        loss, cause = (found, "") if math.isfinite(found) else (None, f"the loss is {found}")
    replace_text(path, json.dumps({"loss": loss, "cause": cause}) + "\n")
    for file in folder.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name not in KEPT:
            file.unlink()
    return loss


def _untuned_losses(
    request: Request, folds: Sequence[Sequence[int]], path: Path
) -> list[float | None] | None:
    """Losses of the foundation model, its reference energies fitted without the fold.

    None where training begins with random weights.
    """
    if not request.start.trained:
        return None
    if path.exists():
        return json.loads(path.read_text())
    labels = request.structures
    predicted = predict(load(request.model_name(request.base), device=request.device), labels)
    losses: list[float | None] = []
    for held_out in folds:
        (others, fold), (of_others, of_fold) = (
            _split(labels, held_out),
            _split(predicted, held_out),
        )
        shifts = (
            fit_reference_shifts(others, [energy_of(atoms) for atoms in of_others])
            if request.config.refit_reference_energies
            else {}
        )
        loss = loss_of_predictions(of_fold, fold, request.config.loss, shifts_eV=shifts)
        losses.append(loss if math.isfinite(loss) else None)
    replace_text(path, json.dumps(losses) + "\n")
    return losses


def _split(
    structures: Sequence[Atoms], held_out: Sequence[int]
) -> tuple[list[Atoms], list[Atoms]]:
    """The structures that are not held out, and those that are."""
    inside = set(held_out)
    return (
        [atoms for index, atoms in enumerate(structures) if index not in inside],
        [structures[index] for index in held_out],
    )


def _for_trial(
    on_trial: Callable[[TrialEpoch], None] | None,
    recipes: Sequence[Recipe],
    place: int,
    folds: int,
    fold: int,
) -> Callable[[Epoch], None] | None:
    if on_trial is None:
        return None
    trial = place * folds + fold - 1
    return lambda epoch: on_trial(
        TrialEpoch(trial, len(recipes) * folds, recipes[place], fold, folds, epoch)
    )
