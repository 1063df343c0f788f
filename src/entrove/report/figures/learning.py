"""The learning curve: each error over the number of training labels, with the untuned line."""

from collections.abc import Sequence
from typing import Any

from entrove.report.figures.errors import error_bars
from entrove.report.figures.style import INK, MUTED, PALETTE, Figure, axis, layout, plot_text
from entrove.report.learning import LearningCurve
from entrove.report.summary import QUANTITIES

CAMPAIGN, CONTROL = PALETTE[0], PALETTE[1]


def draw_learning_curves(curves: Sequence[LearningCurve]) -> list[Figure]:
    """Plot every quantity over the number of labels; the untuned model is a horizontal line."""
    longest = max((point.labels for curve in curves for point in curve.points), default=0)
    if not longest:
        return []
    return [
        _draw(curves, number, quantity.name, quantity.title, quantity.unit, longest)
        for number, quantity in enumerate(QUANTITIES)
    ]


def _draw(
    curves: Sequence[LearningCurve], number: int, name: str, title: str, unit: str, longest: int
) -> Figure:
    data: list[dict[str, Any]] = []
    untuned = next((point.errors[number] for point in curves[0].points if point.round == 0), None)
    if untuned is not None:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "untuned",
                "x": [0, longest],
                "y": [untuned, untuned],
                "line": {"color": MUTED, "width": 1.5, "dash": "dash"},
                "hoverinfo": "skip",
            }
        )
    for curve in reversed(curves):  # the campaign itself on top
        colour = CONTROL if curve.control else CAMPAIGN
        tuned = [point for point in curve.points if point.round > 0]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plot_text(curve.name),
                "x": [point.labels for point in tuned],
                "y": [point.errors[number] for point in tuned],
                "text": [
                    plot_text(
                        f"{curve.name}{' (control arm)' if curve.control else ''}, round "
                        f"{point.round}"
                    )
                    for point in tuned
                ],
                "hovertemplate": f"%{{text}}<br>%{{x}} labels<br>%{{y:.4g}} {unit}<extra></extra>",
                "line": {"color": colour, "width": 2.5},
                "error_y": error_bars(
                    [point.errors[number] for point in tuned],
                    [point.intervals[number] for point in tuned],
                    colour,
                ),
                "marker": {
                    "color": colour,
                    "size": 8,
                    "symbol": "diamond" if curve.control else "circle",
                    "line": {"color": INK, "width": 0},
                },
            }
        )
    x = axis("training labels", range=[-0.02 * longest, 1.05 * longest], nticks=6, zeroline=False)
    return Figure(
        f"learning-{name}",
        title,
        f"{title} error on the validation set over the number of training labels",
        data,
        layout(x, axis(f"MAE ({unit})", rangemode="tozero", nticks=6)),
        280,
    )
