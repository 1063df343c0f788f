"""Learning curves, ratios to the control arm with their intervals, and labels needed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from entrove.curves.learning import GroupErrors
from entrove.files import replace_text

RESULTS_VERSION = 1
QUANTITIES = {
    "energy": "meV/atom",
    "energy_centred": "meV/atom",
    "force": "meV/A",
    "stress": "meV/A^3",
}
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """Errors of one student, trained on one number of labels of one arm in one draw.

    Attributes:
        student, arm, draw, labels: What was trained on what; `labels` that failed are missing.
        atoms: Mean number of atoms of these labels.
        engine_s: Engine seconds that these labels took, failed ones included.
        test: The test set.
        errors: The errors of a group of it.
    """

    student: str
    arm: str
    draw: int
    labels: int
    atoms: float
    engine_s: float
    test: str
    errors: GroupErrors


@dataclass(frozen=True)
class Curve:
    """An error against the number of labels.

    Attributes:
        counts: Numbers of labels, ascending.
        values: Errors, shape (counts, draws).
        engine_s: Engine seconds that these labels took, shape (counts, draws).
    """

    counts: tuple[int, ...]
    values: np.ndarray
    engine_s: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """Mean over the draws, shape (counts,)."""
        return self.values.mean(axis=1)


@dataclass(frozen=True)
class Ratio:
    """How many times smaller an error is than the control arm's.

    Attributes:
        value: Geometric mean over the draws; above 1 is better than the control arm. 1 where both
            errors are zero, infinite or 0 where that of the arm or of the control arm is, and NaN
            where both happen in different draws.
        low, high: Interval of 95 % from the scatter of the draws (Student's t on logarithms);
            NaN for a single draw and where one error is zero.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class StudyResults:
    """All points of a study so far.

    Attributes:
        name: Name of the study.
        control: The arm that others are compared with.
        draws: Number of draws that were asked for.
        points: One per student, arm, draw, count, test set and group.
        failed: Labels that failed, by arm.
        checked: What the first labels said of the engine, in a sentence; empty for older results.
    """

    name: str
    control: str
    draws: int
    points: tuple[Point, ...]
    failed: dict[str, int]
    checked: str = ""

    @cached_property
    def _index(self) -> dict[tuple[str, str, str, str], dict[int, dict[int, Point]]]:
        index: dict[tuple[str, str, str, str], dict[int, dict[int, Point]]] = {}
        for point in self.points:
            key = (point.student, point.arm, point.test, point.errors.group)
            index.setdefault(key, {}).setdefault(point.labels, {})[point.draw] = point
        return index

    def students(self) -> list[str]:
        """Students with at least one point, in the order in which they were trained."""
        return list(dict.fromkeys(point.student for point in self.points))

    def arms(self, student: str) -> list[str]:
        """Arms that a student has learnt from."""
        return list(dict.fromkeys(p.arm for p in self.points if p.student == student))

    def tests(self) -> list[str]:
        """Test sets."""
        return list(dict.fromkeys(point.test for point in self.points))

    def groups(self, test: str) -> list[str]:
        """Groups of a test set."""
        return list(dict.fromkeys(p.errors.group for p in self.points if p.test == test))

    def curve(self, student: str, arm: str, test: str, group: str, quantity: str) -> Curve:
        """Errors against the number of labels, where all draws are there.

        Args:
            student, arm, test, group: What was trained on what, and tested on what.
            quantity: A key of `QUANTITIES`.
        """
        found = self._index.get((student, arm, test, group), {})
        counts = tuple(count for count in sorted(found) if len(found[count]) == self.draws)
        points = [found[count][draw] for count in counts for draw in range(self.draws)]
        values = [getattr(point.errors, quantity) for point in points]
        shape = (len(counts), self.draws)
        return Curve(
            counts,
            np.array(values, dtype=float).reshape(shape),
            np.array([point.engine_s for point in points], dtype=float).reshape(shape),
        )

    def ratios(
        self, student: str, arm: str, test: str, group: str, quantity: str
    ) -> dict[int, Ratio]:
        """Error of the control arm over that of an arm, by number of labels.

        Args:
            student, arm, test, group, quantity: As of `curve`.

        Returns the numbers of labels for which both arms have all draws; a ratio above 1 says
        that the arm is better.
        """
        control = self.curve(student, self.control, test, group, quantity)
        ours = self.curve(student, arm, test, group, quantity)
        return {
            count: ratio_of(
                control.values[control.counts.index(count)], ours.values[ours.counts.index(count)]
            )
            for count in ours.counts
            if count in control.counts
        }

    def ratios_at_equal_cost(
        self, student: str, arm: str, test: str, group: str, quantity: str
    ) -> dict[int, Ratio]:
        """Error of the control arm with labels of as many engine seconds over that of an arm.

        Between its counts the logarithm of the control arm's error, in each draw, is linear in
        that of its engine seconds.

        Args:
            student, arm, test, group, quantity: As of `curve`.

        Returns the numbers of labels of the arm whose seconds are, in every draw, between those of
        the fewest and the most labels of the control arm.
        """
        control = self.curve(student, self.control, test, group, quantity)
        ours = self.curve(student, arm, test, group, quantity)
        found: dict[int, Ratio] = {}
        for count, values, seconds in zip(ours.counts, ours.values, ours.engine_s, strict=True):
            errors = [
                error_at(control.engine_s[:, draw], control.values[:, draw], seconds[draw])
                for draw in range(self.draws)
            ]
            if np.isfinite(errors).all():
                found[count] = ratio_of(errors, values)
        return found

    def labels_needed(
        self, student: str, arm: str, test: str, group: str, quantity: str
    ) -> float | None:
        """Labels with which an arm has the error that the control arm has with the most labels.

        Between counts the logarithm of the mean error is linear in that of the number of labels.

        Args:
            student, arm, test, group, quantity: As of `curve`.

        Returns None when the arm never gets there, or there is no such error; its fewest labels,
        which is an upper bound, when it is there with these.
        """
        control = self.curve(student, self.control, test, group, quantity)
        ours = self.curve(student, arm, test, group, quantity)
        if not control.counts:
            return None
        return labels_for(ours.counts, ours.means, float(control.means[-1]))

    def to_dict(self) -> dict[str, Any]:
        """The points as JSON values."""
        points = [
            {**vars(point), "errors": point.errors.to_dict()}  # a flat record each
            for point in self.points
        ]
        return {
            "version": RESULTS_VERSION,
            "name": self.name,
            "control": self.control,
            "draws": self.draws,
            "failed": self.failed,
            "checked": self.checked,
            "points": points,
        }

    def to_json(self) -> str:
        """The points, as `read_study` reads them."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def write(self, path: Path) -> None:
        """Write the points; the file is replaced in one step."""
        replace_text(path, self.to_json())


def read_study(path: str | Path) -> StudyResults:
    """Read the results of a study.

    Args:
        path: The file `results.json` in the folder of the study, which may be unfinished.
    """
    content = json.loads(Path(path).read_text())
    points = tuple(
        Point(**{**fields, "errors": GroupErrors.from_dict(fields["errors"])})
        for fields in content["points"]
    )
    return StudyResults(
        content["name"],
        content["control"],
        content["draws"],
        points,
        content["failed"],
        content.get("checked", ""),
    )


def ratio_of(control: Sequence[float] | np.ndarray, ours: Sequence[float] | np.ndarray) -> Ratio:
    """Ratio of errors, paired by draw, with its interval.

    >>> ratio_of([4.0, 4.0], [2.0, 2.0])
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # errors of zero
        logs = np.log(np.asarray(control, dtype=float)) - np.log(np.asarray(ours, dtype=float))
    logs = np.where((np.asarray(control) == 0) & (np.asarray(ours) == 0), 0.0, logs)
    if {*logs[np.isinf(logs)].tolist()} == {np.inf, -np.inf}:
        # Infinitely better in one draw and worse in another: there is no mean.
        return Ratio(float("nan"), float("nan"), float("nan"))
    mean = float(logs.mean())
    if len(logs) < 2 or not np.isfinite(mean):
        return Ratio(float(np.exp(mean)), float("nan"), float("nan"))
    half = float(student_t.ppf(0.5 + CONFIDENCE / 2, len(logs) - 1)) * float(
        logs.std(ddof=1) / np.sqrt(len(logs))
    )
    low, value, high = (float(np.exp(mean + shift)) for shift in (-half, 0.0, half))
    return Ratio(value, low, high)


def labels_for(
    counts: Sequence[int], means: Sequence[float] | np.ndarray, error: float
) -> float | None:
    """Number of labels at which a curve falls to an error, by log-log interpolation.

    A curve that is there from the start gives its first count, an upper bound. An error that is
    NaN, as that of forces which vanish by symmetry, is reached by no number.

    >>> labels_for([100, 400], [4.0, 1.0], 2.0)
    200.0
    """
    for number, (count, mean) in enumerate(zip(counts, means, strict=True)):
        if not mean <= error:  # nor where one of them is unknown
            continue
        # An error of zero has no logarithm to interpolate to.
        if number == 0 or mean == 0 or not np.isfinite(means[number - 1]):
            return float(count)
        before, at = np.log(counts[number - 1]), np.log(count)
        high, low = np.log(means[number - 1]), np.log(mean)
        share = (high - np.log(error)) / (high - low)
        return round(float(np.exp(before + share * (at - before))), 6)
    return None


def error_at(costs: np.ndarray, errors: np.ndarray, cost: float) -> float:
    """Error of a curve at a cost, by log-log interpolation; NaN outside of it, and beside a zero.

    >>> round(error_at(np.array([100.0, 400.0]), np.array([4.0, 1.0]), 200.0), 6)
    2.0
    """
    if not len(costs) or not (costs > 0).all() or not costs.min() <= cost <= costs.max():
        return float("nan")
    order = np.argsort(costs, kind="stable")
    costs, errors = costs[order], errors[order]
    above = int(np.searchsorted(costs, cost))
    if costs[above] == cost or errors[above - 1] == errors[above]:
        return float(errors[above])
    if 0 in errors[above - 1 : above + 1]:
        return float("nan")  # between an error of zero and another one
    return float(np.exp(np.interp(np.log(cost), np.log(costs), np.log(errors))))
