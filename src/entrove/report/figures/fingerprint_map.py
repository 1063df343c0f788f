"""Map of the fingerprint space: the first two principal components of mean fingerprints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from entrove.campaign.results.results import FingerprintMap, MapPoint
from entrove.report.figures.style import INK, Figure, Style, axis, layout, plot_text
from entrove.report.formatting import format_share, is_number

MOST_POINTS = 3000
"""Largest number of walker snapshots; of more, an even sample is drawn.

Seeds and selected configurations are all drawn.
"""

MARKERS: dict[str, dict[str, Any]] = {
    "walker": {"size": 5, "opacity": 0.35},
    "selected": {"size": 9, "opacity": 0.95},
    "seed": {"size": 17, "opacity": 1.0, "symbol": "star"},
}
"""Marker of each group, in the order in which they are drawn; colour and symbol show the phase."""


def draw_map(space: FingerprintMap, phases: Mapping[str, Style]) -> Figure | None:
    """Plot every group of every phase; walkers below, seeds on top."""
    points = [point for point in space.points if is_number(point.x) and is_number(point.y)]
    if not points:
        return None
    data = []
    for group, marker in MARKERS.items():
        for phase in dict.fromkeys(point.phase for point in points):
            members = [point for point in points if (point.group, point.phase) == (group, phase)]
            if group == "walker" and len(members) > MOST_POINTS // max(len(phases), 1):
                keep = (
                    np.linspace(0, len(members) - 1, MOST_POINTS // max(len(phases), 1))
                    .round()
                    .astype(int)
                )
                members = [members[index] for index in keep]
            if members:
                data.append(_trace(group, phase, members, marker, phases.get(phase)))
    shares = [
        plot_text(f" ({format_share(fraction, 1.0)} of the variance)")
        if is_number(fraction)
        else ""
        for fraction in space.explained_variance
    ]
    return Figure(
        "fingerprint-map",
        "",
        "Map of the fingerprint space with seeds, walkers and selected configurations",
        data,
        layout(
            axis(f"component 1{shares[0]}", nticks=7, zeroline=False),
            axis(f"component 2{shares[1]}", nticks=7, zeroline=False),
        ),
        460,
    )


def _trace(
    group: str,
    phase: str,
    members: Sequence[MapPoint],
    marker: dict[str, Any],
    style: Style | None,
) -> dict[str, Any]:
    outline = {"color": INK, "width": 0 if group == "walker" else 1}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{group}: {plot_text(phase)}",
        "x": [point.x for point in members],
        "y": [point.y for point in members],
        "text": [plot_text(point.description) for point in members],
        "hovertemplate": f"{group}, %{{text}}<extra></extra>",
        "marker": {
            "symbol": "circle" if style is None else style.symbol,
            "color": INK if style is None else style.colour,
            "line": outline,
            **marker,
        },
    }
