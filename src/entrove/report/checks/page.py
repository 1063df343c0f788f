"""Write the page of a validation suite: a single HTML file that needs no network."""

import json
from pathlib import Path

from entrove._optional import require
from entrove.errors import ModelError
from entrove.files import replace_text
from entrove.report.checks.sections import check_sections, figures_of, verdict_table
from entrove.report.figures import style
from entrove.report.formatting import format_count, format_duration
from entrove.report.page import figures_as_json
from entrove.report.templates import load_template
from entrove.validation.suite.result import Outcome, SuiteResult


def write_suite_page(suite: SuiteResult, path: str | Path) -> Path:
    """Write the page of a validation suite, finished or not.

    Args:
        suite: What `entrove.validation.run_suite` returns.
        path: The HTML file; an older one is replaced in one step.

    Returns the path. Raises `EntroveError` when the extra `report` is not installed, and
    `ModelError` when the file cannot be written.
    """
    path = Path(path)
    try:
        replace_text(path, render_suite_page(suite))
    except OSError as error:
        raise ModelError(
            f"{path}: the page cannot be written ({error.strerror}); check that its folder exists "
            "and that you may write there"
        ) from error
    return path


def render_suite_page(suite: SuiteResult) -> str:
    """Return the page as text; see `write_suite_page`."""
    sections = check_sections(suite)
    return load_template("suite.html.j2").render(
        suite=suite,
        facts=_facts(suite),
        verdicts=verdict_table(suite),
        sections=sections,
        settings=json.dumps(suite.settings, indent=2),
        style=style,
        figures_json=figures_as_json(figures_of(sections)),
        dark_colours_json=json.dumps(style.DARK_COLOURS),
        plotly_js=require("plotly.offline", extra="report").get_plotlyjs(),
    )


def _facts(suite: SuiteResult) -> list[tuple[str, str]]:
    passed = sum(check.outcome is Outcome.PASSED for check in suite.checks)
    return [
        ("Checks", format_count(len(suite.checks), "result")),
        ("Passed", str(passed)),
        ("Failed", str(len(suite.failed))),
        ("Compared with", suite.against or "no other model"),
        ("Time", format_duration(sum(suite.seconds.values()))),
    ]
