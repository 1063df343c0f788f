"""The numbers behind the report: changes against the untuned model, and the cost of labels."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from entrove.campaign.journal.outcomes import LabelRow
from entrove.campaign.results.results import CampaignResults, ModelErrors, StageTime
from entrove.labelling.kpoint_check import KpointComparison
from entrove.report.formatting import is_number
from entrove.validation.comparison import Comparison
from entrove.validation.intervals import Interval

ALL = "all"
"""Phase and kind of the total rows."""

QUARANTINED = frozenset({"not converged", "crashed", "timed out", "rejected"})
"""Outcomes of labels that were computed and cannot be used."""


@dataclass(frozen=True)
class Quantity:
    """One of the errors in the report, with its title and units.

    `column` and `interval_column` are fields of `entrove.validation.errors_by_kind.ErrorRow`.
    """

    name: str
    title: str
    unit: str
    unit_ascii: str
    column: str
    interval_column: str | None = None

    def of(self, row: ModelErrors) -> float:
        """Return this error of a row, in `unit`."""
        return getattr(row.errors, self.column)

    def interval_of(self, row: ModelErrors) -> Interval | None:
        """Return the confidence interval of this error, where it is known."""
        return None if self.interval_column is None else getattr(row.errors, self.interval_column)


ENERGY = Quantity(
    "energy",
    "Energy",
    "meV/atom",
    "meV/atom",
    "energy_mae_meV_per_atom",
    "energy_interval_meV_per_atom",
)
FORCE = Quantity(
    "force", "Force", "meV/Å", "meV/A", "force_mae_meV_per_A", "force_interval_meV_per_A"
)
STRESS = Quantity(
    "stress",
    "Stress",
    "meV/Å³",
    "meV/A^3",
    "stress_mae_meV_per_A3",
    "stress_interval_meV_per_A3",
)
QUANTITIES = (ENERGY, FORCE, STRESS)
CENTRED_ENERGY = Quantity(
    "energy_centred",
    "Centred energy",
    "meV/atom",
    "meV/atom",
    "energy_centred_mae_meV_per_atom",
)
"""Shown beside: it says how well energies are told apart within a composition, and no more."""
COLUMNS = (*QUANTITIES, CENTRED_ENERGY)
"""The quantities of the tables."""


@dataclass(frozen=True, order=True)
class ModelKey:
    """One model of the campaign: 0 is the untuned foundation model."""

    round: int
    model: str

    @property
    def title(self) -> str:
        """Short title of the model."""
        return "untuned" if self.round == 0 else f"round {self.round}"


def models_in_order(rows: Iterable[ModelErrors]) -> list[ModelKey]:
    """List the models that were validated: by round, then as given."""
    keys = dict.fromkeys(ModelKey(row.round, row.model) for row in rows)
    return sorted(keys, key=lambda key: key.round)


def rounds_to_compare(rounds: Iterable[int], best: int) -> list[int]:
    """Return the round of the untuned model, and that of the best one, or the latest without any.

    >>> rounds_to_compare([0, 1, 2, 3], best=2)
    [0, 2]
    >>> rounds_to_compare([0, 1], best=0), rounds_to_compare([0], best=0)
    ([0, 1], [0])
    """
    ordered = sorted(set(rounds))
    return sorted({ordered[0], best if best in ordered[1:] else ordered[-1]}) if ordered else []


def errors_to_compare(results: CampaignResults) -> list[ModelErrors]:
    """List the errors of the models that are compared."""
    chosen = rounds_to_compare((row.round for row in results.errors), results.best_round)
    return [row for row in results.errors if row.round in chosen]


def parts_in_order(rows: Iterable[ModelErrors]) -> list[tuple[str, str]]:
    """List the (phase, kind) parts of the validation set, the total first."""
    parts = dict.fromkeys((row.phase, row.kind) for row in rows)
    return sorted(parts, key=lambda part: (part != (ALL, ALL), part[0] != ALL))


def error_of(
    rows: Iterable[ModelErrors],
    key: ModelKey,
    quantity: Quantity,
    phase: str = ALL,
    kind: str = ALL,
) -> float | None:
    """Return one error, or None where it was not measured or is not finite."""
    for row in rows:
        if (row.round, row.model, row.phase, row.kind) == (key.round, key.model, phase, kind):
            value = quantity.of(row)
            return value if is_number(value) else None
    return None


def interval_of(
    rows: Iterable[ModelErrors],
    key: ModelKey,
    quantity: Quantity,
    phase: str = ALL,
    kind: str = ALL,
) -> Interval | None:
    """Return the confidence interval of one error, or None where it is not known."""
    for row in rows:
        if (row.round, row.model, row.phase, row.kind) == (key.round, key.model, phase, kind):
            return quantity.interval_of(row)
    return None


@dataclass(frozen=True)
class ErrorChange:
    """An error of the untuned model and of the latest tuned one, in the unit of the quantity.

    `ratio` is the confidence interval of tuned over untuned, and `tuned_interval` that of the
    tuned model's error, where they are known.
    """

    quantity: Quantity
    untuned: float | None
    tuned: float | None
    ratio: Interval | None = None
    tuned_interval: Interval | None = None

    @property
    def description(self) -> str:
        """The change as a phrase."""
        change = describe_change(self.untuned, self.tuned)
        return f"{change}, within noise" if self._is_noise else change

    @property
    def improved(self) -> bool | None:
        """Whether the tuned model is better; None when it is unknown or about equal."""
        if self._is_noise:
            return None
        if self.untuned is None or self.tuned is None or _is_unchanged(self.untuned, self.tuned):
            return None
        return self.tuned < self.untuned

    @property
    def _is_noise(self) -> bool:
        if self.untuned is None or self.tuned is None or self.ratio is None:
            return False
        return self.ratio[0] <= 1 <= self.ratio[1] and not _is_unchanged(self.untuned, self.tuned)


def describe_change(untuned: float | None, tuned: float | None) -> str:
    """Describe how an error changed.

    >>> describe_change(12.0, 4.0), describe_change(10.0, 9.0), describe_change(5.0, 12.5)
    ('3.0 times smaller', '10 % smaller', '2.5 times larger')
    """
    if untuned is None:
        return "not measured for the untuned model"
    if tuned is None:
        return "no tuned model yet"
    if _is_unchanged(untuned, tuned):
        return "unchanged within 2 %"
    if tuned == 0 or untuned == 0:
        return "now zero" if tuned == 0 else "was zero"
    direction = "smaller" if tuned < untuned else "larger"
    ratio = max(untuned, tuned) / min(untuned, tuned)
    if ratio >= 1.5:
        return f"{ratio:,.1f} times {direction}"
    return f"{abs(tuned - untuned) / untuned:.0%} {direction}".replace("%", " %")


def _is_unchanged(untuned: float, tuned: float) -> bool:
    return abs(tuned - untuned) <= 0.02 * abs(untuned)


def error_changes(
    rows: Sequence[ModelErrors], comparison: Comparison | None = None
) -> tuple[ErrorChange, ...]:
    """Compare the untuned with the latest tuned model: energy, force and stress."""
    models = models_in_order(rows)
    untuned = next((key for key in models if key.round == 0), None)
    tuned = next((key for key in reversed(models) if key.round > 0), None)
    return tuple(
        ErrorChange(
            quantity,
            None if untuned is None else error_of(rows, untuned, quantity),
            None if tuned is None else error_of(rows, tuned, quantity),
            ratio_of(comparison, quantity),
            None if tuned is None else interval_of(rows, tuned, quantity),
        )
        for quantity in QUANTITIES
    )


def quoted_errors(
    results: CampaignResults, compared: Sequence[ModelErrors]
) -> tuple[Sequence[ModelErrors], Comparison | None]:
    """Return the errors to quote and their comparison: on the test set where there is one."""
    if results.test:
        return results.test, results.test_comparison
    return compared, results.comparison


def ratio_of(
    comparison: Comparison | None, quantity: Quantity, phase: str = ALL, kind: str = ALL
) -> Interval | None:
    """Return the confidence interval of tuned over untuned error, where it is known.

    Of a single phase, a kind is compared once, as that of all phases.
    """
    changes = () if comparison is None else comparison.changes
    if all(change.phase == ALL for change in changes):
        phase = ALL
    for change in changes:
        if (change.phase, change.kind, change.quantity) == (phase, kind, quantity.name):
            return change.interval
    return None


def forces_by_symmetry(rows: Iterable[ModelErrors]) -> tuple[int, int] | None:
    """Return the force components that are counted, and those left out; None if not known."""
    for row in rows:
        if (row.phase, row.kind) == (ALL, ALL) and row.errors.trajectories:
            return row.errors.force_components, row.errors.force_components_by_symmetry
    return None


def validation_size(rows: Iterable[ModelErrors]) -> int | None:
    """Return the number of structures behind the total errors."""
    return next((row.structures for row in rows if (row.phase, row.kind) == (ALL, ALL)), None)


def quarantined(labels: Iterable[LabelRow]) -> list[LabelRow]:
    """List the labels that cannot be used."""
    return [label for label in labels if label.outcome in QUARANTINED]


@dataclass(frozen=True)
class LabelCost:
    """The labels of one round and purpose: their outcomes, and their cost.

    `engine_seconds` is the time of the engine in s, to which cached labels add nothing.
    """

    round: int
    purpose: str
    count: int
    converged: int
    quarantined: int
    from_cache: int
    engine_seconds: float


def label_costs(
    labels: Iterable[LabelRow], kpoints: KpointComparison | None = None
) -> list[LabelCost]:
    """Sum the labels per round and purpose.

    Args:
        labels: The labels, and the volumes for the equation of state.
        kpoints: Labels with denser k-points, which belong to the preparation.
    """
    groups: dict[tuple[int, str], list[LabelRow]] = {}
    for label in labels:
        groups.setdefault((label.round, label.purpose), []).append(label)
    found = [
        LabelCost(
            round_index,
            purpose,
            len(group),
            sum(label.outcome == "converged" for label in group),
            len(quarantined(group)),
            sum(label.from_cache for label in group),
            sum(_seconds_computed(label) for label in group),
        )
        for (round_index, purpose), group in groups.items()
    ]
    if kpoints is not None and kpoints.differences:
        count = len(kpoints.differences)
        seconds = sum(each.denser_engine_seconds for each in kpoints.differences)
        found.append(LabelCost(0, "k-points", count, count, 0, 0, seconds))
    return sorted(found, key=lambda cost: (cost.round, cost.purpose))


def _seconds_computed(label: LabelRow) -> float:
    return (
        label.engine_seconds if is_number(label.engine_seconds) and not label.from_cache else 0.0
    )


@dataclass(frozen=True)
class PhaseLabels:
    """The labels of one phase: good ones of each purpose, and those in quarantine."""

    phase: str
    training: int
    validation: int
    quarantined: int
    test: int = 0


def labels_by_phase(labels: Iterable[LabelRow]) -> list[PhaseLabels]:
    """Count the labels of each phase, in the order in which phases occur."""
    groups: dict[str, list[LabelRow]] = {}
    for label in labels:
        groups.setdefault(label.phase, []).append(label)
    return [
        PhaseLabels(
            phase,
            _good(group, "training"),
            _good(group, "validation"),
            len(failed),
            _good(group, "test"),
        )
        for phase, group in groups.items()
        for failed in [quarantined(group)]
    ]


def _good(labels: Iterable[LabelRow], purpose: str) -> int:
    return sum(label.purpose == purpose and label.outcome not in QUARANTINED for label in labels)


def outcomes_by_purpose(labels: Iterable[LabelRow]) -> dict[str, Counter[str]]:
    """Count the outcomes, for each purpose."""
    counts: dict[str, Counter[str]] = {}
    for label in labels:
        counts.setdefault(label.purpose, Counter())[label.outcome] += 1
    return counts


@dataclass(frozen=True)
class RoundGain:
    """The labels of a round, and the information that they were expected to add together.

    `pools` counts the labels from each pool; `added_nats` is None when it is not known.
    """

    round: int
    labels: int
    pools: dict[str, int]
    added_nats: float | None

    @property
    def nats_per_label(self) -> float | None:
        """Information that a label adds on average."""
        return (
            None if self.added_nats is None or not self.labels else self.added_nats / self.labels
        )


def gains_by_round(results: CampaignResults) -> list[RoundGain]:
    """Sum the selected labels and their information per round."""
    training = [label for label in results.labels if label.gain_nats is not None]
    rounds = sorted({label.round for label in training} | set(results.next_gain_nats))
    gains = []
    for round_index in rounds:
        labels = [label for label in training if label.round == round_index]
        added = results.next_gain_nats.get(round_index)
        gains.append(
            RoundGain(
                round_index,
                len(labels),
                dict(Counter(label.pool for label in labels)),
                added if is_number(added) else None,
            )
        )
    return gains


@dataclass(frozen=True)
class StageCost:
    """All runs of one stage: wall time in s, and core hours; None where cores are not known."""

    stage: str
    wall_seconds: float
    core_hours: float | None


def stage_costs(stages: Sequence[StageTime]) -> list[StageCost]:
    """Sum wall time and core hours of each stage over the rounds, in the order of the first run.

    Core hours that are known for only a part of the rounds of a stage are not known.
    """
    costs = []
    for stage, seconds in stage_totals(stages).items():
        cores = [row.core_seconds for row in stages if row.stage == stage]
        known = [value for value in cores if value is not None and is_number(value)]
        hours = sum(known) / 3600 if len(known) == len(cores) else None
        costs.append(StageCost(stage, seconds, hours))
    return costs


def stage_totals(stages: Iterable[StageTime]) -> dict[str, float]:
    """Sum the wall time of each stage over the rounds, in s, in the order of their first run."""
    totals: dict[str, float] = {}
    for stage in stages:
        totals[stage.stage] = totals.get(stage.stage, 0.0) + (
            stage.seconds if is_number(stage.seconds) else 0.0
        )
    return totals


def refusal(results: CampaignResults) -> list[str]:
    """Say why the last tuned model was refused, where its weights are, and what helps.

    Returns a line for each; none where a model was accepted, or none is tuned yet.
    """
    if results.refused is None or results.comparison is None:
        return []
    totals = error_changes(errors_to_compare(results), results.comparison)
    numbers = ", ".join(
        f"{change.quantity.title.lower()} {change.description}" for change in totals
    )
    dataset = shlex.quote(str(results.folder / "dataset.xyz"))
    return [
        f"the model of round {results.refused.round} is {results.comparison.verdict}: {numbers}",
        f"its weights: {results.refused.weights} (for 'entrove validate' and entrove.models.load)",
        "what helps: more labels (raise stopping.rounds or selection.count); labels without "
        f"errors ('entrove audit {dataset}'); a smaller "
        "training.learning_rate, or auto. A new round takes what is changed: raise "
        "stopping.rounds, too, and 'entrove run' again. What is refused is set in the section "
        "validation, and applies at once",
    ]


def what_is_missing(results: CampaignResults) -> list[str]:
    """List what the results do not contain (yet)."""
    tuned = any(row.round > 0 for row in results.errors)
    checks = (
        (not results.errors, "validation errors"),
        (bool(results.errors) and not tuned, "errors of a tuned model"),
        (not results.parity, "parity plots"),
        (not any(label.gain_nats is not None for label in results.labels), "information gains"),
        (
            results.fingerprint_map is None or not results.fingerprint_map.points,
            "the fingerprint map",
        ),
        (not results.labels, "labels"),
        (not results.stages, "stage times"),
    )
    return [what for missing, what in checks if missing]
