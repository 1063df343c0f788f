"""Write the page of a study of learning curves."""

from dataclasses import dataclass
from pathlib import Path

from entrove import __version__
from entrove.curves.results import StudyResults
from entrove.errors import CampaignError
from entrove.report.curves import tables
from entrove.report.curves.figures import draw_curve
from entrove.report.figures import style
from entrove.report.figures.style import Figure
from entrove.report.tables import Table
from entrove.report.templates import render_page, write_page

DRAWN = ("energy", "force", "stress")


@dataclass(frozen=True)
class Section:
    """Curves and tables of a student on a group of a test set."""

    title: str
    figures: list[Figure]
    tables: list[Table]


def write_curves_page(results: StudyResults, path: str | Path) -> Path:
    """Write the page of a study, finished or not.

    Args:
        results: What `entrove.curves.run_study` returns.
        path: The HTML file; an older one is replaced in one step.

    Returns the path. Raises `EntroveError` when the extra `report` is not installed, and
    `CampaignError` when the file cannot be written.
    """
    return write_page(path, render_curves_page(results), CampaignError)


def render_curves_page(results: StudyResults) -> str:
    """Return the page as text; see `write_curves_page`."""
    arms = style.styles_of(dict.fromkeys(point.arm for point in results.points))
    students: dict[str, list[Section]] = {}
    number = 0
    for student in results.students():
        students[student] = []
        for test in results.tests():
            for group in _groups(results, test):
                figures: list[Figure] = []
                for quantity in DRAWN:
                    number += 1
                    figure = draw_curve(results, student, test, group, quantity, arms, number)
                    figures += [] if figure is None else [figure]
                shown = [
                    make(results, student, test, group, quantity)
                    for quantity in DRAWN
                    for make in (tables.errors, tables.ratios, tables.ratios_at_equal_cost)
                ]
                title = test if group == tables.ALL else f"{test}, {group}"
                with_rows = [table for table in shown if table.rows]
                students[student].append(Section(title, figures, with_rows))
    all_figures = [f for of in students.values() for section in of for f in section.figures]
    return render_page(
        "curves.html.j2",
        all_figures,
        results=results,
        version=__version__,
        arms=list(arms.values()),
        students=students,
        costs={student: tables.costs(results, student) for student in students},
    )


def _groups(results: StudyResults, test: str) -> list[str]:
    """All structures and the lowest energies first, then the kinds."""
    groups = results.groups(test)
    first = [group for group in (tables.ALL, tables.LOWEST) if group in groups]
    kinds = [group for group in groups if group not in first]
    return first + (kinds if len(kinds) > 1 else [])
