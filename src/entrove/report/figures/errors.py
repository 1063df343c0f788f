"""Validation errors: per round, and by phase and kind against the untuned model."""

from collections.abc import Mapping, Sequence
from typing import Any

from entrove.campaign.results.results import ModelErrors
from entrove.report.figures.style import (
    INK,
    MUTED,
    Figure,
    Style,
    axis,
    layout,
    part_title,
    plot_text,
)
from entrove.report.summary import (
    ALL,
    QUANTITIES,
    ModelKey,
    Quantity,
    error_of,
    interval_of,
    models_in_order,
    parts_in_order,
)
from entrove.validation.intervals import Interval

MOST_TICKS = 8


def errors_per_round(rows: Sequence[ModelErrors], phases: Mapping[str, Style]) -> list[Figure]:
    """Plot each mean absolute error against the round, the untuned model first."""
    models = models_in_order(rows)
    return [_per_round(rows, models, quantity, phases) for quantity in QUANTITIES]


def _per_round(
    rows: Sequence[ModelErrors],
    models: Sequence[ModelKey],
    quantity: Quantity,
    phases: Mapping[str, Style],
) -> Figure:
    data: list[dict[str, Any]] = []
    # The total is drawn last, on top of the others.
    for phase, kind in reversed(parts_in_order(rows)):
        is_total = phase == kind == ALL
        style = phases.get(phase)
        colour = INK if style is None else style.colour
        title = part_title(phase, kind, limit=200)
        values = [error_of(rows, model, quantity, phase, kind) for model in models]
        between = [interval_of(rows, model, quantity, phase, kind) for model in models]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": title,
                "x": list(range(len(models))),
                "y": values,
                "text": [
                    f"{title}, {plot_text(model.title)} ({plot_text(model.model)})"
                    for model in models
                ],
                "hovertemplate": f"%{{text}}<br>%{{y:.4g}} {quantity.unit}<extra></extra>",
                "line": {"color": colour, "width": 3 if is_total else 1.2},
                "marker": {
                    "color": colour,
                    "size": 8 if is_total else 6,
                    "symbol": "circle" if style is None else style.symbol,
                },
                "opacity": 1.0 if is_total else 0.65,
            }
            | ({"error_y": error_bars(values, between, colour)} if is_total else {})
        )
    every = max(1, -(-len(models) // MOST_TICKS))
    ticks = list(range(0, len(models), every))
    x = axis(
        "round",
        tickvals=ticks,
        ticktext=[
            "untuned" if models[tick].round == 0 else str(models[tick].round) for tick in ticks
        ],
        range=[-0.35, max(len(models) - 1, 1) + 0.35],
        zeroline=False,
    )
    return Figure(
        f"{quantity.name}-per-round",
        f"{quantity.title}",
        f"{quantity.title} error on the validation set against the round",
        data,
        layout(x, axis(f"MAE ({quantity.unit})", rangemode="tozero", nticks=6)),
        280,
    )


def error_bars(
    values: Sequence[float | None], intervals: Sequence[Interval | None], colour: str | list[str]
) -> dict[str, Any]:
    """Error bars over the confidence intervals; none where these are not known."""
    ends = [
        (None, None)
        if value is None or interval is None
        else (value - interval[0], interval[1] - value)
        for value, interval in zip(values, intervals, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "arrayminus": [low for low, _ in ends],
        "array": [high for _, high in ends],
        "thickness": 1.2,
        "width": 3,
        "color": colour,
        "visible": any(high is not None for _, high in ends),
    }


def errors_by_part(rows: Sequence[ModelErrors], phases: Mapping[str, Style]) -> list[Figure]:
    """Plot each phase and kind as a line from the untuned to the tuned model."""
    models = models_in_order(rows)
    untuned = next((model for model in models if model.round == 0), None)
    tuned = next((model for model in reversed(models) if model.round > 0), None)
    if untuned is None or tuned is None:
        return []
    return [_by_part(rows, untuned, tuned, quantity, phases) for quantity in QUANTITIES]


def _by_part(
    rows: Sequence[ModelErrors],
    untuned: ModelKey,
    tuned: ModelKey,
    quantity: Quantity,
    phases: Mapping[str, Style],
) -> Figure:
    parts = parts_in_order(rows)
    positions = list(range(len(parts)))
    before = [error_of(rows, untuned, quantity, *part) for part in parts]
    after = [error_of(rows, tuned, quantity, *part) for part in parts]
    colours = [phases[phase].colour if phase in phases else INK for phase, _ in parts]
    names = [part_title(*part, limit=200) for part in parts]
    # Plotly interrupts a line at None.
    ends: list[float | None] = []
    heights: list[float | None] = []
    for position, first, last in zip(positions, before, after, strict=True):
        ends += [first, last, None]
        heights += [position, position, None]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": heights,
        "line": {"color": MUTED, "width": 1.5},
        "hoverinfo": "skip",
    }

    def points(key: ModelKey, values: list[float | None], symbol: str) -> dict[str, Any]:
        model = key.title
        between = [interval_of(rows, key, quantity, *part) for part in parts]
        return {
            "type": "scatter",
            "mode": "markers",
            "name": model,
            "x": values,
            "y": positions,
            "text": [f"{name}, {plot_text(model)}" for name in names],
            "hovertemplate": f"%{{text}}<br>%{{x:.4g}} {quantity.unit}<extra></extra>",
            "marker": {
                "color": colours,
                "symbol": symbol,
                "size": 10,
                "line": {"color": colours, "width": 2},
            },
            "error_x": error_bars(values, between, MUTED),
        }

    # Intervals of few structures are wide: they end at the frame, and errors can be told apart.
    largest = max((value for value in (*before, *after) if value is not None), default=1.0)
    y = axis(
        "",
        tickvals=positions,
        ticktext=[part_title(*part) for part in parts],
        range=[len(parts) - 0.5, -0.5],
        zeroline=False,
    )
    return Figure(
        f"{quantity.name}-by-part",
        quantity.title,
        f"{quantity.title} error of each phase and kind, untuned and tuned",
        [line, points(untuned, before, "circle-open"), points(tuned, after, "circle")],
        layout(axis(f"MAE ({quantity.unit})", range=[0, 1.3 * largest or 1.0], nticks=5), y),
        78 + 26 * max(len(parts), 3),
    )
