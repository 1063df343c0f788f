"""A study whose engine fails for some structures, or for all of a test set or of a point."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from ase.build import bulk

from cheap_campaign import Bench, Labels, make_bench
from entrove.campaign.journal.progress import Silence
from entrove.curves.config import StudyConfig
from entrove.curves.labels import StudyLabels
from entrove.curves.results import StudyResults, read_study
from entrove.curves.study import _Study
from entrove.report.curves.page import render_curves_page
from entrove.sampling.candidates import Candidate
from entrove.structures import content_hash


def cells(first_A: float, count: int) -> list[Candidate]:
    return [
        Candidate(bulk("Cu", a=first_A + 0.01 * k), "anchors", "random", "fcc", 0.0)
        for k in range(count)
    ]


INDEPENDENT = cells(3.3, 3)
PICKS = {
    arm: [cells(first_A + 0.1 * draw, 4) for draw in range(2)]
    for arm, first_A in (("control", 3.5), ("ours", 3.8))
}


def names_of(candidates: list[Candidate]) -> set[str]:
    return {content_hash(candidate.atoms) for candidate in candidates}


@dataclass(frozen=True)
class Study:
    """A study of these picks, whose labels fail for some structures."""

    bench: Bench
    config: StudyConfig

    def run(self, failing: set[str]) -> StudyResults:
        Labels.failing = failing
        folder, campaign = Path(__file__).parent, self.bench.campaign()
        study = _Study(self.config, campaign, folder, self.bench.folder, Silence(), lambda _: None)
        return study.run()

    def labels(self) -> StudyLabels:
        return StudyLabels(self.bench.campaign(), self.bench.folder / "labels")


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    bench = make_bench(tmp_path, monkeypatch)
    monkeypatch.setattr(_Study, "_choose_all", lambda _: (PICKS, INDEPENDENT))
    student = {
        "function": "scaled_student:train",
        "options": {"record": str(tmp_path / "trained.txt")},
    }
    settings = {
        "name": "copper",
        "campaign": "campaign.yaml",
        "counts": [2, 4],
        "draws": 2,
        "arms": {arm: {"exploration": "campaign"} for arm in PICKS},
        "control": "control",
        "students": {"fit": student},
        "tests": {"hold_out": 2},
    }
    return Study(bench, StudyConfig.model_validate(settings))


def test_a_test_set_whose_labels_all_failed_is_left_out(study, caplog):
    results = study.run(names_of(INDEPENDENT))
    assert results.tests() == ["mixture", "hold-out of control", "hold-out of ours"]
    assert results.curve("fit", "ours", "mixture", "all", "energy").counts == (2, 4)
    assert "all 3 labels of the test set 'independent' of draw 0 failed" in caplog.text


def test_a_point_whose_labels_all_failed_is_left_out(study, caplog):
    results = study.run(names_of(PICKS["ours"][0][:2]))
    found = {(point.arm, point.draw, point.labels) for point in results.points}
    everything = {(arm, draw, count) for arm in PICKS for draw in (0, 1) for count in (2, 4)}
    assert everything - found == {("ours", 0, 2)}
    assert results.failed == {"control": 0, "ours": 2}
    assert results.curve("fit", "ours", "independent", "all", "energy").counts == (4,)
    assert "fit: 2 labels of ours, draw 0: all of them failed" in caplog.text


def test_the_cost_of_a_point_has_the_seconds_of_failed_labels(study, tmp_path):
    """They were spent: without them an arm whose labels often fail looks cheap."""
    results = study.run(names_of(PICKS["ours"][0][:2]))
    spent = study.labels()
    spent.compute(PICKS["ours"][0])
    asked = PICKS["ours"][0]
    failed = spent.seconds(asked[:2])
    assert spent.failed(asked) == 2
    assert failed > 0
    (cost,) = {p.engine_s for p in results.points if (p.arm, p.draw, p.labels) == ("ours", 0, 4)}
    assert cost == pytest.approx(failed + spent.seconds(asked[2:]))


def test_a_study_without_any_label_has_no_points_and_says_so(study, tmp_path, caplog):
    everything = [pick for of_arm in PICKS.values() for of_draw in of_arm for pick in of_draw]
    results = study.run(names_of([*INDEPENDENT, *everything]))
    assert results.points == ()
    assert results.failed == {"control": 8, "ours": 8}
    assert read_study(tmp_path / "results.json").failed == results.failed
    assert "control" in render_curves_page(results)
    assert "no test set has labels" not in caplog.text
    assert "fit: 4 labels of control, draw 1: all of them failed" in caplog.text


def test_without_tests_nothing_is_learnt(study, tmp_path, caplog):
    # Draw 0 is tested on the picks of draw 1, and draw 1 learns from them.
    tested = [pick for of_arm in PICKS.values() for pick in of_arm[1]]
    results = study.run(names_of([*INDEPENDENT, *tested]))
    assert results.points == ()
    assert "draw 0: no test set has labels" in caplog.text
    assert not (tmp_path / "trained.txt").exists()
