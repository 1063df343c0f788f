"""The page of a validation suite: every number is on it, and the browser draws it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_reader import Page, numbers
from test_browser import BROWSER, open_text

from entrove.report.checks.page import render_suite_page
from entrove.report.checks.sections import check_sections
from entrove.validation.suite.result import (
    CheckResult,
    DataTable,
    Outcome,
    Panel,
    Quantity,
    SuiteResult,
    curve,
    judged,
    not_applicable,
)


def suite() -> SuiteResult:
    """Every kind of plot and table: lines, points, references, marks, named positions."""
    bands = Panel(
        "beta-tin",
        "",
        "frequency (THz)",
        (
            curve("bands", [0, 1, 2, 2, 0, 1, 2], [0.0, -1.5, 2.0, float("nan"), 0.0, 5.0, 6.0]),
            curve("imaginary", [1], [-1.5], "marked"),
        ),
        ((0.0, "Γ"), (1.0, "X"), (2.0, "K|U")),
    )
    volumes = [18.0, 19.0, 20.0, 21.0, 22.0]
    heights = [80.0, 20.0, 0.0, 12.0, 50.0]
    state = Panel(
        "diamond",
        "volume (Å³/atom)",
        "energy (meV/atom)",
        (
            curve("Birch-Murnaghan fit", volumes, heights),
            curve("model", volumes, heights, "points"),
            curve("labels, shifted to the mean", volumes, [h + 3 for h in heights], "reference"),
        ),
    )
    dimer = Panel(
        "Si-Si",
        "distance (Å)",
        "energy (eV)",
        (
            curve("model", [1.1, 1.4, 1.8, 2.4], [12.0, 20.0, 3.0, 0.0]),
            curve("hole", [1.1, 1.4], [12.0, 20.0], "marked"),
        ),
        ((1.55, "onset"),),
    )
    constants = DataTable("diamond at 0 GPa, in GPa", ("", "C·1"), (("C1·", 151.3),))
    reliability = DataTable(
        "Reliability, forces",
        ("Items", "Predicted error (meV/Å)", "Observed error (meV/Å)"),
        ((12.0, 21.25, 30.5), (12.0, 55.75, None)),
    )
    factor = Quantity("error over spread, forces", 27.3)
    frequency = Quantity("lowest frequency", -1.5, "THz", at_least=-0.15)
    modulus = Quantity("bulk modulus", 88.4321, "GPa", at_least=0.0, reference=91.0)
    checks: list[CheckResult] = [
        judged("equation_of_state", "diamond", "B = 88.4 GPa", [modulus], panels=[state]),
        judged("calibration", "", "27 times the spread", [factor], tables=[reliability]),
        judged("elastic", "diamond", "stable", [], tables=[constants]),
        judged("dimers", "Si-Si", "", [], problems=["falls by 8 eV & more"], panels=[dimer]),
        judged("phonons", "beta-tin", "", [frequency], panels=[bands]),
        not_applicable("forgetting", "", "there is no untuned model to compare with"),
    ]
    return SuiteResult("7net-0", "", tuple(checks), {"phonons": 3.0}, {"enabled": True}, "0.1.0")


def check_tables(shown: list[list[list[str]]], stored: list[dict[str, Any]]) -> None:
    """Compare every cell of the tables of a section with those of the JSON."""
    for table in stored:
        (rows,) = [found[1:] for found in shown if found[0] == table["columns"]]
        for row, cells in zip(rows, table["rows"], strict=True):
            for text, cell in zip(row, cells, strict=True):
                assert text == cell if isinstance(cell, str) else is_number(text, cell)


def test_every_number_of_the_json_is_in_its_place_on_the_page():
    result = suite()
    page = Page(render_suite_page(result))
    sections: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(result.to_json())["checks"]:
        sections.setdefault(check["check"], []).append(check)
    limits = iter(page.tables["All numbers, with what is allowed"])
    for name, checks in sections.items():
        of_section = page.tables[name.replace("_", " ").capitalize()]
        quantities = [quantity for check in checks for quantity in check["quantities"]]
        if quantities:
            for row, quantity in zip(next(limits)[1:], quantities, strict=True):
                assert row[1] == quantity["name"]
                for cell, value in ((row[2], quantity["value"]), (row[4], quantity["reference"])):
                    assert is_number(cell, value), (row, quantity)
        for check in checks:
            assert check["sentence"] in page.visible
        check_tables(of_section, [table for check in checks for table in check["tables"]])
        for row, check in enumerate(checks):
            for column, panel in enumerate(check["panels"]):
                drawn = page.figures[f"check-{name}-{row}-{column}"]["data"]
                for trace, curve_ in zip(drawn, panel["curves"], strict=True):
                    assert trace["name"] == curve_["name"]
                    for axis in ("x", "y"):
                        np.testing.assert_allclose(numbers(trace[axis]), numbers(curve_[axis]))
    assert len(page.figures) == sum(len(c["panels"]) for of in sections.values() for c in of)
    assert result.failed == result.checks[3:5]
    assert "Si-Si" in result.summary


def is_number(text: str, value: float | None) -> bool:
    """Whether a cell shows a number to the digits that it has, three at least, or its absence."""
    if value is None:
        return text.strip() == "-"
    shown = float(text.replace(",", "").replace("\u2212", "-"))
    return shown == pytest.approx(value, rel=6e-3)


def test_a_limit_says_whether_it_is_kept():
    (section,) = [s for s in check_sections(suite()) if s.name == "phonons"]
    (row,) = section.quantities.rows
    assert row[-1] == "at least -0.15: no"
    assert section.verdicts.rows[0][1] == Outcome.FAILED


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome on PATH")
@pytest.mark.parametrize("width", [400, 1280])
def test_the_browser_draws_it_without_overlaps(width: int, tmp_path: Path):
    seen = open_text(render_suite_page(suite()), width, tmp_path)
    assert seen["failures"] == []
    assert seen["overlaps"] == []
    assert seen["cut"] == []
    assert seen["pageWidth"] <= width
    assert len(seen["drawn"]) == 3
