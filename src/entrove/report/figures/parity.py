"""Parity plots with errors below and distributions at the sides, untuned and tuned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from entrove.campaign.results.results import Parity
from entrove.report.figures.style import INK, MUTED, Figure, Style, axis, layout, plot_text
from entrove.report.formatting import format_number

MOST_POINTS = 1500
"""Largest number of points in a panel: the largest errors and an even sample of the others."""


BINS = 36
"""Bins of the distributions."""


@dataclass(frozen=True)
class ParityPanel:
    """One panel: its plot, and a caption with the errors over all points, drawn or not.

    `mae` and `rmse` are those of the caption, in `error_unit`; None without a finite value.
    """

    figure: Figure
    points: int
    drawn: int
    mae: float | None
    rmse: float | None
    error_unit: str

    @property
    def caption(self) -> str:
        """The errors as text."""
        if self.mae is None:
            return "no finite values"
        return f"MAE {format_number(self.mae)}, RMSE {format_number(self.rmse)} {self.error_unit}"


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
    models: Mapping[str, Parity], phases: Mapping[str, Style]
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
            panels[title].append(_panel(name, quantities[number], phases, span, error_span))
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
) -> ParityPanel:
    chosen = thin(points.residuals, MOST_POINTS)
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
    data += _marginals(points, span, error_span)
    residuals = points.residuals
    return ParityPanel(
        Figure(
            name,
            points.title,
            f"{points.title}: prediction against reference, with the error below and "
            "distributions at the sides",
            data,
            _layout(points, span, error_span),
            500,
        ),
        len(points.reference),
        len(chosen),
        float(np.abs(residuals).mean()) if residuals.size else None,
        float(np.sqrt((residuals**2).mean())) if residuals.size else None,
        points.error_unit,
    )


def _layout(points: _Points, span: list[float], error_span: list[float]) -> dict[str, Any]:
    plain = {"zeroline": False, "nticks": 6}
    wide, narrow = [0.0, 0.87], [0.9, 1.0]
    side = {
        "showticklabels": False,
        "showgrid": False,
        "showline": False,
        "ticks": "",
        "rangemode": "tozero",
        "fixedrange": True,
        "zeroline": False,
    }
    x = axis(f"reference ({points.unit})", range=span, anchor="y2", domain=wide, **plain)
    return layout(
        {**x, "automargin": "height", "nticks": 5},
        axis(f"predicted ({points.unit})", range=span, domain=[0.36, 0.87], **plain),
        yaxis2=axis(f"error ({points.error_unit})", range=error_span, domain=[0.0, 0.28], **plain),
        yaxis3={**side, "domain": narrow, "anchor": "x"},
        xaxis2={**side, "domain": narrow, "anchor": "y"},
        xaxis3={**side, "domain": narrow, "anchor": "y2"},
        margin={"l": 64, "r": 14, "t": 10, "b": 48},
    )


def _marginals(
    points: _Points, span: list[float], error_span: list[float]
) -> list[dict[str, Any]]:
    """Distributions over all points: of references on top, of predictions and errors at right."""
    if not points.reference.size:
        return []
    common = {
        "type": "scatter",
        "mode": "lines",
        "line": {"color": MUTED, "width": 1},
        "hoverinfo": "skip",
    }
    counted = []
    for values, limits in (
        (points.reference, span),
        (points.predicted, span),
        (points.residuals, error_span),
    ):
        counts, edges = np.histogram(values, bins=BINS, range=(limits[0], limits[1]))
        # Each bin is a step between its edges.
        counted.append((np.repeat(edges, 2)[1:-1], np.repeat(counts, 2)))
    (reference, of_reference), (predicted, of_predicted), (errors, of_errors) = counted
    top = {"fill": "tozeroy", "xaxis": "x", "yaxis": "y3", "x": reference, "y": of_reference}
    right = {"fill": "tozerox", "xaxis": "x2", "yaxis": "y", "x": of_predicted, "y": predicted}
    below = {"fill": "tozerox", "xaxis": "x3", "yaxis": "y2", "x": of_errors, "y": errors}
    return [
        {**common, "name": name, **trace}
        for name, trace in (
            ("distribution of references", top),
            ("distribution of predictions", right),
            ("distribution of errors", below),
        )
    ]


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
