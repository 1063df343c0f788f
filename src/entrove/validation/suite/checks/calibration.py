"""Does a committee know its error? Spread against error on labels that it has not learnt from."""

from entrove.errors import ModelError
from entrove.models.prediction import predict
from entrove.validation.calibration import Calibration, calibrate
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


def check_calibration(subject: Subject, settings: CalibrationSettings) -> list[CheckResult]:
    """Fit one factor for energies and one for forces, and show how reliable spreads are.

    A single model has no spread, and no result. The factors are fitted to the labels that the
    tables show, so that predicted and observed errors agree over all of them; in a bin they need
    not.
    """
    if subject.committee is None:
        return []
    if not subject.labelled:
        return [not_applicable(NAME, "", "there is no labelled data")]
    try:
        found = calibrate(subject.labelled, predict(subject.committee, subject.labelled))
    except ModelError as error:
        return [not_applicable(NAME, "", str(error))]
    quantities = [
        quantity
        for one in found
        for quantity in (
            Quantity(f"error over spread, {one.quantity}", number(one.factor)),
            Quantity(
                f"rank correlation of spread and error, {one.quantity}",
                number(one.rank_correlation),
                at_least=settings.least_rank_correlation,
            ),
        )
    ]
    sentence = ", ".join(
        f"the error of {'energies' if one.quantity == 'energy' else 'forces'} is "
        f"{one.factor:.2g} times the spread of {len(subject.committee.members)} models (rank "
        f"correlation {one.rank_correlation:.2f})"
        for one in found
    )
    tables = [_table(one) for one in found]
    return [judged(NAME, "", sentence, quantities, panels=map(_panel, found), tables=tables)]


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
