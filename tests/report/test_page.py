"""The page shows the numbers of the results, loads nothing, and works when parts are missing."""

import dataclasses
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from page_reader import Page, numbers
from silicon_results import KINDS, PHASES, silicon_results, with_errors

from entrove.campaign.journal.outcomes import LabelRow
from entrove.campaign.results.results import (
    CampaignResults,
    FingerprintMap,
    MapPoint,
    PicturedStructure,
)
from entrove.errors import CampaignError
from entrove.labelling.kpoint_check import (
    KpointCheckSettings,
    KpointComparison,
    KpointDifference,
)
from entrove.report.page import render_report, write_report
from entrove.report.record import results_record

RESULTS = silicon_results()

EMPTY = CampaignResults(
    folder=Path("campaigns/new"),
    name="new",
    entrove_version="0.1.0",
    finished=False,
    verdict="round 0: relaxing seeds",
    rounds_done=0,
    rounds_planned=2,
    level_of_theory="",
    level_of_theory_hash="",
    foundation_model="7net-0",
    config_yaml="",
)

HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>&amp;{{7*7}}"
)


def hostile_results() -> CampaignResults:
    label = LabelRow(
        "training",
        1,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        0.0,
        None,
        1.0,
        "crashed",
        HOSTILE,
        1.0,
        False,
    )
    return dataclasses.replace(
        RESULTS,
        name=HOSTILE,
        verdict=HOSTILE,
        level_of_theory=HOSTILE,
        level_of_theory_hash=HOSTILE,
        foundation_model=HOSTILE,
        config_yaml=HOSTILE,
        errors=tuple(
            with_errors(row, phase=row.phase.replace("diamond", HOSTILE)) for row in RESULTS.errors
        ),
        labels=(*RESULTS.labels, label),
        stages=tuple(
            dataclasses.replace(row, stage=HOSTILE, summary=HOSTILE) for row in RESULTS.stages[:2]
        ),
        walkers=tuple(
            dataclasses.replace(row, strength=HOSTILE, reasons=HOSTILE)
            for row in RESULTS.walkers[:2]
        ),
        fingerprint_map=FingerprintMap(
            (MapPoint(0.0, 1.0, "seed", HOSTILE, 0, HOSTILE),), (0.5, 0.2)
        ),
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_report(RESULTS))


def test_headline_compares_the_last_model_with_the_untuned_one(page: Page) -> None:
    total = [row for row in RESULTS.errors if row.phase == "all"]
    for first, last in (
        (
            total[0].errors.energy_mae_meV_per_atom,
            total[-1].errors.energy_mae_meV_per_atom,
        ),
        (total[0].errors.force_mae_meV_per_A, total[-1].errors.force_mae_meV_per_A),
    ):
        assert f"{first:.1f}" in page.visible
        assert f"{first / last:.1f} times smaller" in page.visible
    assert RESULTS.verdict in page.visible
    assert "2605.20384" in page.visible
    assert RESULTS.level_of_theory_hash in page.visible
    assert RESULTS.config_yaml in page.visible


def test_error_plots_hold_every_error(page: Page) -> None:
    columns = {
        "energy": "energy_mae_meV_per_atom",
        "force": "force_mae_meV_per_A",
        "stress": "stress_mae_meV_per_A3",
    }
    parts = {("all", "all"): "all structures"}
    parts |= {
        (phase, kind): f"{phase}, {kind.replace('hot_md', 'hot MD')}"
        for phase in PHASES
        for kind in KINDS
    }
    for quantity, column in columns.items():
        for (phase, kind), title in parts.items():
            trace = page.trace(f"{quantity}-per-round", title)
            given = [
                getattr(row.errors, column)
                for row in RESULTS.errors
                if (row.phase, row.kind) == (phase, kind)
            ]
            assert numbers(trace["y"]).tolist() == given
    untuned = page.trace("force-by-part", "untuned")
    given = [row.errors.force_mae_meV_per_A for row in RESULTS.errors if row.round == 0]
    assert numbers(untuned["x"]).tolist() == given


def test_error_tables_hold_every_error(page: Page) -> None:
    [by_round] = page.tables["Errors on the validation set"]
    total = [row for row in RESULTS.errors if row.phase == "all"]
    assert [row[0] for row in by_round[1:]] == ["untuned", "round 1", "round 2"]
    assert [float(row[3]) for row in by_round[1:]] == pytest.approx(
        [row.errors.force_mae_meV_per_A for row in total], abs=0.06
    )
    [by_part] = page.tables["By phase and kind"]
    assert len(by_part) == 1 + 1 + len(PHASES) * len(KINDS)
    [every] = page.tables["Every round, phase and kind"]
    assert len(every) == 1 + len(RESULTS.errors)
    assert [float(row[5]) for row in every[1:]] == pytest.approx(
        [row.errors.energy_mae_meV_per_atom for row in RESULTS.errors], abs=0.06
    )


@pytest.mark.parametrize(("place", "round_index"), [(0, 0), (1, 2)])
def test_parity_plots_hold_every_point_of_its_phase(
    page: Page, place: int, round_index: int
) -> None:
    parity = RESULTS.parity[round_index]
    for quantity, reference, predicted, repeats, scale in (
        (
            "energy",
            parity.reference_energy_eV_per_atom,
            parity.predicted_energy_eV_per_atom,
            1,
            1000.0,
        ),
        ("force", parity.reference_forces_eV_per_A, parity.predicted_forces_eV_per_A, 24, 1000.0),
        ("stress", parity.reference_stress_GPa, parity.predicted_stress_GPa, 6, 1.0),
    ):
        for phase in PHASES:
            members = np.repeat(parity.phases == phase, repeats)
            points = page.trace(f"parity-{quantity}-{place}", phase, 0)
            residuals = page.trace(f"parity-{quantity}-{place}", phase, 1)
            np.testing.assert_array_equal(numbers(points["x"]), reference[members])
            np.testing.assert_array_equal(numbers(points["y"]), predicted[members])
            np.testing.assert_allclose(
                numbers(residuals["y"]), (predicted - reference)[members] * scale, rtol=1e-14
            )


def test_gain_plot_holds_every_gain_once_and_falls_within_a_round(page: Page) -> None:
    bars = sorted(
        (place, gain)
        for trace in page.figures["gain-per-label"]["data"]
        for place, gain in zip(numbers(trace["x"]), numbers(trace["y"]), strict=True)
    )
    assert [place for place, _ in bars] == list(range(1, 25))
    for round_index in (1, 2):
        drawn = [gain for _, gain in bars[12 * (round_index - 1) : 12 * round_index]]
        given = [
            label.gain_nats
            for label in RESULTS.labels
            if label.gain_nats and label.round == round_index
        ]
        assert drawn == sorted(given, reverse=True)
    [table] = page.tables["Information gain of the labels"]
    assert [row[2] for row in table[1:]] == ["61.4", "17.9"]


def test_places_by_pool_are_those_of_the_selection(page: Page) -> None:
    [places] = page.tables["Places by pool"]
    assert [tuple(row) for row in places[1:]] == [
        (
            str(row.round),
            row.pool.replace("entropy_md", "entropy MD"),
            str(row.reserved),
            str(row.picked),
        )
        for row in RESULTS.pools
    ]


def test_map_holds_every_point(page: Page) -> None:
    space = RESULTS.fingerprint_map
    assert space is not None
    drawn = {
        (x, y, trace["name"])
        for trace in page.figures["fingerprint-map"]["data"]
        for x, y in zip(numbers(trace["x"]), numbers(trace["y"]), strict=True)
    }
    assert drawn == {(point.x, point.y, f"{point.group}: {point.phase}") for point in space.points}


def test_structures_are_shown_with_what_they_are():
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    pictured = (
        PicturedStructure(0, "B1", "Na4Cl4, anchors, relaxed, 0 GPa", salt),
        PicturedStructure(2, HOSTILE, HOSTILE, salt[:3]),
    )
    text = render_report(dataclasses.replace(RESULTS, pictured=pictured))
    assert text.count('<svg class="structure"') == 2
    assert text.count("<circle cx=") == len(salt) + 3
    page = Page(text)
    assert "Na4Cl4, anchors, relaxed, 0 GPa" in page.visible
    assert "picks of round 2" in page.visible
    assert HOSTILE not in text
    assert '<svg class="structure"' not in render_report(RESULTS)


def test_labels_and_times_are_listed(page: Page) -> None:
    [costs] = page.tables["Labels"]
    assert [row[:6] for row in costs[1:]] == [
        ["0", "validation", "12", "12", "0", "0"],
        ["1", "training", "12", "11", "1", "0"],
        ["2", "training", "12", "12", "0", "1"],
    ]
    [quarantine] = page.tables["Quarantined"]
    assert len(quarantine) == 2
    assert quarantine[1][1:3] == [
        "not converged",
        next(label.cause for label in RESULTS.labels if label.cause),
    ]
    [totals] = page.tables["Time"]
    assert {row[0]: row[1] for row in totals[1:]}["train"] == "5 min 26 s"
    [stages] = page.tables["What each stage did"]
    assert len(stages) == 1 + len(RESULTS.stages)
    [walkers] = page.tables["Restarts of each walker"]
    assert len(walkers) == 1 + len(RESULTS.walkers)
    assert [row[6] for row in walkers[1:3]] == ["shortest distance", "shortest distance"]


def test_a_cached_label_costs_no_engine_time() -> None:
    labels = tuple(dataclasses.replace(label, engine_seconds=10.0) for label in RESULTS.labels)
    [costs] = Page(render_report(dataclasses.replace(RESULTS, labels=labels))).tables["Labels"]
    assert [row[6] for row in costs[1:]] == ["2 min 00 s", "2 min 00 s", "1 min 50 s"]


def test_recipes_that_were_compared_are_listed_round_by_round(page: Page) -> None:
    [[head, *rows]] = page.tables["Learning rate and strategy"]
    assert [row[:3] for row in rows[:3]] == [
        ["1", "naive", "0.001"],
        ["1", "frozen", "0.003"],
        ["1", "untuned", "-"],
    ]
    assert len(rows) == 6
    assert [row[-1] for row in rows] == ["", "chosen", ""] * 2
    assert rows[1][3] == "0.00240, 0.00330, 0.00220"
    # By hand: differences -0.7, -0.9 and -0.5 thousandths, whose standard deviation is 0.2.
    columns = dict(zip(head, rows[1], strict=True))
    assert columns["Minus the first"] == "-0.00070"
    assert columns["Its standard error"] == "0.00012"
    assert "learning rate 0.003, frozen: chosen by 3 folds of 11 labels" in page.visible
    given = dataclasses.replace(RESULTS, choices={})
    assert "Learning rate and strategy" not in Page(render_report(given)).visible


def test_the_page_loads_nothing_and_holds_plotly_once(page: Page) -> None:
    assert page.loads() == []
    assert "@import" not in page.html
    assert "url(" not in page.html[: page.html.index("<body>")]
    assert page.html.count("plotly.js v") == 1
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_user_strings_are_escaped() -> None:
    page = Page(render_report(hostile_results()))
    kinds = [tag for tag, _ in page.elements]
    plain = [tag for tag, _ in Page(render_report(RESULTS)).elements]
    assert kinds.count("script") == plain.count("script")
    assert kinds.count("img") == 0
    assert HOSTILE in page.visible
    for figure in page.figures.values():
        for trace in figure["data"]:
            texts = [trace.get("name") or "", *(trace.get("text") or [])]
            assert not any("<" in text for text in texts)


@pytest.mark.parametrize("field", ["errors", "labels", "stages", "parity", "walkers"])
def test_any_part_may_be_missing(field: str) -> None:
    page = Page(render_report(dataclasses.replace(RESULTS, **{field: ()})))
    assert any(attrs.get("class") == "missing" for _, attrs in page.elements)


def test_an_empty_campaign_says_what_is_missing() -> None:
    page = Page(render_report(EMPTY))
    assert page.figures == {}
    for words in (
        "Not finished",
        "Not available yet: validation errors",
        "Nothing has been labelled yet",
    ):
        assert words in page.visible


def test_before_the_first_round_only_the_untuned_model_is_shown() -> None:
    results = dataclasses.replace(
        RESULTS,
        finished=False,
        errors=tuple(row for row in RESULTS.errors if row.round == 0),
        parity=RESULTS.parity[:1],
        labels=tuple(label for label in RESULTS.labels if label.purpose == "validation"),
        next_gain_nats={},
        fingerprint_map=None,
    )
    page = Page(render_report(results))
    assert "no tuned model yet" in page.visible
    assert "Only one model has been validated so far" in page.visible
    assert (
        "Not available yet: errors of a tuned model, information gains, the fingerprint map"
        in page.visible
    )


def test_nan_is_shown_as_missing() -> None:
    nan = float("nan")
    results = dataclasses.replace(
        RESULTS,
        errors=tuple(with_errors(row, force_mae_meV_per_A=nan) for row in RESULTS.errors),
        labels=tuple(
            dataclasses.replace(
                label, gain_nats=nan if label.gain_nats else None, engine_seconds=nan
            )
            for label in RESULTS.labels
        ),
        stages=tuple(dataclasses.replace(stage, seconds=nan) for stage in RESULTS.stages),
        parity=tuple(
            dataclasses.replace(
                parity, predicted_forces_eV_per_A=parity.predicted_forces_eV_per_A * nan
            )
            for parity in RESULTS.parity
        ),
        next_gain_nats={1: nan},
    )
    page = Page(render_report(results))
    assert "nan" not in page.visible.lower().split()
    assert numbers(page.trace("energy-per-round", "all structures")["y"]).size == 3
    assert np.isnan(numbers(page.trace("force-per-round", "all structures")["y"])).all()
    assert [
        trace["name"] for trace in page.figures["parity-force-0"]["data"] if "name" in trace
    ] == []


def test_large_parity_sets_stay_light_and_keep_the_largest_errors() -> None:
    results = silicon_results(structures_per_part=200)
    page = Page(render_report(results))
    parity = results.parity[-1]
    errors = np.abs(parity.predicted_forces_eV_per_A - parity.reference_forces_eV_per_A)
    traces = [page.trace("parity-force-1", phase) for phase in PHASES]
    x, y = (np.concatenate([numbers(trace[axis]) for trace in traces]) for axis in "xy")
    assert len(x) == 1500
    assert np.abs(y - x).max() == errors.max()
    assert f"drawn: 1,500 of {len(errors):,} points" in page.visible
    assert f"MAE {1000 * errors.mean():.1f}" in page.visible


def test_the_same_results_give_the_same_file(tmp_path: Path) -> None:
    path = write_report(RESULTS, tmp_path / "report.html")
    first = path.read_bytes()
    assert write_report(silicon_results(), path).read_bytes() == first
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(
        CampaignError, match=r"report\.html: the report cannot be written \(Is a directory\)"
    ):
        write_report(EMPTY, tmp_path / "report.html")
    with pytest.raises(CampaignError, match="No such file or directory"):
        write_report(EMPTY, tmp_path / "missing" / "report.html")
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_long_phase_name_leaves_room_for_the_kind() -> None:
    long = "simple hexagonal high-pressure polymorph"
    results = dataclasses.replace(
        RESULTS,
        errors=tuple(
            with_errors(row, phase=row.phase.replace("diamond", long)) for row in RESULTS.errors
        ),
    )
    ticks = Page(render_report(results)).figures["force-by-part"]["layout"]["yaxis"]["ticktext"]
    assert [tick for tick in ticks if tick.endswith((", strain", ", shear", ", hot MD"))] == ticks[
        1:
    ]
    assert max(map(len, ticks)) <= 26


@pytest.mark.parametrize("beyond", [True, False])
def test_labels_that_denser_kpoints_change_are_said_beside_the_errors(beyond: bool) -> None:
    difference = KpointDifference(
        phase="beta-tin",
        temperature_K=1000.0,
        kpoints=32,
        denser_kpoints=63,
        energy_meV_per_atom=-4.2 if beyond else -1.2,
        force_meV_per_A=17.0,
        stress_meV_per_A3=2.5,
        times_as_long=2.5,
        denser_engine_seconds=25.0,
    )
    found = KpointComparison(settings=KpointCheckSettings(), differences=(difference,))
    results = dataclasses.replace(RESULTS, kpoints=found)
    page = Page(render_report(results))
    listing = f"beta-tin: {'4.2' if beyond else '1.2'} meV/atom, 17 meV/A, 2.5 meV/A^3"
    # Beside the errors, and with the level of theory.
    assert page.visible.count(listing) == 1 + beyond
    assert ("Labels are not converged in their k-points" in page.visible) == beyond
    # They are in the costs, too, with the time that the engine took.
    (cost,) = [c for c in results_record(results)["label_costs"] if c["purpose"] == "k-points"]
    assert (cost["round"], cost["count"], cost["engine_seconds"]) == (0, 1, 25.0)
    assert "k-points" not in {c["purpose"] for c in results_record(RESULTS)["label_costs"]}
    record = results_record(results)["kpoints"]
    assert record["beyond"] == (["beta-tin"] if beyond else [])
    [row] = record["differences"]
    assert row == difference.model_dump()
