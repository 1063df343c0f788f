"""A campaign that is stopped, continued, or given more labels uses each computed label once."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from cheap_campaign import SETTINGS, Bench, Labels, Scaled, make_bench
from entrove import provenance
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import (
    Checked,
    Labelled,
    Selected,
    Stage,
    Trained,
    Verified,
)
from entrove.campaign.journal.progress import Silence
from entrove.campaign.loop import explore_only
from entrove.campaign.results.read import read_results
from entrove.campaign.stages import label
from entrove.campaign.stages.relax import read_starts
from entrove.errors import CampaignError
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.listing import release_quarantined
from entrove.models.ase import from_calculator
from entrove.report.status import summary_text
from entrove.report.summary import label_costs
from entrove.structures import content_hash, read_structures
from entrove.training.bundle import read_bundle
from entrove.validation.intervals import structures_for
from entrove.validation.suite.run import CHECKS

VALIDATION, COUNT = 4, 3
"""Labels of the validation set, and of each round."""


@pytest.fixture(scope="module")
def one_round(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished campaign of one round."""
    with pytest.MonkeyPatch.context() as patch:
        bench = make_bench(tmp_path_factory.mktemp("one round"), patch)
        bench.run(stopping={"rounds": 1})
        yield bench.folder


@pytest.fixture
def finished(one_round: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A copy of it, to be continued."""
    shutil.copytree(one_round, tmp_path / "copy")
    return make_bench(tmp_path / "copy", monkeypatch)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path / "fresh", monkeypatch)


def stop_when(reached):
    """A callback that raises KeyboardInterrupt once, when `reached(value)`."""
    stopped = []

    def stop(value) -> None:
        if not stopped and reached(value):
            stopped.append(value)
            raise KeyboardInterrupt

    return stop


class Watch(Silence):
    """Records which stages were resumed, and passes the progress to a callback."""

    def __init__(self, on_progress) -> None:
        self.events: list[tuple] = []
        self.stage = ""
        self.on_progress = on_progress

    def stage_started(
        self, round_index: int, stage: str, description: str, total: int | None, unit: str
    ) -> None:
        self.stage = stage

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        self.on_progress((self.stage, done))

    def resumed(self, done: int) -> None:
        self.events.append((self.stage, "resumed", done))


def misbehave_at(bench: Bench, numbers: dict[int, str]) -> None:
    """Let the attempts with these numbers fail, or shift their energy by 1 eV/atom."""

    def on_attempt(structure_hash: str) -> None:
        match numbers.get(len(bench.computed)):
            case "fail":
                Labels.failing.add(structure_hash)
            case "off":
                Labels.shifts_eV[structure_hash] = 4.0

    bench.on_attempt = on_attempt


def release(bench: Bench) -> int:
    Labels.failing.clear()
    with LabelCache(bench.files.label_cache) as cache:
        return len(release_quarantined(bench.files.label_work, cache))


def model_of(bench: Bench) -> Path:
    """The model in the bundle: its scale, in a text file."""
    return bench.files.bundle / read_bundle(bench.files.bundle).weights[0].file


def checked_files(bench: Bench) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in bench.files.checks.glob("*.json")}


def computed_once(bench: Bench) -> bool:
    return len(set(bench.computed)) == len(bench.computed)


# A campaign that is killed and resumed equals one that was not, also when its budget is spent.


@pytest.mark.parametrize("when", ["labelling", "training"])
def test_a_budget_that_was_spent_when_it_was_stopped_is_used(finished: Bench, when):
    budget = {"rounds": 9, "labels": 2 * COUNT}
    listener = Watch(stop_when(lambda event: when == "labelling" and event == ("label", 1)))
    if when == "training":
        finished.on_train = stop_when(lambda labels: labels == 2 * COUNT)
    with pytest.raises(KeyboardInterrupt):
        finished.run(listener, stopping=budget)
    assert (2, "train") not in finished.stages()
    finished.run(listener, stopping=budget)
    assert listener.events == ([("label", "resumed", 1)] if when == "labelling" else [])
    assert finished.trained_on == [2 * COUNT]
    assert (
        "the budget of 6 training labels is spent; the model is that of round 2"
        in finished.verdict()
    )
    assert len(finished.dataset()) == 2 * COUNT
    assert computed_once(finished)


@pytest.mark.parametrize(
    "length", [{"chunks": 2}, {"chunks": 1, "independent_per_label": 100.0, "largest_chunks": 2}]
)
def test_an_exploration_that_was_stopped_continues_after_its_last_chunk(
    tmp_path, monkeypatch, length
):
    chunks = {"sampling": SETTINGS["sampling"] | length, "stopping": {"rounds": 1}}
    whole = make_bench(tmp_path / "whole", monkeypatch)
    whole.run(**chunks)
    stopped = make_bench(tmp_path / "stopped", monkeypatch)
    listener = Watch(stop_when(lambda event: event == ("explore", 13)))
    with pytest.raises(KeyboardInterrupt):
        stopped.run(listener, **chunks)
    stopped.run(listener, **chunks)
    assert ("explore", "resumed", 8) in listener.events
    for name in ("round-01/candidates.xyz", "dataset.xyz"):
        expected, resumed = (
            [content_hash(atoms) for atoms in read_structures(bench.files.folder / name)]
            for bench in (whole, stopped)
        )
        assert resumed == expected


# A finished campaign continues when the stopping conditions allow it.


def test_more_labels_continue_a_campaign_whose_budget_was_spent(fresh: Bench):
    fresh.run(stopping={"rounds": 9, "labels": COUNT})
    assert "the budget of 3 training labels is spent" in fresh.verdict()
    # Nothing is computed for labels beyond the budget.
    assert (2, "explore") not in fresh.stages()
    fresh.run(stopping={"rounds": 9, "labels": COUNT + 1})
    assert (
        "the budget of 4 training labels is spent; the model is that of round 2" in fresh.verdict()
    )
    assert fresh.trained_on == [COUNT, COUNT + 1]
    assert read_bundle(fresh.files.bundle).training_labels == COUNT + 1


def test_a_selection_that_an_earlier_version_left_empty_is_made_again(finished: Bench):
    finished.run(stopping={"rounds": 9, "least_gain_nats": 1e9})
    ledger = Ledger(finished.files.ledger)
    ledger.forget([(2, Stage.SELECT), (2, Stage.FINISH)])
    ledger.enter(2, Selected(summary="nothing to pick", picked=0, gain_nats=0.0), 0.1)
    finished.run(stopping={"rounds": 2})
    assert finished.trained_on == [2 * COUNT]


def test_a_campaign_that_learnt_too_little_continues_with_a_lower_threshold(finished: Bench):
    finished.run(stopping={"rounds": 9, "least_gain_nats": 1e9})
    assert "less than least_gain_nats" in finished.verdict()
    assert read_results(finished.files.folder).finished
    finished.on_train = stop_when(lambda _: True)
    with pytest.raises(KeyboardInterrupt):
        finished.run(stopping={"rounds": 2})
    assert not read_results(finished.files.folder).finished
    finished.run(stopping={"rounds": 2})
    assert finished.verdict() == "all 2 rounds are done; the model is that of round 2"
    assert read_bundle(finished.files.bundle).training_labels == 2 * COUNT


def test_stricter_stopping_conditions_do_not_waste_labels_that_are_computed(finished: Bench):
    finished.on_train = stop_when(lambda _: True)
    with pytest.raises(KeyboardInterrupt):
        finished.run(stopping={"rounds": 3})
    finished.run(stopping={"rounds": 1, "labels": COUNT})
    assert "the model is that of round 2" in finished.verdict()
    assert finished.trained_on == [2 * COUNT]


def test_a_refused_change_leaves_what_is_finished(finished: Bench):
    before = finished.stages()
    with pytest.raises(CampaignError, match="started with another configuration"):
        finished.run(validation={"tolerated_worsening": 0.1}, regime={"pressures_GPa": [0, 5]})
    assert finished.stages() == before


def test_labels_that_fail_again_do_not_stop_a_campaign_with_other_settings(fresh: Bench):
    """The labels are those of the training before, and the settings are not."""
    misbehave_at(fresh, {VALIDATION + 1: "fail"})
    fresh.run(stopping={"rounds": 1})
    assert fresh.trained_on == [COUNT - 1]
    with LabelCache(fresh.files.label_cache) as cache:
        assert release_quarantined(fresh.files.label_work, cache)
    fresh.run(stopping={"rounds": 1}, training={"epochs": 2})
    assert fresh.trained_on == [COUNT - 1] * 2
    assert read_bundle(fresh.files.bundle).training_settings["epochs"] == 2


# The best accepted model is the one that is kept.


def test_a_bundle_has_the_settings_that_its_model_was_trained_with(fresh: Bench):
    """Those of a later round may be others, and its model worse."""
    fresh.scales, fresh.member_scales = {1: 0.99, 2: 0.9}, (0.01,)
    fresh.run(stopping={"rounds": 1}, training={"epochs": 3, "committee_size": 2})
    fresh.run(stopping={"rounds": 2}, training={"epochs": 5, "committee_size": 2})
    assert "the model is that of round 1" in fresh.verdict()
    settings = read_bundle(fresh.files.bundle).training_settings
    assert (settings["epochs"], settings["committee_size"]) == (3, 2)


def test_no_bundle_is_left_of_a_model_that_is_no_longer_accepted(fresh: Bench):
    fresh.run(stopping={"rounds": 1})
    assert fresh.files.bundle.is_dir()
    weights = fresh.files.round(1).training / "member-0" / "model.pth"
    weights.write_text("0.5")  # worse than untuned
    fresh.run(stopping={"rounds": 1}, validation={"tolerated_worsening": 0.1})
    assert "so there is no model bundle" in fresh.verdict()
    assert not fresh.files.bundle.exists()


def test_models_are_judged_again_also_where_an_exploration_took_other_settings(fresh: Bench):
    fresh.run(stopping={"rounds": 1})
    changed = {"stopping": {"rounds": 1}, "validation": {"tolerated_worsening": 0.1}}
    weights = fresh.files.round(1).training / "member-0" / "model.pth"
    weights.write_text("0.5")  # worse than untuned
    explore_only(fresh.campaign(**changed), Silence())
    fresh.run(**changed)
    assert "so there is no model bundle" in fresh.verdict()


def test_a_later_model_that_is_worse_does_not_replace_a_better_one(fresh: Bench):
    fresh.scales = {1: 0.99, 2: 0.9}  # the untuned one: 0.8
    fresh.run(stopping={"rounds": 2})
    assert fresh.verdict() == (
        "all 2 rounds are done; the model is that of round 1, better on the validation set than "
        "that of round 2"
    )
    assert read_bundle(fresh.files.bundle).training_labels == COUNT
    summaries = {
        (record.round, record.stage): record.summary
        for record in Ledger(fresh.files.ledger).records()
    }
    assert summaries[2, Stage.VALIDATE].endswith(", but the model of round 1 stays the best")
    assert read_results(fresh.files.folder).best_round == 1


def remove(bundle: Path) -> None:
    shutil.rmtree(bundle)


def damage_record(bundle: Path) -> None:
    (bundle / "bundle.json").write_text('{"version": 2, ')


def damage_weights(bundle: Path) -> None:
    next((bundle / "weights").iterdir()).write_text("0.5")


@pytest.mark.parametrize("harm", [remove, damage_record, damage_weights])
def test_a_bundle_that_is_gone_or_damaged_is_written_again(finished: Bench, harm):
    """As it was, and without labels, trainings or checks."""
    before = read_bundle(finished.files.bundle)
    verdict, stages = finished.verdict(), finished.stages()
    harm(finished.files.bundle)
    finished.run(stopping={"rounds": 1})
    after = read_bundle(finished.files.bundle)
    assert after.model_copy(update={"created_utc": before.created_utc}) == before
    assert (finished.verdict(), finished.stages()) == (verdict, stages)
    assert (finished.computed, finished.trained_on) == ([], [])


def test_a_bundle_that_is_whole_is_left_alone(finished: Bench):
    before = (finished.files.bundle / "bundle.json").stat().st_mtime_ns
    finished.run(stopping={"rounds": 1})
    assert (finished.files.bundle / "bundle.json").stat().st_mtime_ns == before


# What changes between two runs.


def test_the_next_round_takes_new_temperatures_counts_and_epochs(finished: Bench):
    """Files of the rounds before stay as they are, and no label is computed again."""
    first = finished.files.round(1)
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    finished.run(
        stopping={"rounds": 2},
        regime={"temperatures_K": [450]},
        selection={"count": 2, "phase_share": 0.5},
        training={"epochs": 4},
    )
    assert {path: path.read_bytes() for path in before} == before
    new = read_structures(finished.files.round(2).candidates)
    assert {atoms.info["entrove_temperature_K"] for atoms in new} == {450}
    old = read_structures(first.candidates)
    assert {atoms.info["entrove_temperature_K"] for atoms in old} == {900}
    assert len(finished.computed) == 2
    assert len(finished.dataset()) == COUNT + 2
    job = json.loads((finished.files.round(2).training / "member-0" / "job.json").read_text())
    assert job["config"]["epochs"] == 4


def test_an_interrupted_training_is_not_continued_with_other_settings(finished: Bench):
    """With the old settings it goes on; with new ones only once its folder is removed."""

    def stop(labels: int) -> None:
        raise KeyboardInterrupt

    finished.on_train = stop
    with pytest.raises(KeyboardInterrupt):
        finished.run(stopping={"rounds": 2})
    finished.on_train = lambda labels: None
    with pytest.raises(CampaignError, match=r"'train' was interrupted.*epochs: 1 before, 4 now"):
        finished.run(stopping={"rounds": 2}, training={"epochs": 4})
    shutil.rmtree(finished.files.round(2).training)
    finished.run(stopping={"rounds": 2}, training={"epochs": 4})
    assert finished.trained_on == [2 * COUNT]


# Quarantine, release, and labels that turn out to be outliers.


def test_a_training_that_has_ended_is_not_taken_for_an_interrupted_one(fresh: Bench):
    """Released labels reopen its round, which is stopped before it trains again."""
    misbehave_at(fresh, {VALIDATION: "fail"})
    fresh.run(stopping={"rounds": 1})
    release(fresh)
    fresh.on_attempt = stop_when(lambda _: True)
    with pytest.raises(KeyboardInterrupt):
        fresh.run(stopping={"rounds": 1})
    assert Ledger(fresh.files.ledger).find(1, Trained) is None
    fresh.on_attempt = lambda _: None
    fresh.run(stopping={"rounds": 1}, training={"epochs": 2})
    assert fresh.trained_on == [COUNT - 1, COUNT]
    last = fresh.files.round(1).last_training
    assert last is not None
    assert json.loads((last / "member-0" / "job.json").read_text())["config"]["epochs"] == 2


def test_released_labels_are_tried_at_the_next_run_of_a_finished_campaign(fresh: Bench):
    misbehave_at(fresh, {0: "fail", VALIDATION: "fail"})
    fresh.run(stopping={"rounds": 1})
    assert (len(read_structures(fresh.files.validation)), len(fresh.dataset())) == (
        VALIDATION - 1,
        COUNT - 1,
    )
    fresh.run(stopping={"rounds": 1})
    assert fresh.trained_on == [COUNT - 1]  # quarantined labels are not tried again

    before = list(fresh.computed)
    assert release(fresh) == 2
    fresh.on_train = stop_when(lambda labels: labels == COUNT)
    with pytest.raises(KeyboardInterrupt):
        fresh.run(stopping={"rounds": 1})
    fresh.run(stopping={"rounds": 1})
    assert (len(read_structures(fresh.files.validation)), len(fresh.dataset())) == (
        VALIDATION,
        COUNT,
    )
    assert fresh.trained_on == [COUNT - 1, COUNT]
    assert sorted(fresh.computed[len(before) :]) == sorted([before[0], before[VALIDATION]])
    assert read_bundle(fresh.files.bundle).training_labels == COUNT
    results = read_results(fresh.files.folder)
    assert {
        row.structures for row in results.errors if (row.phase, row.kind) == ("all", "all")
    } == {VALIDATION}
    assert [row.outcome for row in results.labels] == ["converged"] * (VALIDATION + COUNT)


def test_a_model_that_is_tuned_again_in_its_round_is_judged_again(fresh: Bench):
    """The model of the round is another one then: its checks are its own, and the test set has
    been seen. The round after it, which ended before any label, has entered the checks."""
    only = {check.name: {"enabled": check.name == "elastic"} for check in CHECKS}
    settings = {
        "stopping": {"rounds": 9, "least_gain_nats": 1e9},
        "suite": {"enabled": True, **only},
        "sampling": SETTINGS["sampling"] | {"hold_out": {"interval": 0.5, "test": True}},
    }

    def checked() -> Checked:
        [found] = Ledger(fresh.files.ledger).each(Checked).values()
        return found

    def stiffness() -> float:
        [elastic] = checked().suite.checks
        return elastic.quantities[0].value

    held_out = 2 * structures_for(0.5)
    misbehave_at(fresh, {held_out: "fail"})
    fresh.run(**settings)
    assert {(2, Stage.SELECT), (2, Stage.CHECK), (2, Stage.FINISH)} <= fresh.stages()
    first, scale = stiffness(), float((model_of(fresh)).read_text())
    assert "used before" not in fresh.verdict()
    release(fresh)
    fresh.run(**settings)
    again = float(model_of(fresh).read_text())
    assert fresh.trained_on == [COUNT - 1, COUNT]
    assert scale != again
    # As stiff as the scale says, but for the tolerance of the relaxation.
    assert stiffness() / first == pytest.approx(again / scale, abs=1e-3)
    assert "(used before, for the model of round 1)" in fresh.verdict()
    # What is only written again is no further use: the same model has been seen once.
    Ledger(fresh.files.ledger).forget([(2, Stage.FINISH), (2, Stage.CHECK)])
    before = checked_files(fresh)
    fresh.run(**settings)
    assert checked_files(fresh) == before
    assert fresh.verdict().count("round 1)") == 1


def test_a_released_label_belongs_to_the_trajectory_that_it_is_a_snapshot_of(fresh: Bench):
    """Or one trajectory would be divided between members of a committee, and between folds."""
    second_round = range(VALIDATION + COUNT + 1, VALIDATION + 2 * COUNT)  # but for its anchor
    misbehave_at(fresh, dict.fromkeys(second_round, "fail"))
    fresh.run(stopping={"rounds": 3})
    assert release(fresh) == len(second_round)
    fresh.run(stopping={"rounds": 3})
    late = [
        atoms
        for atoms in read_structures(fresh.files.dataset)
        if provenance.EXPLORED_IN in atoms.info
    ]
    assert len(late) == len(second_round)
    for atoms in late:
        assert (atoms.info[provenance.ROUND], atoms.info[provenance.EXPLORED_IN]) == (3, 2)
        in_time = atoms.copy()
        del in_time.info[provenance.EXPLORED_IN]
        in_time.info[provenance.ROUND] = 2
        assert provenance.trajectory_of(atoms) == provenance.trajectory_of(in_time)
        # Another round's walker of this number is another trajectory.
        del atoms.info[provenance.EXPLORED_IN]
        assert provenance.trajectory_of(atoms) != provenance.trajectory_of(in_time)


def test_released_labels_of_the_validation_set_are_in_the_checks(fresh: Bench):
    only = {check.name: {"enabled": check.name == "errors"} for check in CHECKS}
    settings = {"stopping": {"rounds": 1}, "suite": {"enabled": True, **only}}

    def structures() -> object:
        [found] = Ledger(fresh.files.ledger).each(Checked).values()
        return found.suite.checks[0].tables[0].rows[0][2]

    misbehave_at(fresh, {0: "fail"})
    fresh.run(**settings)
    assert structures() == VALIDATION - 1
    release(fresh)
    fresh.run(**settings)
    assert structures() == VALIDATION


def test_released_labels_go_into_the_next_round_where_there_is_one(fresh: Bench):
    misbehave_at(fresh, {VALIDATION: "fail"})
    fresh.run(stopping={"rounds": 1})
    release(fresh)
    # Stopped when all is labelled but not entered in the ledger: the release is not forgotten.
    fresh.on_attempt = stop_when(lambda _: len(fresh.computed) == VALIDATION + 2 * COUNT)
    with pytest.raises(KeyboardInterrupt):
        fresh.run(stopping={"rounds": 2})
    fresh.run(stopping={"rounds": 2})
    assert fresh.trained_on == [COUNT - 1, 2 * COUNT]
    assert len(set(fresh.dataset())) == 2 * COUNT
    assert computed_once(fresh) is False  # the released label was computed twice,
    assert len(fresh.computed) == VALIDATION + 2 * COUNT + 1  # and no other


def test_with_another_cache_no_label_is_computed_or_learnt_twice(finished: Bench, tmp_path):
    with LabelCache(finished.files.label_cache) as cache:
        known = {state.structure_hash for state in cache.states()}
    other = {"cache": str(tmp_path / "other.sqlite"), "keep_folders": "failed"}
    finished.run(stopping={"rounds": 2}, labelling=other)
    # The new settings keep the folders of failed labels only.
    folders = {path.parent.name for path in finished.files.label_work.glob("*/*/attempt-1")}
    assert folders == known
    dataset = finished.dataset()
    assert len(dataset) == len(set(dataset)) == 2 * COUNT
    assert known.isdisjoint(finished.computed)
    with LabelCache(tmp_path / "other.sqlite") as cache:
        assert {state.structure_hash for state in cache.states()} == known | set(finished.computed)


def test_labels_of_another_campaign_are_found_and_not_computed_again(tmp_path, monkeypatch):
    shared = {"labelling": {"cache": str(tmp_path / "shared.sqlite")}, "stopping": {"rounds": 1}}
    first = make_bench(tmp_path / "first", monkeypatch)
    first.run(**shared)
    with sqlite3.connect(tmp_path / "shared.sqlite") as connection:  # make the labels older
        connection.execute("UPDATE labels SET started_utc = '2020-01-01T00:00:00+00:00'")
    connection.close()
    second = make_bench(tmp_path / "second", monkeypatch)
    second.run(**shared)
    assert (len(first.computed), second.computed) == (VALIDATION + COUNT, [])
    assert second.dataset() == first.dataset()
    assert {row.from_cache for row in read_results(second.files.folder).labels} == {True}
    rows = label_costs(read_results(second.files.folder).labels)
    assert [(row.from_cache, row.engine_seconds) for row in rows] == [
        (VALIDATION, 0.0),
        (COUNT, 0.0),
    ]


@pytest.mark.parametrize(("min_labels", "kept"), [(VALIDATION + COUNT, COUNT - 1), (100, COUNT)])
def test_outliers_are_rejected_by_the_configured_limits(fresh: Bench, min_labels, kept):
    misbehave_at(fresh, {VALIDATION: "off"})
    fresh.run(stopping={"rounds": 1}, labelling={"outliers": {"min_labels": min_labels}})
    assert len(fresh.dataset()) == kept
    [row] = [
        row
        for row in read_results(fresh.files.folder).labels
        if row.structure_hash == fresh.computed[VALIDATION]
    ]
    assert row.outcome == ("converged" if kept == COUNT else "rejected")


# A round whose labels all fail stops nothing.


def test_a_round_whose_labels_all_fail_is_followed_by_the_next_one(fresh: Bench):
    start = VALIDATION + COUNT
    misbehave_at(fresh, dict.fromkeys(range(start, start + COUNT), "fail"))
    fresh.run(stopping={"rounds": 3, "least_improvement": 0.01})
    labelled = Ledger(fresh.files.ledger).find(2, Labelled)
    assert labelled is not None
    assert labelled.summary.startswith(
        "none of the 3 structures could be labelled, all of them are in quarantine ("
    )
    assert "fails on purpose" in labelled.summary
    assert (3, "validate") in fresh.stages()
    assert fresh.trained_on == [COUNT, COUNT, 2 * COUNT]
    assert fresh.files.bundle.is_dir()


def test_two_rounds_without_a_label_end_a_campaign_until_they_are_released(fresh: Bench):
    broken = True

    def on_attempt(structure_hash: str) -> None:
        if broken and len(fresh.computed) >= VALIDATION + COUNT:
            Labels.failing.add(structure_hash)

    fresh.on_attempt = on_attempt
    for _ in range(2):  # nothing is computed a second time
        fresh.run(stopping={"rounds": 9})
        assert "no structure that rounds 2 and 3 picked could be labelled" in fresh.verdict()
        assert "; the model is that of round" in fresh.verdict()
        assert len(fresh.computed) == VALIDATION + 3 * COUNT
    assert fresh.files.bundle.is_dir()
    broken = False
    assert release(fresh) == 2 * COUNT
    fresh.run(stopping={"rounds": 4})
    assert "all 4 rounds are done" in fresh.verdict()
    assert fresh.trained_on[-2] == 3 * COUNT < fresh.trained_on[-1]


def test_a_first_round_whose_labels_all_fail_stops_the_campaign(fresh: Bench):
    """There is nothing to train on."""
    misbehave_at(fresh, dict.fromkeys(range(VALIDATION, VALIDATION + COUNT), "fail"))
    with pytest.raises(CampaignError, match=r"none of the 3 picked structures could be labelled"):
        fresh.run(stopping={"rounds": 2})
    assert not fresh.trained_on


def test_labels_that_were_too_few_for_the_outlier_test_are_tested_later(fresh: Bench):
    misbehave_at(fresh, {0: "off", VALIDATION: "off"})
    limits = {"outliers": {"min_labels": VALIDATION + 2 * COUNT}}
    fresh.run(stopping={"rounds": 1}, labelling=limits)
    assert len(fresh.dataset()) == COUNT
    fresh.run(stopping={"rounds": 2}, labelling=limits)
    wrong = fresh.computed[VALIDATION]
    assert wrong not in fresh.dataset()
    assert fresh.trained_on == [COUNT, 2 * COUNT - 1]
    # The validation set stays as it is, so that errors can be compared; the summary warns of it.
    assert len(read_structures(fresh.files.validation)) == VALIDATION
    labelled = Ledger(fresh.files.ledger).find(2, Labelled)
    assert labelled is not None
    summary = labelled.summary
    assert f"of earlier rounds withdrawn: {wrong[:10]} (the energy is +1 eV/atom away" in summary
    assert f"warning: doubtful in the validation set: {fresh.computed[0][:10]} (" in summary
    outcomes = {row.structure_hash: row.outcome for row in read_results(fresh.files.folder).labels}
    assert outcomes[wrong] == "rejected"
    assert content_hash(read_structures(fresh.files.validation)[0]) in outcomes


@pytest.mark.parametrize("killed", [True, False])
def test_a_withdrawn_label_is_known_when_its_round_is_labelled_again(
    fresh: Bench, monkeypatch: pytest.MonkeyPatch, killed: bool
):
    """After a kill between the dataset and the ledger, or where other labels reopen the round."""
    misbehave_at(fresh, {VALIDATION: "off"})
    limits = {"outliers": {"min_labels": VALIDATION + 2 * COUNT}}
    fresh.run(stopping={"rounds": 1}, labelling=limits)
    wrong = fresh.computed[VALIDATION]
    assert wrong in fresh.dataset()
    write = label.write_structures

    def write_and_die(path: Path, structures: list[Atoms]) -> None:
        write(path, structures)
        if killed and path == fresh.files.dataset:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(label, "write_structures", write_and_die)
        with pytest.raises(KeyboardInterrupt) if killed else nullcontext():
            fresh.run(stopping={"rounds": 2}, labelling=limits)
    assert wrong not in fresh.dataset()
    Ledger(fresh.files.ledger).forget([(2, Stage.LABEL), (2, Stage.TRAIN), (2, Stage.VALIDATE)])
    fresh.run(stopping={"rounds": 2}, labelling=limits)
    labelled = Ledger(fresh.files.ledger).find(2, Labelled)
    assert labelled is not None
    assert set(labelled.withdrawn) == {wrong}
    assert f"of earlier rounds withdrawn: {wrong[:10]} (the energy is" in labelled.summary
    training = [
        row for row in read_results(fresh.files.folder).labels if row.purpose == "training"
    ]
    good = {row.structure_hash for row in training if row.outcome == "converged"}
    assert good == set(fresh.dataset())


def test_labels_are_shown_when_all_of_them_have_failed(fresh: Bench):
    """The stage that labels has not finished then, so that no ledger has its labels."""
    fresh.on_attempt = Labels.failing.add
    with pytest.raises(CampaignError, match=r"none of the \d+ validation structures"):
        fresh.run()
    results = read_results(fresh.files.folder)
    asked = {content_hash(atoms) for atoms in read_structures(fresh.files.round(0).hold_out)}
    assert {row.structure_hash for row in results.labels} == asked
    assert {(row.purpose, row.outcome) for row in results.labels} == {("validation", "crashed")}
    text = summary_text(results, 200)
    assert "Quarantined labels" in text
    assert "fails on purpose" in text
    # Afterwards the ledger has them, once.
    Labels.failing.clear()
    fresh.on_attempt = lambda _: None
    release(fresh)
    fresh.run(stopping={"rounds": 1})
    rows = [row for row in read_results(fresh.files.folder).labels if row.purpose == "validation"]
    assert len(rows) == len(asked)
    assert {row.outcome for row in rows} == {"converged"}


class Heard(Silence):
    """Keeps what each stage says at its end."""

    def __init__(self) -> None:
        self.said: dict[tuple[int, str], str] = {}

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        self.said[round_index, stage] = summary


@pytest.mark.parametrize("kind", ["information", "labels"])
def test_walkers_without_snapshots_leave_a_campaign_the_anchors(fresh: Bench, kind: str):
    """It labels all of them, and ends when none is left."""
    heard = Heard()
    guards = {"largest_force_eV_per_A": 1e-6}
    fresh.run(heard, sampling={"guards": guards}, entropy={"kind": kind}, stopping={"rounds": 9})
    explored = heard.said[1, "explore"]
    assert explored.startswith("0 snapshots of 1 walkers")
    assert re.search(r"warning: no snapshots, .*\d+ x the force on an atom is too", explored)
    assert fresh.files.round(1).candidates.read_text() == ""
    anchors = read_structures(fresh.files.round(0).anchors)
    assert 0 < len(fresh.dataset()) <= len(anchors)
    assert set(fresh.dataset()) <= {content_hash(atoms) for atoms in anchors}
    assert fresh.verdict().startswith("no candidate is left that is new to the dataset")


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_text("")])
def test_candidates_that_were_found_and_lost_are_missed(
    fresh: Bench, lose: Callable[[Path], object]
):
    """Only an exploration without snapshots leaves an empty file."""
    explore_only(fresh.campaign(), Silence())
    lose(fresh.files.round(1).candidates)
    with pytest.raises(CampaignError, match=r"candidates.xyz: missing or empty"):
        fresh.run()


# Models that are judged again may change which of them explores in an interrupted round.

THREE_ROUNDS = {
    "sampling": SETTINGS["sampling"] | {"chunks": 2},
    "stopping": {"rounds": 3},
}
STRICT, LENIENT = {}, {"negligible_energy_meV_per_atom": 1000.0}
"""With the former a model whose zero of energy is 0.01 eV/atom off is refused."""


class Offset(Scaled):
    """A tuned model with good forces and stresses whose zero of energy is off."""

    def calculate(self, *arguments, **keywords) -> None:
        super().calculate(*arguments, **keywords)
        for name in ("energy", "free_energy"):
            self.results[name] += 0.01 * len(self.atoms)


def load_with_offset_in(round_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tuned models, that of this round has its zero of energy off."""

    def load(path: str, **_):
        kind = Offset if round_name in path else Scaled
        return from_calculator(kind(float(Path(path).read_text())), name=path)

    monkeypatch.setattr("entrove.campaign.stages.models.load", load)


def stop_in_round(number: int, stage: str, steps: int) -> Watch:
    """Interrupt a stage of a round after so many steps; 0: when it starts."""
    ledger_rounds = []

    class Stop(Watch):
        def stage_started(self, round_index, stage_name, *others) -> None:
            super().stage_started(round_index, stage_name, *others)
            ledger_rounds.append(round_index)
            if (round_index, stage_name, steps) == (number, stage, 0):
                raise KeyboardInterrupt

    def on_progress(at) -> None:
        if ledger_rounds[-1] == number and at[0] == stage and steps and at[1] >= steps:
            raise KeyboardInterrupt

    return Stop(on_progress)


def tuned_in(bench: Bench, round_index: int) -> int | None:
    found = Ledger(bench.files.ledger).find(round_index, Verified)
    return None if found is None else found.tuned_in


def judged_again(
    folder: Path, offset_in: str, scales: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> Bench:
    bench = make_bench(folder, monkeypatch)
    load_with_offset_in(offset_in, monkeypatch)
    bench.scales = scales
    return bench


@pytest.mark.parametrize("steps", [0, 12])
@pytest.mark.parametrize(("before", "after"), [(STRICT, LENIENT), (LENIENT, STRICT)])
def test_a_round_explores_anew_where_another_model_is_the_best(
    before, after, steps, tmp_path, monkeypatch
):
    """As in a campaign whose models were judged so from the start."""
    scales = {1: 0.95, 2: 0.99, 3: 0.99}
    expected = judged_again(tmp_path / "expected", "round-02", scales, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        expected.run(stop_in_round(3, "select", 0), validation=after, **THREE_ROUNDS)
    changed = judged_again(tmp_path / "changed", "round-02", scales, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        changed.run(stop_in_round(3, "explore", steps), validation=before, **THREE_ROUNDS)
    assert tuned_in(changed, 3) != tuned_in(expected, 3)
    assert changed.files.round(3).walkers.exists() == bool(steps)
    assert "begins anew" not in changed.files.log.read_text()
    again = stop_in_round(3, "select", 0)
    with pytest.raises(KeyboardInterrupt):
        changed.run(again, validation=after, **THREE_ROUNDS)
    assert not again.events
    assert tuned_in(changed, 3) == tuned_in(expected, 3)
    for name in ("relaxed", "candidates"):
        files = [getattr(bench.files.round(3), name) for bench in (changed, expected)]
        assert len({file.exists() and file.read_bytes() for file in files}) == 1, name
    says = "round 3 begins anew" in changed.files.log.read_text()
    assert says == bool(steps or after == STRICT)


def test_a_round_explores_anew_with_the_untuned_model_where_no_other_is_left(
    tmp_path, monkeypatch
):
    scales = {1: 0.99, 2: 0.5, 3: 0.99}
    bench = judged_again(tmp_path / "none", "round-01", scales, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        bench.run(stop_in_round(3, "explore", 12), validation=LENIENT, **THREE_ROUNDS)
    assert (tuned_in(bench, 2), tuned_in(bench, 3)) == (1, None)
    with pytest.raises(KeyboardInterrupt):
        bench.run(stop_in_round(3, "select", 0), validation=STRICT, **THREE_ROUNDS)
    assert tuned_in(bench, 3) == 0
    [first], [third] = read_starts(bench.files, 0), read_starts(bench.files, 3)
    assert bench.files.round(3).relaxed.exists()
    np.testing.assert_allclose(third.atoms.cell, first.atoms.cell, atol=1e-6)
