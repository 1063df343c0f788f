"""The page of a validation suite: every number is on it, and the browser draws it."""

import html
import json
from pathlib import Path

import pytest
from test_browser import BROWSER, open_text

from entrove.report.checks.page import render_suite_page
from entrove.report.checks.sections import check_sections
from entrove.report.formatting import format_number
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
    frequency = Quantity("lowest frequency", -1.5, "THz", at_least=-0.15)
    modulus = Quantity("bulk modulus", 88.4321, "GPa", at_least=0.0, reference=91.0)
    checks: list[CheckResult] = [
        judged("equation_of_state", "diamond", "B = 88.4 GPa", [modulus], panels=[state]),
        judged("elastic", "diamond", "stable", [], tables=[constants]),
        judged("dimers", "Si-Si", "", [], problems=["falls by 8 eV & more"], panels=[dimer]),
        judged("phonons", "beta-tin", "", [frequency], panels=[bands]),
        not_applicable("forgetting", "", "there is no untuned model to compare with"),
    ]
    return SuiteResult("7net-0", "", tuple(checks), {"phonons": 3.0}, {"enabled": True}, "0.1.0")


def test_every_number_of_the_json_is_on_the_page():
    result = suite()
    page = html.unescape(render_suite_page(result))
    for check in json.loads(result.to_json())["checks"]:
        assert check["sentence"] in page
        for quantity in check["quantities"]:
            for value in (quantity["value"], quantity["reference"]):
                assert format_number(value) in page
        for table in check["tables"]:
            for row in table["rows"]:
                assert all(cell in page for cell in row if isinstance(cell, str))
        for panel in check["panels"]:
            for drawn in panel["curves"]:
                assert f'"name":"{drawn["name"]}"' in page
    assert result.failed == result.checks[2:4]
    assert "Si-Si" in result.summary


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
