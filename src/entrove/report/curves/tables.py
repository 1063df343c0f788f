"""Tables of a study of learning curves: errors, ratios to the control arm, labels needed."""

import math

import numpy as np

from entrove.curves.results import QUANTITIES, Ratio, StudyResults
from entrove.report.formatting import MISSING, format_number
from entrove.report.tables import Column, Table

TITLES = {
    "energy": "energy",
    "energy_centred": "energy, centred",
    "force": "forces",
    "stress": "stress",
}
ALL, LOWEST = "all", "lowest quarter"


def counts_of(results: StudyResults, student: str) -> list[int]:
    """Numbers of labels that a student has learnt from."""
    return sorted({point.labels for point in results.points if point.student == student})


def errors(results: StudyResults, student: str, test: str, group: str, quantity: str) -> Table:
    """Mean error of each arm at each number of labels, and the spread of the draws."""
    counts = counts_of(results, student)
    rows: list[tuple[str, ...]] = []
    for arm in results.arms(student):
        curve = results.curve(student, arm, test, group, quantity)
        cells = dict(zip(curve.counts, curve.values, strict=True))
        rows.append((arm, *(_mean_and_spread(cells.get(count)) for count in counts)))
    title = f"{TITLES[quantity]} ({QUANTITIES[quantity]})"
    return Table((Column(title), *(Column(str(count), numeric=True) for count in counts)), rows)


def ratios(results: StudyResults, student: str, test: str, group: str, quantity: str) -> Table:
    """Error of the control arm over that of each other arm, with its interval."""
    counts = counts_of(results, student)
    rows: list[tuple[str, ...]] = []
    for arm in results.arms(student):
        if arm == results.control:
            continue
        found = results.ratios(student, arm, test, group, quantity)
        needed = results.labels_needed(student, arm, test, group, quantity)
        least = min(results.curve(student, arm, test, group, quantity).counts, default=0)
        rows.append(
            (
                arm,
                *(format_ratio(found.get(count)) for count in counts),
                _format_needed(needed, least=least),
            )
        )
    heading = f"{results.control} / arm, {TITLES[quantity]}"
    columns = [Column(heading), *(Column(str(count), numeric=True) for count in counts)]
    return Table((*columns, Column("labels needed", numeric=True)), rows)


def ratios_at_equal_cost(
    results: StudyResults, student: str, test: str, group: str, quantity: str
) -> Table:
    """As `ratios`, the control arm with labels of as many engine seconds; often without rows."""
    counts = counts_of(results, student)
    rows: list[tuple[str, ...]] = []
    for arm in results.arms(student):
        found = results.ratios_at_equal_cost(student, arm, test, group, quantity)
        if found and arm != results.control:
            rows.append((arm, *(format_ratio(found.get(count)) for count in counts)))
    heading = f"{results.control} with labels of equal engine time / arm, {TITLES[quantity]}"
    return Table((Column(heading), *(Column(str(count), numeric=True) for count in counts)), rows)


def costs(results: StudyResults, student: str) -> Table:
    """Mean size and engine seconds of the labels of each arm: equal number is not equal cost."""
    counts = counts_of(results, student)
    rows: list[tuple[str, ...]] = []
    for arm in results.arms(student):
        cells = [arm]
        for count in counts:
            points = [
                p
                for p in results.points
                if (p.student, p.arm, p.labels) == (student, arm, count) and p.errors.group == ALL
            ]
            if not points:
                cells.append(MISSING)
                continue
            atoms = sum(point.atoms for point in points) / len(points)
            seconds = sum(point.engine_s for point in points) / len(points)
            cells.append(f"{atoms:.1f} atoms, {format_number(seconds)} s")
        rows.append(tuple(cells))
    return Table((Column("arm"), *(Column(str(count), numeric=True) for count in counts)), rows)


def format_ratio(ratio: Ratio | None) -> str:
    """A ratio with its interval, where there is one."""
    if ratio is not None and ratio.value == math.inf:
        return "infinite"
    if ratio is None or not math.isfinite(ratio.value):
        return MISSING
    if not math.isfinite(ratio.low):
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _format_needed(needed: float | None, *, least: int) -> str:
    """Labels needed: a bound, where the fewest labels of the arm are enough."""
    if needed is None:
        return MISSING
    return f"at most {needed:.0f}" if needed <= least else f"{needed:.0f}"


def _mean_and_spread(values: np.ndarray | None) -> str:
    if values is None or not all(math.isfinite(value) for value in values):
        return MISSING
    mean = sum(values) / len(values)
    if len(values) == 1:
        return format_number(mean)
    return f"{format_number(mean)} ({format_number(min(values))} to {format_number(max(values))})"
