"""The tables of the report: rows of formatted texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrove.campaign.journal.outcomes import LabelRow, WalkerRow
from entrove.campaign.results.results import CampaignResults, ModelErrors, PoolRow
from entrove.labelling.kpoint_check import KpointComparison
from entrove.labelling.store.moments import short_key
from entrove.report.forecast import Forecast
from entrove.report.formatting import (
    MISSING,
    decimals_for,
    format_column,
    format_duration,
    format_interval,
    format_number,
    is_number,
    plain_words,
)
from entrove.report.learning import LearningCurve
from entrove.report.summary import (
    COLUMNS,
    QUANTITIES,
    Quantity,
    error_of,
    gains_by_round,
    interval_of,
    label_costs,
    labels_by_phase,
    models_in_order,
    parts_in_order,
    quarantined,
    ratio_of,
)
from entrove.validation.comparison import Comparison
from entrove.validation.errors_by_kind import ErrorRow
from entrove.validation.intervals import Interval


@dataclass(frozen=True)
class Column:
    """The heading of a column; numbers are aligned right, and prose may wrap."""

    title: str
    numeric: bool = False
    prose: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose cells are texts."""

    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]]


def _error_columns(quantities: Sequence[Quantity] = COLUMNS) -> tuple[Column, ...]:
    return tuple(
        Column(f"{quantity.title} ({quantity.unit})", numeric=True) for quantity in quantities
    )


def _with_intervals(
    values: Sequence[float | None], intervals: Sequence[Interval | None]
) -> list[str]:
    """Errors with their confidence intervals in brackets, where these are known."""
    decimals = decimals_for(values)
    texts = []
    for value, interval in zip(values, intervals, strict=True):
        between = format_interval(interval, decimals) if is_number(value) else ""
        texts.append(format_number(value, decimals) + (f" ({between})" if between else ""))
    return texts


def _finite(value: float) -> float | None:
    return value if is_number(value) else None


def errors_by_round(rows: Sequence[ModelErrors]) -> Table:
    """List the total errors of each model."""
    models = models_in_order(rows)
    columns = [
        _with_intervals(
            [error_of(rows, key, quantity) for key in models],
            [interval_of(rows, key, quantity) for key in models],
        )
        for quantity in COLUMNS
    ]
    cells = [
        (key.title, key.model, *errors) for key, *errors in zip(models, *columns, strict=True)
    ]
    return Table((Column("Round"), Column("Model"), *_error_columns()), cells)


def errors_by_part(rows: Sequence[ModelErrors], comparison: Comparison | None = None) -> Table:
    """List untuned and tuned errors for each phase and kind, with the interval of the ratio."""
    models = models_in_order(rows)
    parts = parts_in_order(rows)
    errors = {(row.phase, row.kind): row.errors for row in rows}
    columns = [_change_column(rows, quantity, comparison) for quantity in COLUMNS]
    cells = [
        (
            part[0],
            plain_words(part[1]),
            str(errors[part].structures),
            _components(errors[part]),
            *changes,
        )
        for part, *changes in zip(parts, *columns, strict=True)
    ]
    heads = (
        Column("Phase"),
        Column("Kind"),
        Column("Structures", numeric=True),
        Column("Force components", numeric=True),
        *_error_columns(),
    )
    return Table(heads, cells if models else [])


def _components(row: ErrorRow) -> str:
    """Force components that are counted, and how many are zero by symmetry."""
    if not row.trajectories:
        return MISSING
    left_out = row.force_components_by_symmetry
    return f"{row.force_components:,}" + (f" ({left_out:,} zero by symmetry)" if left_out else "")


def worse_parts(comparison: Comparison | None) -> list[str]:
    """List what got worse beyond its confidence interval, as phrases."""
    return [] if comparison is None else [change.describe() for change in comparison.worse]


def larger_parts(comparison: Comparison | None) -> list[str]:
    """List what has a larger error within its confidence interval, as phrases."""
    if comparison is None:
        return []
    return [change.describe() for change in comparison.larger_within_noise]


def _change_column(
    rows: Sequence[ModelErrors], quantity: Quantity, comparison: Comparison | None
) -> list[str]:
    models = models_in_order(rows)
    parts = parts_in_order(rows)
    ends = [models[0], models[-1]] if len(models) > 1 else models
    values = [error_of(rows, key, quantity, *part) for part in parts for key in ends]
    texts = iter(format_column(values))
    changes = [_arrow([next(texts) for _ in ends]) for _ in parts]
    ratios = [format_interval(ratio_of(comparison, quantity, *part), 2) for part in parts]
    return [
        f"{change} (ratio {ratio})" if ratio else change
        for change, ratio in zip(changes, ratios, strict=True)
    ]


def _arrow(texts: Sequence[str]) -> str:
    """From the untuned to the tuned error; one dash where there is none of either."""
    return MISSING if set(texts) == {MISSING} else " → ".join(texts)


def every_error(rows: Sequence[ModelErrors]) -> Table:
    """List every error that was measured."""
    columns = [
        _with_intervals(
            [_finite(quantity.of(row)) for row in rows],
            [quantity.interval_of(row) for row in rows],
        )
        for quantity in COLUMNS
    ]
    cells = [
        (str(row.round), row.model, row.phase, plain_words(row.kind), str(row.structures), *errors)
        for row, *errors in zip(rows, *columns, strict=True)
    ]
    heads = (Column("Round", numeric=True), Column("Model"), Column("Phase"), Column("Kind"))
    return Table((*heads, Column("Structures", numeric=True), *_error_columns()), cells)


def learning(curves: Sequence[LearningCurve]) -> Table:
    """List the total errors of each model with its number of labels, campaign by campaign."""
    points = [(curve, point) for curve in curves for point in curve.points]
    columns = [
        _with_intervals(
            [point.errors[number] for _, point in points],
            [point.intervals[number] for _, point in points],
        )
        for number in range(len(QUANTITIES))
    ]
    cells = [
        (
            curve.name + (" (control arm)" if curve.control else ""),
            "untuned" if point.round == 0 else str(point.round),
            str(point.labels),
            *errors,
        )
        for (curve, point), *errors in zip(points, *columns, strict=True)
    ]
    heads = (Column("Campaign"), Column("Round"), Column("Training labels", numeric=True))
    return Table((*heads, *_error_columns(QUANTITIES)), cells)


def earlier_forecasts(found: Forecast | None) -> Table:
    """List what the forecast said of earlier rounds, and what they added."""
    rows = () if found is None else found.earlier
    said = format_column([row.forecast for row in rows])
    added = format_column([row.added for row in rows])
    cells = [(str(row.round), *texts) for row, *texts in zip(rows, said, added, strict=True)]
    heads = (
        Column("Round", numeric=True),
        Column("Forecast (nats)", numeric=True),
        Column("Added (nats)", numeric=True),
    )
    return Table(heads, cells)


def gains(results: CampaignResults) -> Table:
    """List the information that the labels of each round were expected to add."""
    rounds = gains_by_round(results)
    added = format_column([gain.added_nats for gain in rounds])
    per_label = format_column([gain.nats_per_label for gain in rounds])
    cells = [
        (
            str(gain.round),
            str(gain.labels),
            total,
            average,
            ", ".join(f"{plain_words(pool)} {count}" for pool, count in gain.pools.items())
            or MISSING,
        )
        for gain, total, average in zip(rounds, added, per_label, strict=True)
    ]
    heads = (
        Column("Round", numeric=True),
        Column("Labels", numeric=True),
        Column("Added (nats)", numeric=True),
        Column("Per label (nats)", numeric=True),
        Column("From pools", prose=True),
    )
    return Table(heads, cells)


def pools(rows: Sequence[PoolRow]) -> Table:
    """List the places that each round reserved for a pool, and its picks from the pool."""
    cells = [
        (str(row.round), plain_words(row.pool), str(row.reserved), str(row.picked)) for row in rows
    ]
    heads = (
        Column("Round", numeric=True),
        Column("Pool"),
        Column("Reserved places", numeric=True),
        Column("Picked", numeric=True),
    )
    return Table(heads, cells)


def costs(labels: Sequence[LabelRow], kpoints: KpointComparison | None = None) -> Table:
    """List outcomes and cost of the labels, by round and purpose; see `label_costs`."""
    cells = [
        (
            str(cost.round),
            plain_words(cost.purpose),
            str(cost.count),
            str(cost.converged),
            str(cost.quarantined),
            str(cost.from_cache),
            format_duration(cost.engine_seconds),
        )
        for cost in label_costs(labels, kpoints)
    ]
    heads = (
        Column("Round", numeric=True),
        Column("For"),
        Column("Labels", numeric=True),
        Column("Converged", numeric=True),
        Column("Quarantined", numeric=True),
        Column("From the cache", numeric=True),
        Column("Engine time", numeric=True),
    )
    return Table(heads, cells)


def phases(labels: Sequence[LabelRow]) -> Table:
    """List how many labels each phase has."""
    rows = labels_by_phase(labels)
    tested = any(row.test for row in rows)
    cells = [
        (
            row.phase,
            str(row.training),
            str(row.validation),
            *((str(row.test),) if tested else ()),
            str(row.quarantined),
        )
        for row in rows
    ]
    heads = (
        Column("Phase"),
        Column("Training", numeric=True),
        Column("Validation", numeric=True),
        *((Column("Test", numeric=True),) if tested else ()),
        Column("Quarantined", numeric=True),
    )
    return Table(heads, cells)


def quarantine(labels: Sequence[LabelRow]) -> Table:
    """List the labels that cannot be used, with the cause."""
    cells = [
        (
            short_key(label.key),
            plain_words(label.outcome),
            label.cause or MISSING,
            str(label.round),
            plain_words(label.purpose),
            label.phase,
            plain_words(label.kind),
            _state(label.pressure_GPa, label.temperature_K),
        )
        for label in quarantined(labels)
    ]
    heads = (
        Column("Structure"),
        Column("Outcome"),
        Column("Cause", prose=True),
        Column("Round", numeric=True),
        Column("For"),
        Column("Phase"),
        Column("Kind"),
        Column("State"),
    )
    return Table(heads, cells)


def every_label(labels: Sequence[LabelRow]) -> Table:
    """List all labels."""
    gain_texts = format_column([label.gain_nats for label in labels])
    cells = [
        (
            short_key(label.key),
            str(label.round),
            plain_words(label.purpose),
            label.phase,
            plain_words(label.kind),
            plain_words(label.pool) or MISSING,
            _state(label.pressure_GPa, label.temperature_K),
            gain,
            plain_words(label.outcome),
            "cache" if label.from_cache else format_duration(label.engine_seconds),
        )
        for label, gain in zip(labels, gain_texts, strict=True)
    ]
    heads = (
        Column("Structure"),
        Column("Round", numeric=True),
        Column("For"),
        Column("Phase"),
        Column("Kind"),
        Column("Pool"),
        Column("State"),
        Column("Gain (nats)", numeric=True),
        Column("Outcome"),
        Column("Engine time", numeric=True),
    )
    return Table(heads, cells)


def walkers(rows: Sequence[WalkerRow]) -> Table:
    """List walkers with their restarts."""
    cells = [
        (
            str(row.round),
            str(row.walker),
            row.phase,
            _state(row.pressure_GPa, row.temperature_K),
            row.strength,
            str(row.restarts),
            _reasons(row),
        )
        for row in rows
    ]
    heads = (
        Column("Round", numeric=True),
        Column("Walker", numeric=True),
        Column("Phase"),
        Column("State"),
        Column("Bias"),
        Column("Restarts", numeric=True),
        Column("Reasons", prose=True),
    )
    return Table(heads, cells)


def _reasons(row: WalkerRow) -> str:
    if row.ended_at_step is None:
        return row.reasons or MISSING
    return f"{row.reasons}; ended at step {row.ended_at_step}"


def _state(pressure_GPa: float, temperature_K: float | None) -> str:
    pressure = f"{format_plain(pressure_GPa)} GPa"
    return pressure if temperature_K is None else f"{pressure}, {format_plain(temperature_K)} K"


def format_plain(value: float) -> str:
    """Format a value that a user set, such as a pressure, without further digits."""
    return f"{value:g}" if is_number(value) else format_number(value)
