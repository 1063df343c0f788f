"""The plots of the validation suite: each panel of a check becomes one figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entrove.report.figures.style import (
    INK,
    PALETTE,
    Figure,
    axis,
    layout,
    plot_text,
    vertical_line,
)
from entrove.validation.suite.result import Curve, Panel

ALARM = 1
"""Index in the palette of the colour of what makes a check fail."""
REFERENCE_SYMBOL = "diamond"
_LINES = (0, 2, 3, 4, 6, 5)
"""Colours of lines by their index in the palette, without that of failures."""
MOST_KEYS = 8
LEAST_GAP = 0.035
"""Distance of named positions for each letter of a name, over the length of the axis."""


@dataclass(frozen=True)
class Key:
    """An entry of a legend: symbol, text and index of the colour; None is that of the text."""

    symbol: str
    text: str
    colour: int | None


def draw_panel(panel: Panel, name: str) -> Figure:
    """Draw a panel; positions with names are the ticks of an axis without a title, or lines."""
    colours = _colours(panel)
    data = [_trace(curve, colours[curve.name]) for curve in panel.curves]
    x: dict[str, Any] = axis(plot_text(panel.x_title), zeroline=False, nticks=7)
    settings: dict[str, Any] = {}
    if panel.ticks and not panel.x_title:
        x |= {
            "tickvals": [at for at, _ in panel.ticks],
            "ticktext": _spaced(panel.ticks),
            "tickangle": 0,
            "showgrid": True,
            "range": [panel.ticks[0][0], panel.ticks[-1][0]],
        }
    elif panel.ticks:
        settings["shapes"] = [vertical_line(at) for at, _ in panel.ticks]
    description = f"{panel.title}: {panel.y_title} over {panel.x_title or 'the path'}"
    y = axis(plot_text(panel.y_title), nticks=6)
    return Figure(name, panel.title, description, data, layout(x, y, **settings), 300)


def legend_of(panel: Panel) -> list[Key]:
    """List what the curves of a panel are; many lines of one kind have no keys of their own."""
    colours = _colours(panel)
    lines = [curve for curve in panel.curves if curve.style == "line"]
    named = len(panel.curves) > 1 and len(lines) <= MOST_KEYS
    symbols = {"line": "line", "points": "circle", "marked": "x", "reference": REFERENCE_SYMBOL}
    return [
        Key(symbols[curve.style], curve.name, colours[curve.name])
        for curve in panel.curves
        if named or curve.style != "line"
    ]


def _colours(panel: Panel) -> dict[str, int | None]:
    """Give each curve a colour: many lines of one kind share that of the text."""
    lines = [curve.name for curve in panel.curves if curve.style == "line"]
    colours: dict[str, int | None] = {}
    for curve in panel.curves:
        if curve.style == "marked":
            colours[curve.name] = ALARM
        elif curve.style == "line":
            many = len(lines) > len(_LINES)
            colours[curve.name] = None if many else _LINES[lines.index(curve.name)]
        else:
            colours[curve.name] = _LINES[0] if curve.style == "points" else None
    return colours


def _trace(curve: Curve, colour_index: int | None) -> dict[str, Any]:
    colour = INK if colour_index is None else PALETTE[colour_index]
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": plot_text(curve.name),
        "x": list(curve.x),
        "y": list(curve.y),
        "hovertemplate": f"{plot_text(curve.name)}<br>%{{x:.4g}}, %{{y:.4g}}<extra></extra>",
    }
    if curve.style == "line":
        return trace | {"mode": "lines", "line": {"color": colour, "width": 1.6}}
    symbol = {"points": "circle", "marked": "x", "reference": "diamond-open"}[curve.style]
    marker = {"color": colour, "symbol": symbol, "size": 6 if curve.style == "marked" else 9}
    return trace | {"mode": "markers", "marker": marker}


def _spaced(ticks: Sequence[tuple[float, str]]) -> list[str]:
    """Leave out names that would touch the one before; their grid lines stay."""
    length = ticks[-1][0] - ticks[0][0]
    texts, free_from = [], -math.inf
    for at, text in ticks:
        shown = at >= free_from
        texts.append(plot_text(text) if shown else "")
        if shown:
            free_from = at + length * LEAST_GAP * max(len(text), 2)
    return texts
