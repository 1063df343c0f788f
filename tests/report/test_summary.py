"""The numbers behind the report."""

import numpy as np
import pytest
from silicon_results import silicon_results, with_errors

from entrove.report.figures.parity import thin
from entrove.report.formatting import format_column, format_number
from entrove.report.summary import (
    describe_change,
    error_changes,
    gains_by_round,
    label_costs,
    stage_totals,
    what_is_missing,
)

RESULTS = silicon_results()


@pytest.mark.parametrize(
    ("untuned", "tuned", "description"),
    [
        (12.0, 4.0, "3.0 times smaller"),
        (4.0, 12.0, "3.0 times larger"),
        (10.0, 9.0, "10 % smaller"),
        (10.0, 11.2, "12 % larger"),
        (10.0, 10.1, "unchanged within 2 %"),
        (10.0, None, "no tuned model yet"),
        (None, 10.0, "not measured for the untuned model"),
        (10.0, 0.0, "now zero"),
        (0.0, 10.0, "was zero"),
    ],
)
def test_changes_are_described(
    untuned: float | None, tuned: float | None, description: str
) -> None:
    assert describe_change(untuned, tuned) == description


def test_a_model_that_became_worse_is_called_worse() -> None:
    rows = [
        with_errors(row, force_mae_meV_per_A=500.0) if row.round == 2 else row
        for row in RESULTS.errors
    ]
    energy, force, _ = error_changes(rows)
    assert energy.improved is True
    assert force.improved is False
    assert force.description.endswith("times larger")


def test_round_ten_comes_after_round_two() -> None:
    shuffled = [
        row for row in reversed(silicon_results(rounds=11).errors) if row.round in (0, 2, 10)
    ]
    changes = error_changes(shuffled)
    last = next(row for row in shuffled if (row.round, row.phase) == (10, "all"))
    assert changes[0].tuned == last.errors.energy_mae_meV_per_atom


def test_sums_agree_with_the_rows() -> None:
    costs = label_costs(RESULTS.labels)
    assert sum(cost.count for cost in costs) == len(RESULTS.labels)
    computed = sum(label.engine_seconds for label in RESULTS.labels if not label.from_cache)
    assert sum(cost.engine_seconds for cost in costs) == pytest.approx(computed)
    assert sum(stage_totals(RESULTS.stages).values()) == pytest.approx(
        sum(stage.seconds for stage in RESULTS.stages)
    )
    assert [gain.nats_per_label for gain in gains_by_round(RESULTS)] == pytest.approx(
        [61.4 / 12, 17.9 / 12]
    )
    assert what_is_missing(RESULTS) == []


def test_thinning_keeps_all_when_few_and_the_largest_when_many() -> None:
    errors = np.random.default_rng(3).normal(size=5000)
    assert thin(errors, 5000).tolist() == list(range(5000))
    kept = thin(errors, 400)
    assert len(kept) == len(set(kept)) == 400
    assert set(np.argsort(-np.abs(errors))[:100]) <= set(kept)
    assert np.diff(kept).max() < 40  # the rest is spread over the whole set


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([117.4, 31.9, 11.0], ["117", "32", "11"]),
        ([4.78, 1.29], ["4.78", "1.29"]),
        ([0.00123, 0.00045], ["0.00123", "0.00045"]),
        ([2.0e9, 12.0], ["2.0e+09", "12"]),
        ([None, float("nan"), float("inf")], ["-", "-", "-"]),
        ([], []),
    ],
)
def test_columns_share_their_decimals(values: list[float | None], texts: list[str]) -> None:
    assert format_column(values) == texts


def test_zero_and_negative_numbers() -> None:
    assert [format_number(value) for value in (0.0, -12.34)] == ["0.0", "-12.3"]
