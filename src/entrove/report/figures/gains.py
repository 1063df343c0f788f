"""Information gain of each training label."""

from collections.abc import Mapping, Sequence
from typing import Any

from entrove.campaign.journal.outcomes import LabelRow
from entrove.report.figures.style import (
    MUTED,
    Figure,
    Style,
    axis,
    layout,
    plot_text,
    vertical_line,
)
from entrove.report.formatting import is_number

MOST_ROUND_NAMES = 6


def gain_per_label(labels: Sequence[LabelRow], pools: Mapping[str, Style]) -> Figure | None:
    """Plot the gain of each label as a bar, by round, and within a round by decreasing gain."""
    rows = [
        label for label in labels if label.gain_nats is not None and is_number(label.gain_nats)
    ]
    if not rows:
        return None
    rows.sort(key=lambda label: (label.round, -(label.gain_nats or 0.0)))
    data = []
    for pool, style in pools.items():
        members = [
            (number, label) for number, label in enumerate(rows, start=1) if label.pool == pool
        ]
        if members:
            data.append(_bars(members, style))
    rounds = [label.round for label in rows]
    starts = [
        number
        for number, round_index in enumerate(rounds)
        if number == 0 or rounds[number - 1] != round_index
    ]
    return Figure(
        "gain-per-label",
        "",
        "Information gain of each training label, by round and pool",
        data,
        layout(
            axis("training label", range=[0.4, len(rows) + 0.6], nticks=8, zeroline=False),
            axis("gain (nats)", rangemode="tozero", nticks=6),
            barmode="overlay",
            margin={"l": 56, "r": 14, "t": 30, "b": 48},
            shapes=[vertical_line(start + 0.5) for start in starts[1:]],
            annotations=[_round_name(start, rounds[start], len(starts)) for start in starts],
        ),
        300,
    )


def _bars(members: Sequence[tuple[int, LabelRow]], style: Style) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": plot_text(style.label),
        "x": [number for number, _ in members],
        "y": [label.gain_nats for _, label in members],
        "text": [
            plot_text(f"{label.phase}, {label.kind}, {label.pressure_GPa:g} GPa, {label.pool}")
            for _, label in members
        ],
        "textposition": "none",
        "width": 0.85,
        "marker": {"color": style.colour},
        "hovertemplate": "%{text}<br>%{y:.4g} nats<extra></extra>",
    }


def _round_name(start: int, round_index: int, rounds: int) -> dict[str, Any]:
    return {
        "x": start + 0.5,
        "y": 1,
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "text": f"round {round_index}" if rounds <= MOST_ROUND_NAMES else str(round_index),
        "font": {"color": MUTED},
    }
