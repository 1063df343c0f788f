"""What a check found: its verdict, the numbers behind it, and the data of its plots."""

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, Literal

Cell = str | float | None
CurveStyle = Literal["line", "points", "reference", "marked"]


class Outcome(StrEnum):
    """The verdict of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Quantity:
    """A number that a check measured.

    Attributes:
        name, unit: What it is, and its unit; the unit is empty for a pure number.
        value: The value; None where it could not be computed.
        at_least, at_most: What is allowed; None where there is no limit.
        reference: The value of the labels, or of the untuned model, where there is one.
    """

    name: str
    value: float | None
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    reference: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the value is allowed; None without a limit."""
        if self.at_least is None and self.at_most is None:
            return None
        if self.value is None or not math.isfinite(self.value):
            return False
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= self.value <= high

    @property
    def limit(self) -> str:
        """What is allowed, in words; empty without a limit."""
        parts = [
            f"{words} {value:g}"
            for words, value in (("at least", self.at_least), ("at most", self.at_most))
            if value is not None
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class Curve:
    """One curve of a plot: points (x, y), the line interrupted where y is None.

    "reference" are points of labels or of the untuned model, "marked" those that make a check
    fail.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    style: CurveStyle = "line"


@dataclass(frozen=True)
class Panel:
    """One plot: axes with units, curves, and named positions on the x axis, if any."""

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class DataTable:
    """A table of texts and numbers; units are in the heads of its columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class CheckResult:
    """What one check found for one phase, or for the whole model.

    Attributes:
        check: Name of the check, that of its section in `SuiteConfig`.
        phase: The phase, or pair of species; empty for the whole model.
        outcome: The verdict.
        sentence: What was found, and for a failure why, in one sentence.
        quantities: The numbers, each with its limit.
        panels, tables: Data of the plots and tables.
        missing_package: What has to be installed for the check to be made; empty otherwise.
    """

    check: str
    phase: str
    outcome: Outcome
    sentence: str
    quantities: tuple[Quantity, ...] = ()
    panels: tuple[Panel, ...] = ()
    tables: tuple[DataTable, ...] = ()
    missing_package: str = ""

    @property
    def can_be_made_now(self) -> bool:
        """Whether only a package was missing, which has been installed since."""
        return self.missing_package != "" and find_spec(self.missing_package) is not None

    @property
    def title(self) -> str:
        """Name of the check and its phase, in words."""
        name = self.check.replace("_", " ")
        return f"{name}, {self.phase}" if self.phase else name


@dataclass(frozen=True)
class SuiteResult:
    """The results of a validation suite.

    Attributes:
        model: The model that was judged.
        against: The untuned model that it was compared with; empty without one.
        checks: One result for each check and phase.
        seconds: Wall time of each check in s, by its name.
        settings: The configuration of the suite, as JSON values.
        entrove_version: The version that judged.
        complete: Whether all checks have run; False after an interruption.
    """

    model: str
    against: str
    checks: tuple[CheckResult, ...]
    seconds: dict[str, float]
    settings: dict[str, Any]
    entrove_version: str
    complete: bool = True

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome is Outcome.FAILED)

    @property
    def passed(self) -> bool:
        """Whether all checks have run and none failed."""
        return self.complete and not self.failed

    @property
    def summary(self) -> str:
        """The verdict in one line; it names the checks that failed."""
        counts = {
            outcome: sum(check.outcome is outcome for check in self.checks) for outcome in Outcome
        }
        text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        if self.failed:
            text += ": " + "; ".join(check.title for check in self.failed) + " failed"
        if not self.complete:
            text += "; the suite was stopped before its end"
        return text or "no check was run"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self) | {"passed": self.passed, "summary": self.summary}

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def _repr_html_(self) -> str:
        """Show the verdicts as a table in a notebook."""
        rows = "".join(
            f"<tr><td>{html.escape(check.title)}</td><td><b>{check.outcome}</b></td>"
            f"<td style='text-align: left'>{html.escape(check.sentence)}</td></tr>"
            for check in self.checks
        )
        return (
            f"<p>{html.escape(self.model)}: {html.escape(self.summary)}</p>"
            f"<table><tr><th>check</th><th>verdict</th><th>what was found</th></tr>{rows}</table>"
        )


def judged(
    check: str,
    phase: str,
    found: str,
    quantities: Sequence[Quantity],
    *,
    problems: Iterable[str] = (),
    panels: Iterable[Panel] = (),
    tables: Iterable[DataTable] = (),
) -> CheckResult:
    """Make a result whose verdict follows from its quantities and from problems, if any.

    `found` is the sentence when all is well. When it is not, the sentence has the problems, or
    without any the quantities that break their limit.
    """
    broken = [
        f"{quantity.name} {_describe(quantity.value)} {quantity.unit}".strip()
        + f" ({quantity.limit} is allowed)"
        for quantity in quantities
        if quantity.holds is False
    ]
    reasons = list(problems) or broken
    return CheckResult(
        check=check,
        phase=phase,
        outcome=Outcome.FAILED if reasons else Outcome.PASSED,
        sentence="; ".join(reasons) if reasons else found,
        quantities=tuple(quantities),
        panels=tuple(panels),
        tables=tuple(tables),
    )


def not_applicable(
    check: str, phase: str, reason: str, *, missing_package: str = ""
) -> CheckResult:
    """Make the result of a check that cannot be made, with the reason."""
    return CheckResult(
        check, phase, Outcome.NOT_APPLICABLE, reason, missing_package=missing_package
    )


def number(value: float) -> float | None:
    """Round to seven digits, so that results stay small; None for what is not finite."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


def curve(
    name: str, x: Iterable[float | int], y: Iterable[float | int], style: CurveStyle = "line"
) -> Curve:
    """Make a curve of numbers of any kind; points that are not finite interrupt it."""
    return Curve(
        name,
        tuple(number(float(value)) or 0.0 for value in x),
        tuple(number(float(value)) for value in y),
        style,
    )


def _describe(value: float | None) -> str:
    return "is not finite" if value is None or not math.isfinite(value) else f"{value:.3g}"
