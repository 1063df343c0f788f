"""Ratios, their intervals, and labels needed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from entrove.curves.learning import GroupErrors
from entrove.curves.results import Point, StudyResults, labels_for, ratio_of, read_study
from entrove.report.curves.tables import ratios, ratios_at_equal_cost
from entrove.report.formatting import MISSING


def results(errors: dict[str, dict[int, list[float]]], draws: int) -> StudyResults:
    points = [
        Point(
            "s", arm, draw, count, 8.0, 1.0, "t", GroupErrors("all", 3, error, error, error, 1.0)
        )
        for arm, counts in errors.items()
        for count, values in counts.items()
        for draw, error in enumerate(values)
    ]
    return StudyResults("a", "random", draws, tuple(points), {})


def test_the_interval_is_that_of_a_paired_t_test_on_logarithms():
    control, ours = np.array([4.0, 5.0, 7.0]), np.array([2.0, 3.0, 3.0])
    ratio = ratio_of(control, ours)
    logs = np.log(control / ours)
    low, high = stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))
    assert ratio.value == pytest.approx(stats.gmean(control / ours))
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert math.isnan(ratio_of([1.0], [2.0]).low)


def test_labels_needed_follow_a_power_law_exactly():
    counts = [25, 50, 100, 200]
    means = [8.0 / count**0.5 for count in counts]
    assert labels_for(counts, means, 8.0 / 80**0.5) == pytest.approx(80)
    assert labels_for(counts, means, 0.1) is None
    assert labels_for(counts, means, 5.0) == 25


def test_an_error_that_is_unknown_is_reached_by_no_number_of_labels():
    """Forces on perfect crystals have no error, nor has the stress of molecules."""
    unknown = math.nan
    assert labels_for([25, 50], [unknown, unknown], unknown) is None
    assert labels_for([25, 50], [2.0, 1.0], unknown) is None
    assert labels_for([25, 50], [unknown, unknown], 1.0) is None
    assert labels_for([25, 50], [unknown, 1.0], 1.5) == 50
    study = results({arm: {4: [unknown], 16: [unknown]} for arm in ("random", "ours")}, 1)
    assert ratios(study, "s", "t", "all", "force").rows[0][-1] == MISSING


def with_seconds(study: StudyResults, seconds: dict[str, float]) -> StudyResults:
    """Labels of an arm take these seconds each."""
    points = [replace(p, engine_s=seconds[p.arm] * p.labels) for p in study.points]
    return replace(study, points=tuple(points))


def test_at_equal_cost_cheap_labels_count_by_their_cost():
    """Errors fall as one over the number: half the cost is worth a factor of two."""
    errors = {
        arm: {n: [s / n, 2 * s / n] for n in (25, 50, 100, 200)}
        for arm, s in (("random", 100.0), ("ours", 50.0))
    }
    study = results(errors, 2)
    question = ("s", "ours", "t", "all", "force")
    equal = with_seconds(study, {"random": 3.0, "ours": 3.0}).ratios_at_equal_cost(*question)
    assert {n: ratio.value for n, ratio in equal.items()} == pytest.approx(
        {n: ratio.value for n, ratio in study.ratios(*question).items()}
    )
    cheap = with_seconds(study, {"random": 4.0, "ours": 2.0}).ratios_at_equal_cost(*question)
    # 25 of ours cost less than any labels of random.
    assert {n: ratio.value for n, ratio in cheap.items()} == pytest.approx(
        dict.fromkeys((50, 100, 200), 4.0)
    )
    odd = with_seconds(study, {"random": 3.0, "ours": 3.9}).ratios_at_equal_cost(*question)
    assert {n: ratio.value for n, ratio in odd.items()} == pytest.approx(
        dict.fromkeys((25, 50, 100), 2 / 1.3)
    )


def test_without_costs_nothing_is_compared_at_equal_cost():
    study = results({"random": {4: [4.0], 16: [2.0]}, "ours": {4: [1.0], 16: [0.5]}}, 1)
    free = with_seconds(study, {"random": 0.0, "ours": 0.0})
    assert free.ratios_at_equal_cost("s", "ours", "t", "all", "force") == {}
    assert not ratios_at_equal_cost(free, "s", "t", "all", "force").rows
    unknown = results({"random": {4: [math.nan]}, "ours": {4: [1.0]}}, 1)
    assert unknown.ratios_at_equal_cost("s", "ours", "t", "all", "force") == {}


def test_a_count_that_lacks_a_draw_is_not_shown():
    study = results({"random": {25: [2.0, 2.0], 50: [1.0]}, "ours": {25: [1.0, 1.0]}}, 2)
    assert study.curve("s", "random", "t", "all", "force").counts == (25,)
    assert study.ratios("s", "ours", "t", "all", "force")[25].value == 2.0
    assert study.labels_needed("s", "ours", "t", "all", "force") == 25.0


def test_the_table_says_a_bound_where_the_fewest_labels_are_enough():
    study = results({"random": {4: [4.0], 16: [2.0]}, "ours": {4: [1.0], 16: [0.5]}}, 1)
    assert ratios(study, "s", "t", "all", "force").rows[0][-1] == "at most 4"
    study = results({"random": {4: [4.0], 16: [2.0]}, "ours": {4: [4.0], 16: [1.0]}}, 1)
    assert ratios(study, "s", "t", "all", "force").rows[0][-1] == "8"


def test_errors_of_zero_have_ratios_where_these_mean_something():
    """Both arms learn a model that is exact; the other errors are of one arm alone."""
    errors = {
        "random": {4: [2.0, 2.0], 8: [0.0, 2.0], 16: [0.0, 0.0], 32: [0.0, 0.0], 64: [0.0, 2.0]},
        "ours": {4: [2.0, 2.0], 8: [0.0, 1.0], 16: [0.0, 0.0], 32: [1.0, 1.0], 64: [1.0, 0.0]},
    }
    study = with_seconds(results(errors, 2), {"random": 1.0, "ours": 1.0})
    question = ("s", "ours", "t", "all", "force")
    for found in (study.ratios(*question), study.ratios_at_equal_cost(*question)):
        values = {count: ratio.value for count, ratio in found.items()}
        assert values == pytest.approx(
            {4: 1.0, 8: 2**0.5, 16: 1.0, 32: 0.0, 64: math.nan}, nan_ok=True
        )
    assert (found[16].low, found[16].high) == (1.0, 1.0)
    assert ratios(study, "s", "t", "all", "force").rows[0][3:6] == (
        "1.00 (1.00 to 1.00)",
        "0.00",
        MISSING,
    )
    exact = results({"random": {4: [2.0], 8: [1.0]}, "ours": {4: [2.0], 8: [0.0]}}, 1)
    assert ratios(exact, "s", "t", "all", "force").rows[0][1:] == ("1.00", "infinite", "8")
    both = results({"random": {4: [2.0], 8: [0.0]}, "ours": {4: [2.0], 8: [0.0]}}, 1)
    assert both.labels_needed(*question) == 8.0


@pytest.mark.parametrize("unknown", ["null", "NaN"], ids=["now", "earlier versions"])
def test_an_unknown_error_is_null_in_a_file_that_any_program_reads(unknown, tmp_path):
    file = tmp_path / "results.json"
    results({"random": {4: [math.nan]}, "ours": {4: [1.0]}}, 1).write(file)
    content = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert content["points"][0]["errors"]["force"] is None
    file.write_text(file.read_text().replace("null", unknown))
    first, second = (point.errors.force for point in read_study(file).points)
    assert math.isnan(first)
    assert second == 1.0
