"""Does a committee know its error? Spread against error on labels that it has not learnt from."""

from collections.abc import Sequence

from entrove.errors import ModelError
from entrove.models.prediction import predict
from entrove.validation.calibration import (
    LEAST_MEMBERS,
    Calibration,
    calibrate,
    calibrate_left_out,
)
from entrove.validation.suite.config import CalibrationSettings
from entrove.validation.suite.result import (
    CheckResult,
    DataTable,
    Panel,
    Quantity,
    curve,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import Subject

NAME = "calibration"

_NAMES = {"energy": "energies", "forces": "forces", "stress": "stress"}


def check_calibration(subject: Subject, settings: CalibrationSettings) -> list[CheckResult]:
    """Fit a factor for energies, forces and stress each, and show how reliable spreads are.

    Where members have learnt from parts of the training labels, the factors are fitted to these,
    each label predicted by the members that left it out, and the labelled data are a test of them.
    Otherwise they are fitted to the labelled data that the tables show, so that predicted and
    observed errors agree over all of them; in a bin they need not.

    A single model has no spread, and no result.
    """
    if subject.committee is None:
        return []
    try:
        fitted = _of_left_out_labels(subject)
        labelled = (
            calibrate(subject.labelled, predict(subject.committee, subject.labelled))
            if subject.labelled
            else []
        )
    except ModelError as error:
        return [not_applicable(NAME, "", str(error))]
    if not (fitted or labelled):
        return [not_applicable(NAME, "", "there is no labelled data")]
    sentence = _describe(fitted or labelled, len(subject.committee.members))
    tested: list[Quantity] = []
    if fitted:
        sentence += ", on training labels that members left out"
    if fitted and labelled:
        factors = {fit.quantity: fit.factor for fit in fitted}
        labelled = [fit for fit in labelled if fit.quantity in factors]
        ratios = [fit.factor / factors[fit.quantity] for fit in labelled]
        tested = [
            Quantity(f"error over calibrated spread, {fit.quantity}", number(ratio))
            for fit, ratio in zip(labelled, ratios, strict=True)
        ]
        labelled = [fit.with_factor(factors[fit.quantity]) for fit in labelled]
        listed = ", ".join(
            f"{ratio:.2g} times for {_NAMES[fit.quantity]}"
            for fit, ratio in zip(labelled, ratios, strict=True)
        )
        known_as = subject.labelled_as + ("," if "," in subject.labelled_as else "")
        sentence += (
            f"; on {len(subject.labelled)} {known_as} errors are {listed} what this predicts"
        )
    shown = labelled or fitted
    quantities = [
        quantity
        for fit in shown
        for quantity in (
            Quantity(f"error over spread, {fit.quantity}", number(fit.factor)),
            Quantity(
                f"rank correlation of spread and error, {fit.quantity}",
                number(fit.rank_correlation),
                at_least=settings.least_rank_correlation,
            ),
        )
    ]
    return [
        judged(
            NAME,
            "",
            sentence,
            [*quantities, *tested],
            panels=map(_panel, shown),
            tables=map(_table, shown),
        )
    ]


def _of_left_out_labels(subject: Subject) -> list[Calibration]:
    """Calibrate on the training labels; empty where all members have learnt from all of them."""
    learnt, committee = subject.committee_learnt, subject.committee
    if committee is None or len(set(learnt)) < LEAST_MEMBERS:
        return []
    predicted = [predict(member, subject.trained_on) for member in committee.members]
    return calibrate_left_out(subject.trained_on, learnt, predicted)


def _describe(found: Sequence[Calibration], members: int) -> str:
    return ", ".join(
        f"the error of {_NAMES[fit.quantity]} is {fit.factor:.2g} times the spread of {members} "
        f"models (rank correlation {fit.rank_correlation:.2f})"
        for fit in found
    )


def _table(found: Calibration) -> DataTable:
    return DataTable(
        f"Reliability, {found.quantity}",
        ("Items", f"Predicted error ({found.unit})", f"Observed error ({found.unit})"),
        tuple(
            (float(items), number(predicted), number(observed))
            for items, predicted, observed in found.reliability()
        ),
    )


def _panel(found: Calibration) -> Panel:
    bins = found.reliability()
    predicted, observed = [row[1] for row in bins], [row[2] for row in bins]
    longest = max(*predicted, *observed)
    return Panel(
        found.quantity,
        f"predicted error ({found.unit})",
        f"observed error ({found.unit})",
        (
            curve("equal", [0.0, longest], [0.0, longest]),
            curve("committee", predicted, observed, "points"),
        ),
    )
