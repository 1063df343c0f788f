"""Write the report: an HTML file that needs no network and no other file, and its numbers."""

from pathlib import Path
from typing import Any

from entrove.campaign.results.results import CampaignResults, ModelErrors
from entrove.errors import CampaignError
from entrove.report import summary, tables
from entrove.report.audit.pictures import draw_structure
from entrove.report.checks.sections import verdict_table
from entrove.report.drawn import Drawn, draw
from entrove.report.formatting import (
    format_duration,
)
from entrove.report.recipes import recipes_table
from entrove.report.record import record_as_json, record_of
from entrove.report.templates import render_page, write_page

MOST_LABEL_ROWS = 1000
MOST_WALKER_ROWS = 400


def write_report(
    results: CampaignResults, path: str | Path, *, control: CampaignResults | None = None
) -> Path:
    """Write the report of a campaign, finished or not: a page, and its numbers beside it.

    Args:
        results: What `read_results(folder, figures=True)` returns; without `figures` the parity
            plots, the map and the errors by state are missing.
        path: The HTML file; an older one is replaced in one step, so that a reader never sees a
            part of a page. The numbers go to the file of the same name that ends in `.json`.
        control: Results of the control arm, for the learning curve.

    Returns the path. Equal results give identical files.

    Raises `EntroveError` when the extra `report` is not installed, and `CampaignError` when a
    file cannot be written, or `control` cannot be compared with the campaign.
    """
    drawn = draw(results, control)
    path = Path(path)
    page, numbers = _render(results, drawn), record_as_json(record_of(results, drawn))
    write_page(path, page, CampaignError, "the report")
    write_page(path.with_suffix(".json"), numbers, CampaignError, "the report")
    return path


def render_report(results: CampaignResults, *, control: CampaignResults | None = None) -> str:
    """Return the report as the text of an HTML page; see `write_report`."""
    return _render(results, draw(results, control))


def report_numbers(
    results: CampaignResults, *, control: CampaignResults | None = None
) -> dict[str, Any]:
    """Return every number of the page, as `report.json` has it; see `write_report`."""
    return record_of(results, draw(results, control))


def _render(results: CampaignResults, drawn: Drawn) -> str:
    walkers = sorted(results.walkers, key=lambda row: (-row.restarts, row.round, row.walker))
    return render_page(
        "report.html.j2",
        drawn.figures,
        results=results,
        drawn=drawn,
        facts=_facts(results),
        **_headline(results, drawn.compared),
        missing=summary.what_is_missing(results),
        pictures=[(shown, draw_structure(shown.atoms)) for shown in results.pictured],
        refused=summary.refusal(results),
        phases=list(drawn.phases.values()),
        pools=list(drawn.pools.values()),
        verdicts=None if results.suite is None else verdict_table(results.suite),
        tables={
            "test_errors": tables.errors_by_part(results.test, results.test_comparison),
            "errors_by_round": tables.errors_by_round(results.errors),
            "errors_by_part": tables.errors_by_part(drawn.compared, results.comparison),
            "every_error": tables.every_error(results.errors),
            "learning": tables.learning(drawn.curves),
            "recipes": recipes_table(results.choices),
            "gains": tables.gains(results),
            "earlier_forecasts": tables.earlier_forecasts(drawn.forecast),
            "pools": tables.pools(results.pools),
            "costs": tables.costs((*results.labels, *results.volumes), results.kpoints),
            "phases": tables.phases(results.labels),
            "quarantine": tables.quarantine(results.labels),
            "labels": tables.every_label(results.labels[:MOST_LABEL_ROWS]),
            "walkers": tables.walkers(walkers[:MOST_WALKER_ROWS]),
        },
        stage_costs=summary.stage_costs(results.stages),
        outcomes=summary.outcomes_by_purpose(results.labels),
        restarts=sum(row.restarts for row in results.walkers),
        most_label_rows=MOST_LABEL_ROWS,
        most_walker_rows=MOST_WALKER_ROWS,
    )


def _headline(results: CampaignResults, compared: list[ModelErrors]) -> dict[str, Any]:
    """The errors to quote: those on the test set where there is one."""
    rows, comparison = summary.quoted_errors(results, compared)
    return {
        "changes": summary.error_changes(rows, comparison),
        "worse": tables.worse_parts(comparison),
        "larger": tables.larger_parts(comparison),
        "worse_on_validation": tables.worse_parts(results.comparison) if results.test else [],
        "force_components": summary.forces_by_symmetry(rows),
        "quoted_size": summary.validation_size(rows),
    }


def _facts(results: CampaignResults) -> list[tuple[str, str]]:
    training = sum(label.purpose == "training" for label in results.labels)
    validation = sum(label.purpose == "validation" for label in results.labels)
    test = sum(label.purpose == "test" for label in results.labels)
    failed = len(summary.quarantined(results.labels))
    seconds = sum(summary.stage_totals(results.stages).values())
    return [
        ("Rounds", f"{results.rounds_done} of {max(results.rounds_planned, results.rounds_done)}"),
        (
            "Labels",
            f"{training:,} training, {validation:,} validation"
            + (f", {test:,} test" if test else "")
            + (f"; {failed:,} of them in quarantine" if failed else ""),
        ),
        ("Wall time", format_duration(seconds) if results.stages else "-"),
        ("Started from", results.foundation_model),
        ("Level of theory", results.level_of_theory),
    ]
