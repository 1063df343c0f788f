"""Which recipe cross-validation has chosen, from which losses: the table of what was tried."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from entrove.training.config import Recipe

UNTUNED = "untuned"


class TriedRecipe(BaseModel):
    """A row of the table. None stands for a loss that is not finite: the training diverged.

    Losses are those of `TrainingConfig.loss` on labels that were not trained on, without unit.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    strategy: str = Field(description="The strategy; 'untuned' for the foundation model as it is.")
    learning_rate: float | None = Field(description="Learning rate; null for the untuned model.")
    epochs: int | None = Field(
        default=None, description="Passes over the labels; null: as `training.epochs`."
    )
    fold_losses: tuple[float | None, ...] = Field(description="Loss on each fold.")
    mean: float | None = Field(description="Mean of the losses.")
    standard_error: float | None = Field(description="Standard error of this mean.")
    difference: float | None = Field(description="Mean loss minus that of the first recipe.")
    difference_error: float | None = Field(
        description="Standard error of this difference, from the differences of each fold."
    )

    @property
    def name(self) -> str:
        """The recipe in words."""
        return f"{self.strategy} {self.settings}".strip()

    @property
    def settings(self) -> str:
        """Learning rate and, where the recipe has its own, epochs; empty for the untuned model."""
        if self.learning_rate is None:
            return ""
        return Recipe(learning_rate=self.learning_rate, epochs=self.epochs).settings


class Choice(BaseModel):
    """What cross-validation has chosen, and why."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    recipe: Recipe = Field(description="The recipe that the model is trained with.")
    labels: int = Field(ge=1, description="Number of training labels.")
    groups: int = Field(
        ge=0,
        description="Number of groups of labels that resemble each other, such as snapshots of a "
        "trajectory; each is in one fold. 0 where nothing was compared.",
    )
    folds: int = Field(ge=0, description="Number of folds; 0 where nothing was compared.")
    tried: tuple[TriedRecipe, ...] = Field(
        default=(), description="What was compared, the untuned model last."
    )
    reason: str = Field(description="Why this recipe, in a phrase.")

    def describe(self) -> str:
        """Return the choice, why it was made, and whether tuning helps, in one line."""
        chosen = f"learning rate {self.recipe.settings}, {self.recipe.strategy}"
        losses = ", ".join(
            f"{row.name}: {row.mean:.3g}" for row in self.tried if row.mean is not None
        )
        numbers = f" (mean losses: {losses})" if losses else ""
        warning = (
            "; the untuned model has the smaller loss: with these labels tuning does not help"
            if self.untuned_is_better
            else ""
        )
        return f"{chosen}: {self.reason}{numbers}{warning}"

    @property
    def trainings(self) -> int:
        """Number of trainings that were compared."""
        return sum(len(row.fold_losses) for row in self.tried if row.strategy != UNTUNED)

    def epochs(self, default: int) -> int:
        """Epochs of these trainings, those that say none having `default`."""
        compared = (row for row in self.tried if row.strategy != UNTUNED)
        return sum(len(row.fold_losses) * (row.epochs or default) for row in compared)

    @property
    def untuned_is_better(self) -> bool:
        """Whether the untuned model has a smaller mean loss than the chosen recipe."""
        means = {row.name: row.mean for row in self.tried}
        untuned, tuned = means.get(UNTUNED), means.get(str(self.recipe))
        return untuned is not None and tuned is not None and untuned < tuned


def decide(
    recipes: Sequence[Recipe],
    losses: Sequence[Sequence[float | None]],
    untuned: Sequence[float | None] | None,
    *,
    labels: int,
    groups: int,
) -> Choice | None:
    """Choose the recipe of the smallest mean loss, or the first one where that is not worse.

    Args:
        recipes: What was compared; the first is the one to use in case of doubt.
        losses: The loss of each recipe on each fold; None where the training diverged.
        untuned: The losses of the untuned model, which is shown and never chosen; None without
            one.
        labels, groups: Number of training labels, and of groups that resemble each other.

    The best recipe b replaces the first one f when mean(L_f - L_b) over the folds is larger than
    its standard error s / sqrt(folds). The differences are taken fold by fold: how hard a fold is
    concerns all recipes alike.

    Returns None when every recipe diverged.
    """
    rows = [
        _row(recipe, of_recipe, losses[0])
        for recipe, of_recipe in zip(recipes, losses, strict=True)
    ]
    means = [np.inf if row.mean is None else row.mean for row in rows]
    best = int(np.argmin(means))
    if not np.isfinite(means[best]):
        return None
    folds = len(losses[0])
    by = f"{folds} folds of {labels} labels"
    gain, error = rows[best].difference, rows[best].difference_error
    if best and gain is not None and error is not None and -gain <= error:
        best, reason = 0, f"kept, no other is better beyond the scatter of {by}"
    else:
        reason = f"chosen by {by}"
    if untuned is not None:
        rows.append(_row(None, untuned, losses[0]))
    return Choice(
        recipe=recipes[best],
        labels=labels,
        groups=groups,
        folds=folds,
        tried=tuple(rows),
        reason=reason,
    )


def _row(
    recipe: Recipe | None, losses: Sequence[float | None], of_first: Sequence[float | None]
) -> TriedRecipe:
    """A row of the table; without a recipe that of the untuned model."""
    mean, standard_error = _mean_and_error(losses)
    difference, difference_error = _mean_and_error(
        [
            None if loss is None or first is None else loss - first
            for loss, first in zip(losses, of_first, strict=True)
        ]
    )
    return TriedRecipe(
        strategy=UNTUNED if recipe is None else recipe.strategy,
        learning_rate=None if recipe is None else recipe.learning_rate,
        epochs=None if recipe is None else recipe.epochs,
        fold_losses=tuple(losses),
        mean=mean,
        standard_error=standard_error,
        difference=difference,
        difference_error=difference_error,
    )


def _mean_and_error(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard error of at least two values; None where one of them is None."""
    known = np.array([value for value in values if value is not None])
    if len(known) < len(values):
        return None, None
    return float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known)))
