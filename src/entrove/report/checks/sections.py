"""One section for each check of the validation suite."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrove.report.figures.checks import Key, draw_panel, legend_of
from entrove.report.figures.style import Figure
from entrove.report.formatting import MISSING, format_number
from entrove.report.tables import Column, Table
from entrove.validation.suite.result import Cell, CheckResult, DataTable, Quantity, SuiteResult

EXPLANATIONS = {
    "errors": "Predictions against labels, with confidence intervals. Centred energies leave out "
    "the mean error of each composition, and with it another zero of energy.",
    "calibration": "Spread of the members of a committee against the error of their mean. One "
    "factor per quantity turns a spread into an error. It is fitted to training labels that "
    "members left out, where the verdict says so, and else to these labels; the points show "
    "whether large spreads mean large errors.",
    "equation_of_state": "Energy above the minimum against volume, with a Birch-Murnaghan fit; "
    "labels of the same crystal at other volumes are compared where there "
    "are any.",
    "elastic": "Elastic constants from the stresses of strained cells, atoms relaxed. A crystal "
    "is stable when every strain costs energy.",
    "phase_order": "Enthalpy of each phase above the lowest one, over pressure.",
    "dimers": "Energy of two atoms alone. Below the dotted line it must rise all the way: in a "
    "hole, atoms of hot MD fall into each other.",
    "forgetting": "Change of the model on crystals of elements that it was not tuned for. Other "
    "crystals of its own elements are shown beside and have no limit: how much a model that knows "
    "its elements better should change there is not known.",
    "phonons": "Frequencies along lines of the Brillouin zone. Imaginary ones, drawn below zero "
    "and marked, are displacements that lower the energy.",
    "dynamics": "MD at the hottest temperature of the regime. Without a thermostat the total "
    "energy is constant when forces are the gradient of the energy.",
}


@dataclass(frozen=True)
class DrawnPanel:
    """A plot with its legend."""

    figure: Figure
    keys: list[Key]


@dataclass(frozen=True)
class NamedTable:
    """A table with its heading."""

    title: str
    table: Table


@dataclass(frozen=True)
class CheckSection:
    """All results of one check: plots and tables of all phases."""

    name: str
    title: str
    explanation: str
    verdicts: Table
    quantities: Table
    panels: list[DrawnPanel]
    tables: list[NamedTable]


def check_sections(suite: SuiteResult) -> list[CheckSection]:
    """Return the sections in the order in which the checks were made."""
    groups: dict[str, list[CheckResult]] = {}
    for check in suite.checks:
        groups.setdefault(check.check, []).append(check)
    return [_section(name, results) for name, results in groups.items()]


def figures_of(sections: Sequence[CheckSection]) -> list[Figure]:
    """All figures, for the script of the page."""
    return [panel.figure for section in sections for panel in section.panels]


def verdict_table(suite: SuiteResult) -> Table:
    """List the verdict of each check and phase."""
    return _verdicts(suite.checks, with_check=True)


def _section(name: str, results: Sequence[CheckResult]) -> CheckSection:
    panels = [
        DrawnPanel(draw_panel(panel, f"check-{name}-{row}-{column}"), legend_of(panel))
        for row, result in enumerate(results)
        for column, panel in enumerate(result.panels)
    ]
    tables = [
        NamedTable(data.title, _data_table(data)) for result in results for data in result.tables
    ]
    title = name.replace("_", " ")
    return CheckSection(
        name,
        title[0].upper() + title[1:],
        EXPLANATIONS.get(name, ""),
        _verdicts(results, with_check=False),
        _quantities(results),
        panels,
        tables,
    )


def _verdicts(results: Sequence[CheckResult], *, with_check: bool) -> Table:
    rows = [
        (
            result.title if with_check else result.phase or MISSING,
            result.outcome.value,
            result.sentence,
        )
        for result in results
    ]
    first = Column("Check" if with_check else "Phase", prose=with_check)
    return Table((first, Column("Verdict"), Column("What was found", prose=True)), rows)


def _quantities(results: Sequence[CheckResult]) -> Table:
    heads = (
        Column("Phase"),
        Column("Quantity", prose=True),
        Column("Value", numeric=True),
        Column("Unit"),
        Column("Reference", numeric=True),
        Column("Allowed"),
    )
    rows = [
        (
            result.phase or MISSING,
            quantity.name,
            format_number(quantity.value),
            quantity.unit.replace("A^3", "Å³").replace("/A", "/Å") or MISSING,
            format_number(quantity.reference),
            _allowed(quantity),
        )
        for result in results
        for quantity in result.quantities
    ]
    return Table(heads, rows)


def _allowed(quantity: Quantity) -> str:
    if quantity.holds is None:
        return MISSING
    return f"{quantity.limit}: {'yes' if quantity.holds else 'no'}"


def _data_table(data: DataTable) -> Table:
    numeric = [
        all(not isinstance(row[column], str) for row in data.rows)
        for column in range(len(data.columns))
    ]
    columns = tuple(
        Column(title, numeric=is_number)
        for title, is_number in zip(data.columns, numeric, strict=True)
    )
    return Table(columns, [tuple(_cell(cell) for cell in row) for row in data.rows])


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if cell is not None and cell == round(cell) and abs(cell) < 1e6:
        return f"{cell:.0f}"
    return format_number(cell)
