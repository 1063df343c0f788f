"""Write the report: a single HTML file that needs no network, no server and no other file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrove._optional import require
from entrove.campaign.results.results import CampaignResults, ModelErrors, Parity
from entrove.errors import CampaignError
from entrove.files import replace_text
from entrove.report import summary, tables
from entrove.report.figures import errors, fingerprint_map, gains, parity, style
from entrove.report.figures.style import Figure
from entrove.report.formatting import (
    format_duration,
)
from entrove.report.templates import load_template

MOST_LABEL_ROWS = 1000
MOST_WALKER_ROWS = 400


def write_report(results: CampaignResults, path: str | Path) -> Path:
    """Write the report of a campaign, finished or not.

    Args:
        results: What `read_results(folder, figures=True)` returns; without `figures` the parity
            plots and the map are missing.
        path: The HTML file; an older one is replaced in one step, so that a reader never sees a
            part of a page.

    Returns the path. Equal results give an identical file.

    Raises `EntroveError` when the extra `report` is not installed, and `CampaignError` when the
    file cannot be written.
    """
    text = render_report(results)
    path = Path(path)
    try:
        replace_text(path, text)
    except OSError as error:
        raise CampaignError(
            f"{path}: the report cannot be written ({error.strerror}); check that its folder "
            "exists, that you may write there and that the disk is not full"
        ) from error
    return path


@dataclass(frozen=True)
class ParityRow:
    """The parity panels of one model."""

    title: str
    panels: list[parity.ParityPanel]


def render_report(results: CampaignResults) -> str:
    """Return the report as the text of an HTML page; see `write_report`."""
    phases = style.phase_styles(results)
    pools = style.styles_of(
        (label.pool for label in results.labels if label.gain_nats is not None), first=len(phases)
    )
    rounds = errors.errors_per_round(results.errors, phases) if results.errors else []
    compared = summary.errors_to_compare(results)
    parts = errors.errors_by_part(compared, phases)
    panels = parity.parity_panels(_models_to_compare(results), phases)
    gain_figure = gains.gain_per_label(results.labels, pools)
    space = results.fingerprint_map
    map_figure = None if space is None else fingerprint_map.draw_map(space, phases)
    figures = [*rounds, *parts, *(panel.figure for row in panels.values() for panel in row)]
    figures += [figure for figure in (gain_figure, map_figure) if figure is not None]
    walkers = sorted(results.walkers, key=lambda row: (-row.restarts, row.round, row.walker))
    return load_template("report.html.j2").render(
        results=results,
        facts=_facts(results),
        **_headline(results, compared),
        missing=summary.what_is_missing(results),
        phases=list(phases.values()),
        pools=list(pools.values()),
        errors_per_round=rounds,
        errors_by_part=parts,
        parity=[ParityRow(title, row) for title, row in panels.items()],
        gain_figure=gain_figure,
        map_figure=map_figure,
        tables={
            "test_errors": tables.errors_by_part(results.test, results.test_comparison),
            "errors_by_round": tables.errors_by_round(results.errors),
            "errors_by_part": tables.errors_by_part(compared, results.comparison),
            "every_error": tables.every_error(results.errors),
            "gains": tables.gains(results),
            "pools": tables.pools(results.pools),
            "costs": tables.costs(results.labels),
            "phases": tables.phases(results.labels),
            "quarantine": tables.quarantine(results.labels),
            "labels": tables.every_label(results.labels[:MOST_LABEL_ROWS]),
            "walkers": tables.walkers(walkers[:MOST_WALKER_ROWS]),
        },
        stage_totals=summary.stage_totals(results.stages),
        outcomes=summary.outcomes_by_purpose(results.labels),
        restarts=sum(row.restarts for row in results.walkers),
        most_label_rows=MOST_LABEL_ROWS,
        most_walker_rows=MOST_WALKER_ROWS,
        style=style,
        figures_json=figures_as_json(figures),
        dark_colours_json=json.dumps(style.DARK_COLOURS),
        plotly_js=require("plotly.offline", extra="report").get_plotlyjs(),
    )


def _headline(results: CampaignResults, compared: list[ModelErrors]) -> dict[str, Any]:
    """The errors to quote: those on the test set where there is one."""
    rows, comparison = (
        (list(results.test), results.test_comparison)
        if results.test
        else (compared, results.comparison)
    )
    return {
        "changes": summary.error_changes(rows, comparison),
        "worse": tables.worse_parts(comparison),
        "larger": tables.larger_parts(comparison),
        "worse_on_validation": tables.worse_parts(results.comparison) if results.test else [],
        "force_components": summary.forces_by_symmetry(rows),
        "quoted_size": summary.validation_size(rows),
    }


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


def _facts(results: CampaignResults) -> list[tuple[str, str]]:
    training = sum(label.purpose == "training" for label in results.labels)
    validation = sum(label.purpose == "validation" for label in results.labels)
    test = sum(label.purpose == "test" for label in results.labels)
    seconds = sum(summary.stage_totals(results.stages).values())
    return [
        ("Rounds", f"{results.rounds_done} of {results.rounds_planned}"),
        (
            "Labels",
            f"{training:,} training, {validation:,} validation"
            + (f", {test:,} test" if test else ""),
        ),
        ("Wall time", format_duration(seconds) if results.stages else "-"),
        ("Started from", results.foundation_model),
        ("Level of theory", results.level_of_theory),
    ]


def figures_as_json(figures: list[Figure]) -> str:
    """Serialise figures for a script element; Plotly checks them, arrays become base64."""
    plotly = require("plotly.graph_objects", extra="report")
    parts = [
        f"{json.dumps(figure.name)}:{plotly.Figure(figure.data, figure.layout).to_json()}"
        for figure in figures
    ]
    # The characters '</' and '<!--' would end or change the script element around them.
    return ("{" + ",".join(parts) + "}").replace("<", "\\u003c")
