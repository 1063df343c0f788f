"""Errors by phase, pressure and temperature: a heat map of each quantity."""

from collections.abc import Sequence
from typing import Any

from entrove.campaign.results.results import StateErrors
from entrove.report.figures.style import Figure, axis, layout, plot_text
from entrove.report.formatting import format_number, is_number, shorten
from entrove.report.summary import QUANTITIES, Quantity

SCALE = ((0.0, "#EAF1F7"), (1.0, "#0A4D80"))
"""Pale to dark, which also a reader who tells no colours apart can follow."""
TEXT_ON_PALE, TEXT_ON_DARK = "#10151A", "#FFFFFF"

MOST_ROW_TITLE = 24


def draw_heat_maps(states: Sequence[StateErrors]) -> list[Figure]:
    """Draw the errors of the latest of the models in `states`; a row per phase and pressure."""
    if not states:
        return []
    shown = max(state.round for state in states)
    return [_draw(states, shown, quantity) for quantity in QUANTITIES]


def temperature_title(temperature_K: float | None) -> str:
    """Title of a column.

    >>> temperature_title(300.0), temperature_title(None)
    ('300 K', 'at rest')
    """
    return "at rest" if temperature_K is None else f"{temperature_K:g} K"


def row_title(phase: str, pressure_GPa: float) -> str:
    """Title of a row.

    >>> row_title("diamond", 10.0)
    'diamond, 10 GPa'
    """
    return f"{shorten(phase, MOST_ROW_TITLE - 9)}, {pressure_GPa:g} GPa"


def _draw(states: Sequence[StateErrors], shown: int, quantity: Quantity) -> Figure:
    rows = list(dict.fromkeys((state.phase, state.pressure_GPa) for state in states))
    columns = sorted({state.temperature_K for state in states}, key=lambda value: value or 0.0)
    errors = {
        (state.round, state.phase, state.pressure_GPa, state.temperature_K): state
        for state in states
    }
    values: list[list[float | None]] = []
    hover: list[list[str]] = []
    annotations: list[dict[str, Any]] = []
    largest = max(
        (_value(state, quantity) or 0.0 for state in states if state.round == shown),
        default=0.0,
    )
    for row, (phase, pressure) in enumerate(rows):
        values.append([])
        hover.append([])
        for column, temperature in enumerate(columns):
            found = errors.get((shown, phase, pressure, temperature))
            before = errors.get((0, phase, pressure, temperature)) if shown else None
            value = None if found is None else _value(found, quantity)
            values[-1].append(value)
            hover[-1].append("" if found is None else _hover(found, before, quantity))
            if value is not None:
                dark = largest > 0 and value > 0.55 * largest
                annotations.append(
                    {
                        "x": column,
                        "y": row,
                        "text": format_number(value),
                        "showarrow": False,
                        "font": {"color": TEXT_ON_DARK if dark else TEXT_ON_PALE, "size": 12},
                    }
                )
    data = [
        {
            "type": "heatmap",
            "x": list(range(len(columns))),
            "y": list(range(len(rows))),
            "z": values,
            "text": hover,
            "hovertemplate": "%{text}<extra></extra>",
            "hoverongaps": False,
            "colorscale": [list(stop) for stop in SCALE],
            "zmin": 0.0,
            "zmax": largest or 1.0,
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
        }
    ]
    x = axis(
        "",
        tickvals=list(range(len(columns))),
        ticktext=[temperature_title(temperature) for temperature in columns],
        zeroline=False,
        showgrid=False,
        range=[-0.5, len(columns) - 0.5],
    )
    y = axis(
        "",
        tickvals=list(range(len(rows))),
        ticktext=[plot_text(row_title(*row)) for row in rows],
        zeroline=False,
        showgrid=False,
        range=[len(rows) - 0.5, -0.5],
    )
    return Figure(
        f"states-{quantity.name}",
        f"{quantity.title} ({quantity.unit})",
        f"{quantity.title} error by phase, pressure and temperature",
        data,
        layout(x, y, annotations=annotations),
        70 + 34 * max(len(rows), 3),
    )


def _value(state: StateErrors, quantity: Quantity) -> float | None:
    value = getattr(state.errors, quantity.column)
    return value if is_number(value) else None


def _hover(found: StateErrors, before: StateErrors | None, quantity: Quantity) -> str:
    was = None if before is None else _value(before, quantity)
    change = "" if was is None else f"untuned {format_number(was)}, now "
    return plot_text(
        f"{row_title(found.phase, found.pressure_GPa)}, {temperature_title(found.temperature_K)}, "
        f"{found.errors.structures} structures: {change}"
        f"{format_number(_value(found, quantity))} {quantity.unit}"
    )
