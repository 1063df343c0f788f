"""Everything that a report shows beside its tables: figures, and the numbers behind them."""

from collections.abc import Mapping
from dataclasses import dataclass

from entrove.campaign.results.results import CampaignResults, ModelErrors, Parity
from entrove.report import summary
from entrove.report.checks.sections import CheckSection, check_sections, figures_of
from entrove.report.figures import (
    errors,
    fingerprint_map,
    forecast,
    gains,
    heat_map,
    learning,
    parity,
    style,
)
from entrove.report.figures.style import Figure, Style
from entrove.report.forecast import Forecast
from entrove.report.forecast import forecast as forecast_gain
from entrove.report.learning import LearningCurve, learning_curves


@dataclass(frozen=True)
class ParityRow:
    """The parity panels of one model."""

    title: str
    panels: list[parity.ParityPanel]


@dataclass(frozen=True)
class Drawn:
    """The figures of a report, and the numbers that only figures show.

    Attributes:
        phases, pools: Colour and symbol of each phase and pool.
        curves: The learning curves.
        forecast: What further labels would add; None when it cannot be said.
        compared: Errors of the models that are compared.
        learning, errors_per_round, errors_by_part, heat_maps: Figures of errors.
        parity: Parity panels of each compared model.
        checks: Sections of the validation suite; empty before it was made.
        gain, gain_forecast, map: Figures of gains and of the fingerprint space; None where there
            is nothing to draw.
    """

    phases: Mapping[str, Style]
    pools: Mapping[str, Style]
    curves: list[LearningCurve]
    forecast: Forecast | None
    compared: list[ModelErrors]
    learning: list[Figure]
    errors_per_round: list[Figure]
    errors_by_part: list[Figure]
    heat_maps: list[Figure]
    parity: list[ParityRow]
    checks: list[CheckSection]
    gain: Figure | None
    gain_forecast: Figure | None
    map: Figure | None

    @property
    def figures(self) -> list[Figure]:
        """All figures, in the order of the page."""
        panels = [panel.figure for row in self.parity for panel in row.panels]
        single = [self.gain, self.gain_forecast, self.map]
        return [
            *self.learning,
            *self.errors_per_round,
            *self.errors_by_part,
            *self.heat_maps,
            *panels,
            *figures_of(self.checks),
            *(figure for figure in single if figure is not None),
        ]


def draw(results: CampaignResults, control: CampaignResults | None = None) -> Drawn:
    """Draw everything that the results allow.

    Args:
        results: The campaign.
        control: Its control arm, for the learning curve.

    Raises `CampaignError` when `control` cannot be compared with the campaign.
    """
    phases = style.phase_styles(results)
    pools = style.styles_of(
        (label.pool for label in results.labels if label.gain_nats is not None), first=len(phases)
    )
    compared = summary.errors_to_compare(results)
    curves = learning_curves(results, control)
    found = forecast_gain(results)
    panels = parity.parity_panels(_models_to_compare(results), phases)
    space = results.fingerprint_map
    return Drawn(
        phases=phases,
        pools=pools,
        curves=curves,
        forecast=found,
        compared=compared,
        learning=learning.draw_learning_curves(curves),
        errors_per_round=errors.errors_per_round(results.errors, phases) if results.errors else [],
        errors_by_part=errors.errors_by_part(compared, phases),
        heat_maps=heat_map.draw_heat_maps(results.states),
        parity=[ParityRow(title, row) for title, row in panels.items()],
        checks=[] if results.suite is None else check_sections(results.suite),
        gain=gains.gain_per_label(results.labels, pools),
        gain_forecast=forecast.draw_forecast(results, found),
        map=None if space is None else fingerprint_map.draw_map(space, phases),
    )


def _models_to_compare(results: CampaignResults) -> dict[str, Parity]:
    """Return the untuned model, and the best tuned one (or the latest) by their titles."""
    rounds = (predictions.round for predictions in results.parity)
    chosen = summary.rounds_to_compare(rounds, results.best_round)
    models = {}
    for predictions in sorted(results.parity, key=lambda predictions: predictions.round):
        if predictions.round in chosen:
            tuned = f"Tuned, round {predictions.round}" if predictions.round else "Untuned"
            models[f"{tuned}: {predictions.model}"] = predictions
    return models
