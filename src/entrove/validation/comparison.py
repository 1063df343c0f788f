"""Decide whether a tuned model is better than the model that it was tuned from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from entrove.validation.config import ValidationConfig
from entrove.validation.errors_by_kind import ALL, ErrorRow, ErrorTable, sums_of
from entrove.validation.intervals import LEAST_GROUPS, Interval, groups_with, ratio_interval

Quantity = Literal["energy", "energy_centred", "force", "stress"]

UNITS = {
    "energy": "meV/atom",
    "energy_centred": "meV/atom",
    "force": "meV/A",
    "stress": "meV/A^3",
}
COLUMNS = {
    "energy": "energy_mae_meV_per_atom",
    "energy_centred": "energy_centred_mae_meV_per_atom",
    "force": "force_mae_meV_per_A",
    "stress": "stress_mae_meV_per_A3",
}
_NAMES = {
    "energy": "energy",
    "energy_centred": "centred energy",
    "force": "forces",
    "stress": "stress",
}


@dataclass(frozen=True)
class Change:
    """How the error of one quantity changed on one part of the validation set.

    Attributes:
        phase, kind: The part; `ALL` where they may differ.
        quantity: "energy" (or "energy_centred", where the zeros of energy differ), "force" or
            "stress".
        untuned, tuned: Mean absolute errors in meV/atom, meV/A or meV/A^3.
        interval: Confidence interval of tuned over untuned error, from paired resamples; None
            where the part has fewer than three independent structures or trajectories.
        negligible: Growth of the error that does not count, in the unit of the quantity.
    """

    phase: str
    kind: str
    quantity: Quantity
    untuned: float
    tuned: float
    interval: Interval | None
    negligible: float

    @property
    def ratio(self) -> float:
        """Tuned over untuned error; below 1 is better."""
        return _ratio(self.tuned, self.untuned)

    @property
    def larger(self) -> bool:
        """Whether the error is larger, and not negligibly, beyond its interval or not."""
        return self.tuned - self.untuned > self.negligible

    @property
    def worse(self) -> bool:
        """Whether the error is larger beyond its confidence interval, and not negligibly."""
        return self.exceeds(0.0)

    def exceeds(self, growth: float) -> bool:
        """Whether the error has grown by more than this fraction beyond its interval."""
        return self.larger and self.interval is not None and self.interval[0] > 1.0 + growth

    def describe(self) -> str:
        """Return the change as a phrase: "forces of shear 41 meV/A, untuned 29 (ratio ...)"."""
        ratio = "" if self.interval is None else f" (ratio {describe_ratio(self)})"
        return (
            f"{_name(self)} {self.tuned:.3g} {UNITS[self.quantity]}, "
            f"untuned {self.untuned:.3g}{ratio}"
        )


@dataclass(frozen=True)
class Comparison:
    """Whether a tuned model is accepted, and why.

    Attributes:
        accepted: Whether the tuned model is better.
        reason: The decision, the three ratios and what got worse, in one line.
        energy_ratio, force_ratio, stress_ratio: Tuned over untuned mean absolute error on the same
            validation labels: below 1 is better.
        changes: The change of each quantity in total, for each phase and for each kind.
        verdict: The decision alone, in one phrase.
    """

    accepted: bool
    reason: str
    energy_ratio: float
    force_ratio: float
    stress_ratio: float
    changes: tuple[Change, ...] = ()
    verdict: str = ""

    @property
    def worse(self) -> tuple[Change, ...]:
        """What got worse beyond its confidence interval."""
        return tuple(change for change in self.changes if change.worse)

    @property
    def larger_within_noise(self) -> tuple[Change, ...]:
        """What has a larger error, though not beyond its interval, or without a known one."""
        return tuple(change for change in self.changes if change.larger and not change.worse)

    def describe_worse(self) -> str:
        """Name everything that got worse, or may have; empty when nothing did."""
        parts = (("worse", self.worse), ("larger, within noise", self.larger_within_noise))
        return "; ".join(
            f"{title}: {', '.join(change.describe() for change in changes)}"
            for title, changes in parts
            if changes
        )


def compare(
    untuned: ErrorTable,
    tuned: ErrorTable,
    config: ValidationConfig | None = None,
    *,
    beyond_noise: bool = True,
) -> Comparison:
    """Compare the errors of a tuned model with those of the untuned one.

    Args:
        untuned, tuned: Errors of both models on the same labels, from `errors_by_kind`. The
            untuned ones with reference shifts that were fitted to *training* labels: then
            energies are compared as they are. Without them (None), zeros of energy may differ,
            and centred energy errors are compared instead.
        config: What counts as worse, and what is refused.
        beyond_noise: Whether being better must exceed the confidence interval. To choose between
            two tuned models it need not.

    The tuned model is accepted when the geometric mean of its three ratios of errors (energy,
    forces, stress) is below 1 beyond the confidence interval, no quantity is worse in total beyond
    its interval, and none has grown in a phase or kind by more than `tolerated_worsening` beyond
    its interval. A model with errors that are not finite is refused, and so is any that has errors
    where fewer than three structures are independent, because there is no interval then. A
    quantity does not count when the labels have none of it: stress of molecules, forces that all
    vanish by symmetry; nor where both models have no error of it, as centred energies where no two
    labels share a composition; nor, beyond noise, where fewer than three independent structures
    have it, as forces where all but one trajectory are strained crystals.

    Tables without structures, as ledgers of release 0.1 have them, have no intervals: the force
    error must not be higher then, and the product of the ratios not above 1.
    """
    config = config or ValidationConfig()
    changes = _changes(untuned, tuned, config)
    totals: dict[Quantity, Change] = {
        change.quantity: change for change in changes if change.phase == change.kind == ALL
    }
    energy = totals.get("energy", totals.get("energy_centred"))
    counted = [name for name, change in totals.items() if change.untuned or change.tuned]
    if untuned.structures and tuned.structures:
        # The better of two estimates is chosen whatever their uncertainty.
        least = LEAST_GROUPS if beyond_noise else 1
        known = [name for name in counted if _independent(untuned, name) >= least]
        mean = _mean_interval(untuned, tuned, known or counted or tuple(totals))
        accepted, verdict = _judge(changes, mean, config, beyond_noise=beyond_noise)
    else:
        accepted, verdict = _judge_without_intervals(totals)
    named = ", ".join(
        f"{_NAMES[quantity]} {describe_ratio(totals[quantity])}"
        for quantity in ("force", "energy", "energy_centred", "stress")
        if quantity in (counted or totals)
    )
    reason = f"{verdict} (tuned over untuned error: {named})"
    comparison = Comparison(
        accepted,
        reason,
        _ratio_of(energy),
        _ratio_of(totals.get("force")),
        _ratio_of(totals.get("stress")),
        changes,
        verdict,
    )
    if worse := comparison.describe_worse():
        comparison = replace(comparison, reason=f"{reason}; {worse}")
    return comparison


def describe_ratio(change: Change) -> str:
    """Return a ratio with its interval.

    >>> describe_ratio(Change("all", "all", "force", 100.0, 50.0, (0.4, 0.62), 2.0))
    '0.50 (0.40 to 0.62)'
    """
    if change.interval is None:
        return f"{change.ratio:.2f}"
    low, high = change.interval
    return f"{change.ratio:.2f} ({low:.2f} to {high:.2f})"


def _changes(
    untuned: ErrorTable, tuned: ErrorTable, config: ValidationConfig
) -> tuple[Change, ...]:
    """The changes in total, then of each phase where there are several, and of each kind."""
    phases = {row.phase for row in untuned.rows} - {ALL}
    parts = [
        (row.phase, row.kind)
        for row in untuned.rows
        if ALL in (row.phase, row.kind) and not (row.phase != ALL and len(phases) == 1)
    ]
    energy: Quantity = "energy_centred" if untuned.reference_shifts_eV is None else "energy"
    quantities: tuple[Quantity, ...] = (energy, "force", "stress")
    return tuple(
        change
        for phase, kind in parts
        for quantity in quantities
        if (change := _change(untuned, tuned, phase, kind, quantity, config)) is not None
    )


def _change(
    untuned: ErrorTable,
    tuned: ErrorTable,
    phase: str,
    kind: str,
    quantity: Quantity,
    config: ValidationConfig,
) -> Change | None:
    """The change of a quantity; None where the untuned model has no error of it."""
    before, after = untuned.row(phase, kind), tuned.row(phase, kind)
    if math.isnan(_error(before, quantity)):
        return None
    negligible = {
        "force": config.negligible_force_meV_per_A,
        "stress": config.negligible_stress_meV_per_A3,
    }.get(quantity, config.negligible_energy_meV_per_atom)
    return Change(
        phase,
        kind,
        quantity,
        _error(before, quantity),
        _error(after, quantity),
        paired_interval(untuned, tuned, [quantity], phase, kind),
        negligible,
    )


def paired_interval(
    before: ErrorTable,
    after: ErrorTable,
    quantities: Sequence[str],
    phase: str = ALL,
    kind: str = ALL,
) -> Interval | None:
    """Return the interval of the geometric mean of ratios of errors, after over before.

    Args:
        before, after: Errors of two models on the same structures in the same order.
        quantities: Names that `sums_of` takes.
        phase, kind: The part of the structures; `ALL` takes any.

    Returns None where a table has no structures or these have too few trajectories.
    """
    part, counterpart = before.part(phase, kind), after.part(phase, kind)
    groups = [structure.trajectory for structure in part]
    if not groups or groups != [structure.trajectory for structure in counterpart]:
        return None
    return ratio_interval(
        [sums_of(counterpart, quantity) for quantity in quantities],
        [sums_of(part, quantity) for quantity in quantities],
        groups,
    )


def _independent(table: ErrorTable, quantity: str) -> int:
    """Number of trajectories that have errors of a quantity."""
    trajectories = [structure.trajectory for structure in table.structures]
    return groups_with(sums_of(table.structures, quantity), trajectories)


def _mean_interval(
    untuned: ErrorTable, tuned: ErrorTable, quantities: Sequence[str]
) -> tuple[float, Interval | None]:
    """Geometric mean of the ratios of errors, with its interval."""
    logs = [
        math.log(ratio) if ratio > 0 else -math.inf
        for quantity in quantities
        for ratio in [_ratio(_error(tuned.total, quantity), _error(untuned.total, quantity))]
    ]
    return math.exp(sum(logs) / len(logs)), paired_interval(untuned, tuned, quantities)


def _judge(
    changes: Sequence[Change],
    mean: tuple[float, Interval | None],
    config: ValidationConfig,
    *,
    beyond_noise: bool,
) -> tuple[bool, str]:
    """Whether to accept, and a phrase that says why."""
    ratio, interval = mean
    if not math.isfinite(ratio) or any(not math.isfinite(change.tuned) for change in changes):
        return False, "refused: its errors are not finite"
    worse = [change for change in changes if change.phase == change.kind == ALL and change.worse]
    if worse:
        names = " and ".join(_NAMES[change.quantity] for change in worse)
        return False, f"refused: {names} worse than the untuned model's beyond the interval"
    if config.tolerated_worsening is not None:
        parts = [change for change in changes if change.exceeds(config.tolerated_worsening)]
        if parts:
            return False, (
                f"refused: {' and '.join(map(_name, parts))} more than "
                f"{100 * config.tolerated_worsening:g} % worse beyond the interval "
                "(validation.tolerated_worsening)"
            )
    if ratio > 1.0:
        return False, "refused: its errors are larger on average than the untuned model's"
    if not beyond_noise or ratio == 0.0:  # a model without any error has no interval
        return True, "accepted"
    if ratio == 1.0:
        return False, "refused: its errors are those of the untuned model"
    if interval is None:
        return False, (
            f"refused: fewer than {LEAST_GROUPS} independent structures cannot tell whether it is "
            "better beyond noise; label more for validation (sampling.hold_out)"
        )
    if interval[1] >= 1.0:
        low, high = interval
        return False, (
            "refused: not better beyond noise (mean of the three ratios "
            f"{ratio:.2f}, {low:.2f} to {high:.2f})"
        )
    return True, "accepted"


def _judge_without_intervals(totals: Mapping[Quantity, Change]) -> tuple[bool, str]:
    product = math.prod(change.ratio for change in totals.values())
    if not math.isfinite(product):
        return False, "refused: its errors are not finite"
    if "force" in totals and totals["force"].ratio > 1.0:
        return False, "refused: its forces are worse than the untuned model's"
    if product > 1.0:
        return False, "refused: it loses more on energy and stress than it gains on forces"
    return True, "accepted"


def _ratio_of(change: Change | None) -> float:
    return math.nan if change is None else change.ratio


def _name(change: Change) -> str:
    part = " ".join(name for name in (change.phase, change.kind) if name != ALL)
    return f"{_NAMES[change.quantity]}{f' of {part}' if part else ''}"


def _error(row: ErrorRow, quantity: str) -> float:
    return getattr(row, COLUMNS[quantity])


def _ratio(tuned: float, untuned: float) -> float:
    if untuned == 0.0:
        return 1.0 if tuned == 0.0 else math.inf
    return tuned / untuned
