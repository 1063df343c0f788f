"""Parity plots with the errors below, for the untuned and a tuned model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from entrove.campaign.results.results import Parity
from entrove.report.figures.style import INK, MUTED, Figure, Style, axis, layout, plot_text
from entrove.report.formatting import format_number

MOST_POINTS = 1500
"""Largest number of points in a panel: the largest errors and an even sample of the others."""


@dataclass(frozen=True)
class ParityPanel:
    """One panel: its plot, and a caption with the errors over all points, drawn or not."""

    figure: Figure
    points: int
    drawn: int
    caption: str


@dataclass(frozen=True)
class _Points:
    """Reference and prediction of one quantity, in `unit`; pairs that are not finite are left out.

    `error_scale` converts `unit` to `error_unit`.
    """

    name: str
    title: str
    unit: str
    error_unit: str
    error_scale: float
    reference: np.ndarray
    predicted: np.ndarray
    phases: np.ndarray
    kinds: np.ndarray

    @property
    def residuals(self) -> np.ndarray:
        return (self.predicted - self.reference) * self.error_scale


def thin(errors: np.ndarray, limit: int) -> np.ndarray:
    """Return at most `limit` indices: a quarter for the largest errors, the rest evenly spaced."""
    if len(errors) <= limit:
        return np.arange(len(errors))
    largest = np.argsort(-np.abs(errors), kind="stable")[: limit // 4]
    others = np.setdiff1d(np.arange(len(errors)), largest)
    even = others[np.linspace(0, len(others) - 1, limit - len(largest)).round().astype(int)]
    return np.union1d(largest, even)


def parity_panels(
    models: Mapping[str, Parity], phases: Mapping[str, Style], most_points: int = MOST_POINTS
) -> dict[str, list[ParityPanel]]:
    """Plot energy, force and stress of each model, with equal axes for all models."""
    points = {title: _points_of(parity) for title, parity in models.items()}
    panels: dict[str, list[ParityPanel]] = {title: [] for title in models}
    for number in range(3 if models else 0):
        same_quantity = [quantities[number] for quantities in points.values()]
        values = np.concatenate(
            [array for model in same_quantity for array in (model.reference, model.predicted)]
        )
        errors = np.concatenate([model.residuals for model in same_quantity])
        span = _padded(values)
        error_span = (
            [-1.0, 1.0]
            if not errors.any()
            else [-1.1 * np.abs(errors).max(), 1.1 * np.abs(errors).max()]
        )
        for index, (title, quantities) in enumerate(points.items()):
            name = f"parity-{quantities[number].name}-{index}"
            panels[title].append(
                _panel(name, quantities[number], phases, span, error_span, most_points=most_points)
            )
    return panels


def _padded(values: np.ndarray) -> list[float]:
    if not values.size:
        return [0.0, 1.0]
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - margin, high + margin]


def _points_of(parity: Parity) -> list[_Points]:
    count = len(parity.phases)
    return [
        _points(
            (
                "energy",
                "Centred energy" if parity.energy_is_centred else "Energy",
                "eV/atom",
                "meV/atom",
                1000.0,
            ),
            parity.reference_energy_eV_per_atom,
            parity.predicted_energy_eV_per_atom,
            parity,
            np.ones(count, dtype=int),
        ),
        _points(
            ("force", "Force components", "eV/Å", "meV/Å", 1000.0),
            parity.reference_forces_eV_per_A,
            parity.predicted_forces_eV_per_A,
            parity,
            None if parity.atom_counts is None else 3 * np.asarray(parity.atom_counts),
        ),
        _points(
            ("stress", "Stress components", "GPa", "GPa", 1.0),
            parity.reference_stress_GPa,
            parity.predicted_stress_GPa,
            parity,
            np.full(count, len(parity.reference_stress_GPa) // max(count, 1)),
        ),
    ]


def _points(
    texts_and_scale: tuple[str, str, str, str, float],
    reference: np.ndarray,
    predicted: np.ndarray,
    parity: Parity,
    repeats: np.ndarray | None,
) -> _Points:
    reference, predicted = np.asarray(reference, dtype=float), np.asarray(predicted, dtype=float)
    if repeats is not None and repeats.sum() == len(reference):
        phases = np.repeat(np.asarray(parity.phases, dtype=object), repeats)
        kinds = np.repeat(np.asarray(parity.kinds, dtype=object), repeats)
    else:
        # Without atom counts it is not known to which structure a component belongs.
        phases = kinds = np.full(len(reference), "", dtype=object)
    good = np.isfinite(reference) & np.isfinite(predicted)
    return _Points(*texts_and_scale, reference[good], predicted[good], phases[good], kinds[good])


def _panel(
    name: str,
    points: _Points,
    phases: Mapping[str, Style],
    span: list[float],
    error_span: list[float],
    *,
    most_points: int,
) -> ParityPanel:
    chosen = thin(points.residuals, most_points)
    data: list[dict[str, Any]] = [
        {"x": span, "y": span, "yaxis": "y"},
        {"x": span, "y": [0.0, 0.0], "yaxis": "y2"},
    ]
    for line in data:
        line |= {
            "type": "scatter",
            "mode": "lines",
            "hoverinfo": "skip",
            "line": {"color": MUTED, "width": 1},
        }
    for phase in dict.fromkeys(points.phases):
        rows = chosen[points.phases[chosen] == phase]
        if rows.size:
            data += _markers(points, rows, str(phase), phases.get(phase))
    x = axis(f"reference ({points.unit})", range=span, anchor="y2", nticks=5, zeroline=False)
    y = axis(
        f"predicted ({points.unit})", range=span, domain=[0.38, 1.0], nticks=6, zeroline=False
    )
    y2 = axis(
        f"error ({points.error_unit})",
        range=error_span,
        domain=[0.0, 0.3],
        nticks=6,
        zeroline=False,
    )
    return ParityPanel(
        Figure(
            name,
            points.title,
            f"{points.title}: prediction against reference, with the error below",
            data,
            layout(
                {**x, "automargin": "height"},
                y,
                yaxis2=y2,
                margin={"l": 64, "r": 14, "t": 10, "b": 48},
            ),
            470,
        ),
        len(points.reference),
        len(chosen),
        _caption(points),
    )


def _caption(points: _Points) -> str:
    if not points.reference.size:
        return "no finite values"
    mae = format_number(float(np.abs(points.residuals).mean()))
    rmse = format_number(float(np.sqrt((points.residuals**2).mean())))
    return f"MAE {mae}, RMSE {rmse} {points.error_unit}"


def _markers(
    points: _Points, rows: np.ndarray, phase: str, style: Style | None
) -> list[dict[str, Any]]:
    marker = {
        "color": INK if style is None else style.colour,
        "symbol": "circle" if style is None else style.symbol,
        "size": 7 if len(rows) < 60 else 5,
        "opacity": 0.85 if len(rows) < 60 else 0.5,
    }
    text = [
        plot_text(", ".join(word for word in (phase, str(kind)) if word))
        for kind in points.kinds[rows]
    ]
    common = {
        "type": "scatter",
        "mode": "markers",
        "name": plot_text(phase),
        "marker": marker,
        "text": text,
    }
    hover = f"%{{text}}<br>reference %{{x:.4g}} {points.unit}<br>"
    return [
        {
            **common,
            "x": points.reference[rows],
            "y": points.predicted[rows],
            "yaxis": "y",
            "hovertemplate": f"{hover}predicted %{{y:.4g}} {points.unit}<extra></extra>",
        },
        {
            **common,
            "x": points.reference[rows],
            "y": points.residuals[rows],
            "yaxis": "y2",
            "hovertemplate": f"{hover}error %{{y:.4g}} {points.error_unit}<extra></extra>",
        },
    ]
