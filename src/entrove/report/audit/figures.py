"""Plots of an audit: histograms of what a set covers, and a map of its geometries."""

import numpy as np

from entrove.curation.auditing.coverage import Coverage, Histogram
from entrove.report.figures.style import INK, PALETTE, SYMBOLS, Figure, axis, layout, plot_text

MOST_SOURCES_COLOURED = len(PALETTE)


def draw_histogram(number: int, histogram: Histogram) -> Figure:
    """Draw counts as bars."""
    edges = np.array(histogram.edges)
    return Figure(
        f"histogram-{number}",
        "",
        f"Histogram of {histogram.quantity}",
        [
            {
                "type": "bar",
                "x": ((edges[1:] + edges[:-1]) / 2).tolist(),
                "y": list(histogram.counts),
                "width": float(edges[1] - edges[0]),
                "marker": {"color": PALETTE[0], "line": {"width": 0}},
                "hovertemplate": "%{x:.4g}: %{y} frames<extra></extra>",
            }
        ],
        layout(
            axis(plot_text(histogram.quantity), nticks=5, zeroline=False),
            axis("frames", nticks=4, rangemode="tozero"),
            bargap=0.02,
        ),
        240,
    )


def draw_map(coverage: Coverage, sources: list[str], worst: dict[int, str]) -> Figure | None:
    """Draw the first two components of the fingerprints, and around the worst frames a ring.

    Args:
        coverage: Points with the frames and sources they belong to.
        sources: Names of sources, in the order of their colours; further ones share the last.
        worst: Descriptions of frames to mark, by the numbers that the points have.
    """
    if len(coverage.map_points) < 3:
        return None
    points = np.asarray(coverage.map_points)
    places = np.minimum(np.array(coverage.map_sources), MOST_SOURCES_COLOURED - 1)
    data = []
    for place in np.unique(places).tolist():
        chosen = places == place
        data.append(
            {
                "type": "scattergl" if len(points) > 5000 else "scatter",
                "mode": "markers",
                "x": points[chosen, 0].tolist(),
                "y": points[chosen, 1].tolist(),
                "marker": {
                    "color": PALETTE[place],
                    "symbol": SYMBOLS[place],
                    "size": 5,
                    "opacity": 0.6,
                },
                "hovertemplate": f"{plot_text(sources[place], 60)}<extra></extra>",
            }
        )
    marked = [k for k, frame in enumerate(coverage.map_frames) if frame in worst]
    if marked:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": points[marked, 0].tolist(),
                "y": points[marked, 1].tolist(),
                "text": [plot_text(worst[coverage.map_frames[k]], 90) for k in marked],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {
                    "color": "rgba(0,0,0,0)",
                    "symbol": "circle",
                    "size": 13,
                    "line": {"color": INK, "width": 1.5},
                },
            }
        )
    return Figure(
        "geometry-map",
        "",
        "Map of the geometries by their fingerprints, the worst frames ringed",
        data,
        layout(
            axis("component 1", nticks=7, zeroline=False),
            axis("component 2", nticks=7, zeroline=False),
        ),
        440,
    )
