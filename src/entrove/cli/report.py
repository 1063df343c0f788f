"""`entrove report`: the page of a campaign, and its numbers."""

from pathlib import Path

import typer

from entrove.campaign.results.read import read_results
from entrove.report.page import report_numbers, write_report
from entrove.report.record import record_as_json


def write_or_print(folder: Path, control: Path | None, *, as_json: bool) -> None:
    """Write report.html and report.json into the folder of a campaign, or print the numbers."""
    results = read_results(folder, figures=True)
    compared = None if control is None else read_results(control)
    if as_json:
        typer.echo(record_as_json(report_numbers(results, control=compared)), nl=False)
        return
    path = write_report(results, folder / "report.html", control=compared)
    typer.echo(f"wrote {path} and {path.with_suffix('.json').name}")
