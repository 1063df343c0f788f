"""report.json holds every number of the page: tables, tiles, sentences and plots."""

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_reader import Page, numbers
from silicon_results import silicon_results
from test_checks_page import suite
from test_intervals_shown import TESTED
from test_page import EMPTY, hostile_results

from entrove.campaign.results.results import CampaignResults
from entrove.report.formatting import format_duration, format_share
from entrove.report.page import render_report, report_numbers, write_report

RESULTS = silicon_results()

NAMES_AND_SENTENCES = {
    *("Result", "Reasons", "Cause", "From pools", "State", "Structure", "Phase", "Kind"),
    *("Campaign", "Model", "Bias", "Pool"),
}


NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?"


def values_in(record: Any) -> Iterator[float]:
    """Every number of a JSON document."""
    if isinstance(record, dict):
        for value in record.values():
            yield from values_in(value)
    elif isinstance(record, list):
        for value in record:
            yield from values_in(value)
    elif isinstance(record, int | float) and not isinstance(record, bool):
        yield float(record)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any]]:
    path = write_report(RESULTS, tmp_path_factory.mktemp("report") / "report.html")
    return Page(path.read_text()), json.loads(path.with_suffix(".json").read_text())


def shown_as(text: str, known: np.ndarray) -> bool:
    """Whether one of the known numbers, rounded to the digits of a text, reads like it."""
    plain = text.replace(",", "")
    decimals = len(plain.partition(".")[2]) if "e" not in plain else 0
    if "e" in plain:
        return any(f"{value:.1e}" == plain for value in known)
    return bool(np.any(np.abs(known - float(plain)) <= 0.5000001 * 10.0**-decimals))


def test_every_number_in_a_column_of_numbers_is_in_the_record(written) -> None:
    page, record = written
    known = np.array(list(values_in(record)))
    durations = {format_duration(value) for value in known}
    wall = sum(cost["wall_seconds"] for cost in record["stage_costs"])
    durations |= {format_share(value, wall) for value in known} | {"-", "cache", ""}
    checked = 0
    for heading, tables in page.tables.items():
        for head, *rows in tables:
            for row in rows:
                for title, cell in zip(head, row, strict=True):
                    if title in NAMES_AND_SENTENCES:
                        continue
                    if title in ("Wall time", "Engine time", "Share"):
                        assert cell.strip() in durations, (heading, title, cell)
                        checked += 1
                        continue
                    for text in re.findall(NUMBER, cell):
                        assert shown_as(text, known), (heading, title, cell)
                        checked += 1
    assert checked > 400


def rows_of_tables(record: dict[str, Any]) -> dict[str, list[Any]]:
    """What each row of each table is made of, by the heading above the table."""
    errors, curves = record["errors"], record["learning_curves"]["curves"]
    parts: dict[tuple[str, str], list[Any]] = {}
    for row in errors:
        if row["round"] in (0, record["best_round"] or max(row["round"] for row in errors)):
            parts.setdefault((row["phase"], row["kind"]), []).append(row)
    walkers = record["walkers"]
    return {
        "Learning curve": [point for curve in curves for point in curve["points"]],
        "Learning rate and strategy": [
            [choice["round"], tried]
            for choice in record["learning_rate_choices"]
            for tried in choice["tried"]
        ],
        "Errors on the validation set": [
            row for row in errors if row["phase"] == row["kind"] == "all"
        ],
        "By phase and kind": list(parts.values()),
        "Every round, phase and kind": errors,
        "Information gain of the labels": record["gains"],
        "What the next labels would add": record["forecast"]["earlier"],
        "Places by pool": record["pools"],
        "Labels": record["label_costs"],
        "By phase": record["labels_by_phase"],
        "All labels": record["labels"],
        "Time": record["stage_costs"],
        "What each stage did": record["stages"],
        "Restarts of each walker": sorted(
            walkers, key=lambda row: (-row["restarts"], row["round"], row["walker"])
        ),
    }


def test_the_numbers_of_each_row_are_those_of_its_entry_in_the_record(written) -> None:
    page, record = written
    wall = sum(cost["wall_seconds"] for cost in record["stage_costs"])
    expected = rows_of_tables(record)
    expected["Quarantined"] = [row for row in record["labels"] if row["cause"]]
    assert set(page.tables) == set(expected)
    for heading, entries in expected.items():
        [[head, *rows]] = page.tables[heading]
        for row, entry in zip(rows, entries, strict=True):
            known = np.array(list(values_in(entry)))
            texts = {format_duration(value) for value in known}
            texts |= {format_share(value, wall) for value in known} | {"-", "cache", ""}
            for title, cell in zip(head, row, strict=True):
                if title in ("Wall time", "Engine time", "Share"):
                    assert cell.strip() in texts, (heading, title, cell)
                elif title not in NAMES_AND_SENTENCES:
                    for text in re.findall(NUMBER, cell):
                        assert shown_as(text, known), (heading, row, title, cell)


def test_numbers_of_sentences_are_those_of_the_record(written) -> None:
    """Facts and sums, which stand in the text between the tables."""
    page, record = written
    text = " ".join(page.visible.split())
    purposes = [row["purpose"] for row in record["labels"]]
    wall = sum(cost["wall_seconds"] for cost in record["stage_costs"])
    hours = [cost["core_hours"] for cost in record["stage_costs"]]
    restarts = sum(row["restarts"] for row in record["walkers"])
    for sentence in (
        f"Rounds{record['rounds_done']} of {record['rounds_planned']} ",
        f"Labels{purposes.count('training')} training, {purposes.count('validation')} validation"
        f"; {sum(bool(row['cause']) for row in record['labels'])} of them in quarantine",
        f"Wall time{format_duration(wall)} ",
        f"on {record['quoted_structures']} validation structures, which choose the model",
        f"{format_duration(wall)} of wall time in finished stages; "
        f"{sum(hour for hour in hours if hour is not None):.3f} core hours",
        f"{restarts} restarts over {len(record['walkers'])} walker runs",
        record["verdict"],
        *(
            f"{purpose.capitalize()}: "
            + ", ".join(f"{n} {outcome.replace('_', ' ')}" for outcome, n in counts.items())
            + "."
            for purpose, counts in record["labels_by_outcome"].items()
        ),
        *(
            f"Round {choice['round']}: learning rate {choice['recipe']['learning_rate']:g}, "
            f"{choice['recipe']['strategy']}: chosen by {choice['folds']} folds of "
            f"{choice['labels']} labels (mean losses: "
            + ", ".join(
                f"{tried['strategy']} {tried['learning_rate'] or ''}".strip()
                + f": {tried['mean']:.3g}"
                for tried in choice["tried"]
            )
            + ")."
            for choice in record["learning_rate_choices"]
        ),
    ):
        assert sentence in text, sentence


def test_every_number_of_a_plot_is_in_the_record_in_its_place(written) -> None:
    page, record = written
    assert set(record["figures"]) == set(page.figures)
    for name, figure in page.figures.items():
        for trace, stored in zip(figure["data"], record["figures"][name], strict=True):
            for key in ("x", "y", "z"):
                if key not in trace:
                    assert key not in stored
                    continue
                drawn, kept = (
                    np.concatenate([numbers(row) for row in values])
                    if key == "z"
                    else numbers(values)
                    for values in (trace[key], stored[key])
                )
                np.testing.assert_array_equal(drawn, kept, err_msg=f"{name}, {key}")


def test_numbers_of_tiles_captions_and_sentences_are_those_of_the_record(written) -> None:
    page, record = written
    for tile in record["headline"]:
        assert f"{tile['tuned']:.{2 - math.floor(math.log10(tile['tuned']))}f}" in page.visible
        assert tile["change"] in page.visible
    captions = re.findall(r"MAE ([\d.,]+), RMSE ([\d.,]+) (meV/atom|meV/Å|GPa)", page.visible)
    assert len(captions) == 6
    for (mae, rmse, unit), panel in zip(captions, record["parity"], strict=True):
        assert shown_as(mae, np.array([panel["mae"]]))
        assert shown_as(rmse, np.array([panel["rmse"]]))
        assert unit == panel["unit"]
    ahead = record["forecast"]
    sentence = re.search(
        r"The next (\d+) labels would add about ([\d.]+) nats \(([\d.]+) to ([\d.]+)\), "
        r"([\d.]+) each",
        page.visible,
    )
    assert sentence is not None
    for text, value in zip(
        sentence.groups(),
        (
            ahead["labels"],
            ahead["nats"],
            ahead["low"],
            ahead["high"],
            ahead["nats"] / ahead["labels"],
        ),
        strict=True,
    ):
        assert shown_as(text, np.array([value]))


def test_the_learning_curve_has_the_labels_and_errors_of_each_round(written) -> None:
    page, record = written
    [curve] = record["learning_curves"]["curves"]
    # Round 1 lost one of twelve labels to quarantine.
    assert [point["labels"] for point in curve["points"]] == [0, 11, 23]
    total = [row.errors.force_mae_meV_per_A for row in RESULTS.errors if row.phase == "all"]
    assert [point["errors"][1] for point in curve["points"]] == total
    drawn = page.trace("learning-force", "silicon")
    assert numbers(drawn["x"]).tolist() == [11, 23]
    assert numbers(drawn["y"]).tolist() == total[1:]
    untuned = page.trace("learning-force", "untuned")
    assert numbers(untuned["y"]).tolist() == [total[0], total[0]]


def test_heat_maps_hold_every_state_of_the_tuned_model_and_gaps(written) -> None:
    page, record = written
    [trace] = page.figures["states-force"]["data"]
    rows = [(phase, pressure) for phase in ("diamond", "beta-tin") for pressure in (0.0, 10.0)]
    columns = [None, 300.0, 1000.0]
    expected = {
        (state["phase"], state["pressure_GPa"], state["temperature_K"]): state[
            "force_mae_meV_per_A"
        ]
        for state in record["states"]
        if state["round"] == 2
    }
    assert len(expected) == 11
    for row, values in zip(rows, trace["z"], strict=True):
        for column, value in zip(columns, numbers(values), strict=True):
            known = expected.get((*row, column))
            assert math.isnan(value) if known is None else value == known


def test_core_hours_are_those_of_the_stages(written) -> None:
    page, record = written
    known = {cost["stage"]: cost["core_hours"] for cost in record["stage_costs"]}
    assert known["train"] == pytest.approx(2 * 2 * 163.0 / 3600)
    [table] = page.tables["Time"]
    column = table[0].index("Core hours")
    shown = {row[0]: row[column] for row in table[1:]}
    assert shown_as(shown["train"], np.array([known["train"]]))
    unknown = dataclasses.replace(
        RESULTS,
        stages=(
            dataclasses.replace(RESULTS.stages[0], core_seconds=None),
            *RESULTS.stages[1:],
        ),
    )
    costs = report_numbers(unknown)["stage_costs"]
    assert [cost["core_hours"] is None for cost in costs][:2] == [True, False]
    assert "core hours where the number of cores is known" in Page(render_report(unknown)).visible


def test_the_numbers_of_each_row_of_the_test_set_are_those_of_its_part() -> None:
    page, record = Page(render_report(TESTED)), report_numbers(TESTED)
    parts: dict[tuple[str, str], list[Any]] = {}
    for entry in record["test_errors"]:
        parts.setdefault((entry["phase"], entry["kind"]), []).append(entry)
    [[head, *rows]] = page.tables["Errors on the test set"]
    checked = 0
    for row, (part, entries) in zip(rows, parts.items(), strict=True):
        changes = [
            change
            for change in record["test_comparison"]["changes"]
            if (change["phase"], change["kind"]) == part
        ]
        known = np.array(list(values_in([entries, changes])))
        for title, cell in zip(head, row, strict=True):
            for text in () if title in NAMES_AND_SENTENCES else re.findall(NUMBER, cell):
                assert shown_as(text, known), (row, title, cell)
                checked += 1
    assert checked > 5 * len(rows)


def test_quantities_of_the_suite_are_in_the_record() -> None:
    judged = suite()
    record = report_numbers(dataclasses.replace(RESULTS, suite=judged))
    found = [
        (check["check"], quantity["name"], quantity["value"])
        for check in record["checks"]["checks"]
        for quantity in check["quantities"]
    ]
    expected = [
        (check.check, quantity.name, quantity.value)
        for check in judged.checks
        for quantity in check.quantities
    ]
    assert found == expected
    assert ("phonons", "lowest frequency", -1.5) in found


@pytest.mark.parametrize("results", [EMPTY, hostile_results()], ids=["empty", "hostile"])
def test_a_record_is_strict_json_whatever_is_missing(results: CampaignResults) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    text = json.dumps(report_numbers(results), allow_nan=False)
    assert json.loads(text, parse_constant=refuse)["name"] == results.name


def test_what_is_not_finite_is_null() -> None:
    rows = tuple(
        dataclasses.replace(
            row, errors=dataclasses.replace(row.errors, stress_mae_meV_per_A3=math.nan)
        )
        for row in RESULTS.errors
    )
    record = report_numbers(dataclasses.replace(RESULTS, errors=rows))
    assert {row["stress_mae_meV_per_A3"] for row in record["errors"]} == {None}


def test_a_control_arm_is_drawn_beside_the_campaign(tmp_path: Path) -> None:
    control = dataclasses.replace(silicon_results(rounds=1), name="random MD")
    page = Page(render_report(RESULTS, control=control))
    drawn = page.trace("learning-energy", "random MD")
    assert numbers(drawn["x"]).tolist() == [11]
    assert "random MD (control arm)" in page.visible


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level_of_theory_hash": "other"}, "they differ in level of theory"),
        ({"labels": ()}, "they differ in validation set"),
    ],
)
def test_what_cannot_be_compared_is_no_control_arm(change: dict[str, Any], message: str) -> None:
    from entrove.errors import CampaignError

    control = dataclasses.replace(RESULTS, **change)
    with pytest.raises(CampaignError, match=message):
        render_report(RESULTS, control=control)
