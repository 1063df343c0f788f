"""Small pictures for notebooks and pages, as SVG: no package and no network is needed."""

import html
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT, MARGIN = 460, 260, 44
COLOURS = ("#1f6f8b", "#d1495b", "#8a8a8a")
_MOST_POINTS = 3000
_PROSE = 60
_WIDE = ";min-width:16em"
"""Longer texts would become columns of single words where the page is narrow."""


def line_chart(
    values: Sequence[float] | np.ndarray, title: str, x_label: str, y_label: str
) -> str:
    """A curve over 1, 2, 3, ..."""
    y = np.asarray(values, dtype=float)
    x = np.arange(1, len(y) + 1, dtype=float)
    if not len(y):
        return ""
    chosen = np.unique(np.linspace(0, len(y) - 1, 500).astype(int))
    across, up = _scale(x, WIDTH), _scale(np.append(y, 0.0), HEIGHT)[:-1]
    points = " ".join(f"{across[i]:.1f},{HEIGHT - up[i]:.1f}" for i in chosen)
    low, high = min(0.0, float(y.min())), float(y.max())
    curve = f'<polyline points="{points}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>'
    return _frame(curve, title, x_label, y_label, (1.0, float(len(y))), (low, high))


def scatter(groups: dict[str, np.ndarray], title: str, x_label: str, y_label: str) -> str:
    """Points of some groups, each of shape (points, 2), with a legend."""
    filled = {name: points for name, points in groups.items() if len(points)}
    if not filled:
        return ""
    everything = np.concatenate(list(filled.values()))
    low, high = everything.min(0), everything.max(0)
    parts: list[str] = []
    for number, (name, points) in enumerate(filled.items()):
        colour = COLOURS[number % len(COLOURS)]
        step = max(1, len(points) // _MOST_POINTS)
        span = np.where(high > low, high - low, 1.0)
        places = (points[::step] - low) / span
        parts += [
            f'<circle cx="{MARGIN + x * (WIDTH - 2 * MARGIN):.1f}" '
            f'cy="{HEIGHT - MARGIN - y * (HEIGHT - 2 * MARGIN):.1f}" r="2.2" fill="{colour}" '
            'fill-opacity="0.5"/>'
            for x, y in places
        ]
        parts.append(
            f'<text x="{WIDTH - MARGIN}" y="{MARGIN - 24 + 14 * number}" text-anchor="end" '
            f'font-size="12" fill="{colour}">{html.escape(name)}</text>'
        )
    return _frame(
        "".join(parts),
        title,
        x_label,
        y_label,
        (float(low[0]), float(high[0])),
        (float(low[1]), float(high[1])),
    )


def lines_of_text(lines: Sequence[str]) -> str:
    """Lines of a summary; those that are indented belong to the line before them."""
    shown = "".join(
        f"<div style='padding-left:{len(line) - len(line.lstrip())}em'>{html.escape(line)}</div>"
        for line in lines
    )
    return f"<div style='margin:0.4em 0'>{shown}</div>"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text with headings."""
    style = "text-align:left;vertical-align:top;padding-right:1em"
    heading = "".join(f"<th style='{style}'>{html.escape(name)}</th>" for name in headings)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td style='{style}{_WIDE if len(value) > _PROSE else ''}'>{html.escape(value)}</td>"
            for value in row
        )
        + "</tr>"
        for row in rows
    )
    return (
        "<div style='overflow-x:auto'><table style='border-spacing:0'>"
        f"<tr>{heading}</tr>{body}</table></div>"
    )


def _scale(values: np.ndarray, size: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    span = high - low if high > low else 1.0
    return MARGIN + (values - low) / span * (size - 2 * MARGIN)


def _frame(
    content: str,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
    box = (
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{WIDTH - 2 * MARGIN}" '
        f'height="{HEIGHT - 2 * MARGIN}" fill="none" stroke="#888"/>'
    )
    bottom, middle = HEIGHT - MARGIN, WIDTH / 2
    words = [
        (middle, 18, "middle", title, 14),
        (middle, HEIGHT - 8, "middle", x_label, 12),
        (MARGIN, bottom + 16, "start", f"{x_range[0]:.4g}", 11),
        (WIDTH - MARGIN, bottom + 16, "end", f"{x_range[1]:.4g}", 11),
        (MARGIN - 4, bottom, "end", f"{y_range[0]:.3g}", 11),
        (MARGIN - 4, MARGIN + 8, "end", f"{y_range[1]:.3g}", 11),
        (MARGIN, MARGIN - 8, "start", y_label, 12),
    ]
    texts = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="currentColor">'
        f"{html.escape(text)}</text>"
        for x, y, anchor, text, size in words
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        'style="max-width:100%;height:auto" font-family="sans-serif" role="img" '
        f'aria-label="{html.escape(title)}">{box}{content}{texts}</svg>'
    )
