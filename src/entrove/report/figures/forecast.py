"""The gains of all labels with the power law that forecasts the next ones."""

from typing import Any

from entrove.campaign.results.results import CampaignResults
from entrove.report.figures.style import MUTED, PALETTE, Figure, axis, layout
from entrove.report.forecast import Forecast

LAW_POINTS = 200
"""Points of the fitted curve, at most."""


def draw_forecast(results: CampaignResults, found: Forecast | None) -> Figure | None:
    """Plot gain over number of the label on logarithmic axes, with the fit and the forecast."""
    if found is None or found.law is None:
        return None
    gains = [
        (number, gain, index)
        for number, (gain, index) in enumerate(
            (
                (gain, index)
                for index, of_round in sorted(results.gains_nats.items())
                for gain in of_round
            ),
            start=1,
        )
        if gain > 0
    ]
    known = max(number for number, _, _ in gains)
    step = max(1, (known + found.labels) // LAW_POINTS)
    numbers = sorted({*range(1, known + found.labels + 1, step), known, known + found.labels})
    fitted = [number for number in numbers if number <= known]
    ahead = [number for number in numbers if number >= known]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "gains",
            "x": [number for number, _, _ in gains],
            "y": [gain for _, gain, _ in gains],
            "text": [f"round {index}, label {number}" for number, _, index in gains],
            "hovertemplate": "%{text}<br>%{y:.4g} nats<extra></extra>",
            "marker": {"color": PALETTE[0], "size": 5 if len(gains) > 100 else 7, "opacity": 0.8},
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "fit",
            "x": fitted,
            "y": [found.law.gain_of(number) for number in fitted],
            "line": {"color": MUTED, "width": 1.5},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "forecast",
            "x": ahead,
            "y": [found.law.gain_of(number) for number in ahead],
            "line": {"color": PALETTE[1], "width": 2.5, "dash": "dash"},
            "hovertemplate": "forecast, label %{x}<br>%{y:.4g} nats<extra></extra>",
        },
    ]
    return Figure(
        "gain-forecast",
        "",
        "Information gain of each label in the order of selection, and the forecast of the next",
        data,
        layout(
            axis("label, in the order of selection", type="log", dtick=1, zeroline=False),
            axis("gain (nats)", type="log", dtick=1, exponentformat="power", zeroline=False),
        ),
        300,
    )
