"""Write the page of a validation suite: a single HTML file that needs no network."""

import json
from pathlib import Path

from entrove.counts import format_count
from entrove.errors import ModelError
from entrove.report.checks.sections import check_sections, figures_of, verdict_table
from entrove.report.formatting import format_duration
from entrove.report.templates import render_page, write_page
from entrove.validation.suite.result import Outcome, SuiteResult


def write_suite_page(suite: SuiteResult, path: str | Path) -> Path:
    """Write the page of a validation suite, finished or not.

    Args:
        suite: What `entrove.validation.run_suite` returns.
        path: The HTML file; an older one is replaced in one step.

    Returns the path. Raises `EntroveError` when the extra `report` is not installed, and
    `ModelError` when the file cannot be written.
    """
    return write_page(path, render_suite_page(suite), ModelError)


def render_suite_page(suite: SuiteResult) -> str:
    """Return the page as text; see `write_suite_page`."""
    sections = check_sections(suite)
    return render_page(
        "suite.html.j2",
        figures_of(sections),
        suite=suite,
        facts=_facts(suite),
        verdicts=verdict_table(suite),
        sections=sections,
        settings=json.dumps(suite.settings, indent=2),
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
