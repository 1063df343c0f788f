"""Intervals, what got worse, and the test set are shown in the terminal and on the page."""

import dataclasses

import pytest
from page_reader import Page, numbers
from silicon_results import silicon_results, with_errors

from entrove.campaign.results.results import CampaignResults
from entrove.report.formatting import format_number
from entrove.report.page import render_report
from entrove.report.status import summary_text
from entrove.validation.comparison import Change, Comparison

PLAIN = silicon_results()
HALF_WIDTH = 0.25
WORSE = Change("all", "shear", "force", 29.0, 41.0, (1.21, 1.68), 2.0)
BETTER = Change("all", "all", "energy", 24.0, 7.0, (0.2, 0.45), 1.0)
LARGER = Change("all", "strain", "stress", 4.0, 4.6, (0.8, 1.6), 0.2)
NOISE = Change("all", "all", "stress", 5.0, 4.0, (0.6, 1.2), 0.2)


def with_intervals(results: CampaignResults) -> CampaignResults:
    """Every error with an interval of a quarter on either side."""

    def around(value: float) -> tuple[float, float]:
        return (1 - HALF_WIDTH) * value, (1 + HALF_WIDTH) * value

    rows = tuple(
        with_errors(
            row,
            energy_interval_meV_per_atom=around(row.errors.energy_mae_meV_per_atom),
            force_interval_meV_per_A=around(row.errors.force_mae_meV_per_A),
            stress_interval_meV_per_A3=around(row.errors.stress_mae_meV_per_A3),
            trajectories=row.structures,
            force_components=144,
            force_components_by_symmetry=216,
        )
        for row in results.errors
    )
    comparison = Comparison(True, "", 0.3, 1.4, 0.8, (BETTER, WORSE, NOISE, LARGER))
    return dataclasses.replace(results, errors=rows, comparison=comparison)


RESULTS = with_intervals(PLAIN)
TESTED = dataclasses.replace(
    RESULTS,
    test=tuple(
        with_errors(row, force_mae_meV_per_A=3 * row.errors.force_mae_meV_per_A)
        for row in RESULTS.errors
        if row.round in (0, 2)
    ),
    test_comparison=dataclasses.replace(RESULTS.comparison, changes=(BETTER, NOISE)),
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_intervals_and_names_what_got_worse(width: int):
    text = summary_text(TESTED, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    total = [row.errors for row in RESULTS.errors if row.phase == "all"][-1]
    low, high = (factor * total.force_mae_meV_per_A for factor in (0.75, 1.25))
    assert f"{low:.1f}-{high:.1f}" in text
    assert "worse: forces of shear 41 meV/A, untuned 29 (ratio 1.41 (1.21 to 1.68))" in " ".join(
        text.split()
    )
    assert "larger, within noise: stress of strain 4.6 meV/A^3, untuned 4" in " ".join(
        text.split()
    )
    assert lines.index("Test errors (MAE), on structures that no decision has used") < lines.index(
        "Validation errors (MAE)"
    )


def test_a_difference_within_noise_is_called_noise():
    text = " ".join(summary_text(RESULTS, 120).split())
    assert "stress 3.7 times smaller, within noise" in text
    page = Page(render_report(RESULTS))
    tiles = [dict(attrs) for tag, attrs in page.elements if tag == "p"]
    classes = [attrs.get("class") for attrs in tiles if "change" in (attrs.get("class") or "")]
    assert classes == ["change better", "change better", "change"]


def test_the_page_shows_intervals_as_bars_and_in_tables():
    page = Page(render_report(RESULTS))
    total = [row.errors for row in RESULTS.errors if row.phase == "all"]
    trace = page.trace("force-per-round", "all structures")
    given = [row.force_mae_meV_per_A for row in total]
    assert numbers(trace["error_y"]["array"]).tolist() == pytest.approx(
        [HALF_WIDTH * value for value in given]
    )
    bars = page.trace("force-by-part", "untuned")["error_x"]
    assert numbers(bars["arrayminus"])[0] == pytest.approx(HALF_WIDTH * given[0])
    [by_round] = page.tables["Errors on the validation set"]
    assert by_round[1][3] == f"{given[0]:.1f} ({0.75 * given[0]:.1f} to {1.25 * given[0]:.1f})"
    [by_part] = page.tables["By phase and kind"]
    assert by_part[1][3] == "144 (216 zero by symmetry)"
    assert by_part[1][4].endswith("(ratio 0.20 to 0.45)")
    assert "144 force components count, 216 are left out" in page.visible
    assert (
        "Worse than the untuned model beyond the interval: forces of shear 41 meV/A"
        in page.visible
    )


def test_the_headline_is_that_of_the_test_set():
    page = Page(render_report(TESTED))
    tested = [row.errors for row in TESTED.test if row.phase == "all"]
    assert f"{format_number(tested[-1].force_mae_meV_per_A)} meV/Å" in page.visible
    assert "test structures, which no decision has used" in page.visible
    [table] = page.tables["Errors on the test set"]
    assert len(table) == 1 + len([row for row in TESTED.test if row.round == 0])
    without = Page(render_report(dataclasses.replace(RESULTS, best_round=2)))
    assert "This campaign has no test set" in without.visible
    assert "Errors on the test set" not in without.tables
