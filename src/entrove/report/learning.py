"""The learning curve as numbers: errors over labels, of a campaign and its control arm."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrove.campaign.results.results import CampaignResults
from entrove.errors import CampaignError
from entrove.report.summary import (
    QUANTITIES,
    QUARANTINED,
    ModelKey,
    error_of,
    interval_of,
    models_in_order,
    validation_size,
)
from entrove.validation.intervals import Interval


@dataclass(frozen=True)
class LearningPoint:
    """One validated model on the learning curve.

    Attributes:
        round: The round that tuned it; 0 is the untuned model, with no labels.
        labels: Number of labels that it was trained on.
        errors: The total errors, one per quantity of `QUANTITIES` and in its unit; None where one
            was not measured.
        intervals: Their confidence intervals, where these are known.
    """

    round: int
    labels: int
    errors: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]


@dataclass(frozen=True)
class LearningCurve:
    """The models of one campaign, by number of labels.

    Attributes:
        name: Name of the campaign.
        control: Whether it is the control arm.
        points: The untuned model first.
    """

    name: str
    control: bool
    points: tuple[LearningPoint, ...]


def learning_curves(
    results: CampaignResults, control: CampaignResults | None = None
) -> list[LearningCurve]:
    """Return the learning curve of a campaign, and that of its control arm if there is one.

    Args:
        results: The campaign.
        control: A campaign that started from the same model with the same level of theory and
            validation set, such as one with `control: random_md`.

    Raises `CampaignError` when the two cannot be compared.
    """
    curves = [LearningCurve(results.name, False, _points(results))]
    if control is not None:
        _check_comparable(results, control)
        curves.append(LearningCurve(control.name, True, _points(control)))
    return [curve for curve in curves if curve.points]


def _points(results: CampaignResults) -> tuple[LearningPoint, ...]:
    return tuple(
        LearningPoint(
            key.round,
            _labels_of(results, key.round),
            tuple(error_of(results.errors, key, quantity) for quantity in QUANTITIES),
            tuple(interval_of(results.errors, key, quantity) for quantity in QUANTITIES),
        )
        for key in models_in_order(results.errors)
    )


def _labels_of(results: CampaignResults, round_index: int) -> int:
    """Number of labels that the model of a round was trained on."""
    if round_index == 0:
        return 0
    if round_index in results.learnt:
        return results.learnt[round_index]
    # A label that was released later, or imported, counts in all rounds here: what is known of
    # older campaigns does not say when it came.
    good = [
        label
        for label in results.labels
        if label.purpose == "training"
        and label.round <= round_index
        and label.outcome not in QUARANTINED
    ]
    return results.imported + len(good)


def _check_comparable(results: CampaignResults, control: CampaignResults) -> None:
    differences = [
        what
        for what, differ in (
            ("level of theory", results.level_of_theory_hash != control.level_of_theory_hash),
            ("validation set", _validation_set(results) != _validation_set(control)),
            ("untuned model", _untuned(results) != _untuned(control)),
        )
        if differ
    ]
    if differences:
        raise CampaignError(
            f"{control.folder}: cannot be the control arm of {results.folder}: they differ in "
            f"{' and '.join(differences)}; a control arm has the same seeds, model, engine and "
            "validation set (control: random_md)"
        )


def _validation_set(results: CampaignResults) -> tuple[int | None, Sequence[str]]:
    keys = sorted(label.key for label in results.labels if label.purpose == "validation")
    return validation_size(results.errors), keys


def _untuned(results: CampaignResults) -> str | None:
    keys: list[ModelKey] = models_in_order(results.errors)
    return next((key.model for key in keys if key.round == 0), None)
