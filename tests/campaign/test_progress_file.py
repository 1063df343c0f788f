"""How far a running campaign is can be read by another process, also after an interruption."""

import shlex
from pathlib import Path

import pytest

from cheap_campaign import Labels, make_bench
from entrove.campaign.journal.progress import Recorded, Silence, read_progress
from entrove.campaign.results.read import read_results
from entrove.errors import CampaignError
from entrove.report.status import summary_text


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_file_has_the_last_report_and_is_gone_at_the_end(tmp_path: Path):
    path, clock = tmp_path / "progress.json", Clock()
    progress = Recorded(Silence(), path, clock)
    progress.stage_started(2, "explore", "MD", 1100, "steps")
    clock.now = 1.0
    progress.advanced(10)  # too soon after the start to be written
    assert read_progress(path).describe() == "round 2, explore"
    progress.advanced(1100)  # the last report of a stage is, though
    assert read_progress(path).describe() == "round 2, explore: 1100 of 1100 steps"
    clock.now = 60.0
    progress.advanced(300, note="1 restart")
    assert read_progress(path).describe() == "round 2, explore: 300 of 1100 steps, 1 restart"
    assert read_progress(path).seconds == pytest.approx(60.0)
    progress.stage_finished(2, "explore", 80.0, "done")
    assert read_progress(path) is None


def test_everything_is_passed_on(tmp_path: Path):
    calls: list[tuple] = []

    def noting(name: str):
        return lambda self, *arguments: calls.append((name, *arguments))

    names = [name for name in vars(Silence) if not name.startswith("_")]
    listener = type("Listener", (Silence,), {name: noting(name) for name in names})()
    progress = Recorded(listener, tmp_path / "progress.json", Clock())
    expected = [
        ("stage_started", 0, "relax", "relaxing", None, ""),
        ("resumed", 3),
        ("advanced", 4, 9, "note"),
        ("stage_finished", 0, "relax", 1.0, "done"),
        ("stage_skipped", 1, "relax", "done"),
    ]
    for name, *arguments in expected:
        getattr(progress, name)(*arguments)
    assert calls == expected


def test_a_damaged_file_is_no_progress(tmp_path: Path):
    (tmp_path / "progress.json").write_text('{"round": ')
    assert read_progress(tmp_path / "progress.json") is None


def test_status_names_the_stage_that_runs_and_the_one_that_was_interrupted(
    tmp_path: Path, monkeypatch
):
    bench = make_bench(tmp_path / "bench", monkeypatch)
    folder, seen = bench.files.folder, []

    def look(_: str) -> None:
        seen.append(read_results(folder).verdict)
        if seen[-1].startswith("running now, round 1"):
            raise KeyboardInterrupt

    bench.on_attempt = look
    with pytest.raises(KeyboardInterrupt):
        bench.run(stopping={"rounds": 1})
    assert seen[0] == "running now, preparation, label; last finished: preparation, hold-out"
    assert seen[-1] == "running now, round 1, label; last finished: round 1, select"
    stopped = read_results(folder).verdict
    assert stopped.startswith("stopped in round 1, label; last finished: round 1, select")
    bench.on_attempt = lambda _: None
    bench.run(stopping={"rounds": 1})
    assert not bench.files.progress.exists()


@pytest.mark.parametrize("name", ["bench", "my bench"])
def test_status_says_what_helps_where_all_labels_have_failed(tmp_path: Path, monkeypatch, name):
    bench = make_bench(tmp_path / name, monkeypatch)
    folder = shlex.quote(str(bench.files.folder))
    bench.on_attempt = Labels.failing.add  # every one
    with pytest.raises(CampaignError, match=rf"'entrove labels {folder} --retry', then run"):
        bench.run(stopping={"rounds": 1})
    assert f"correct the cause, release them with 'entrove labels {folder} --retry'" in (
        read_results(bench.files.folder).verdict
    )


def test_a_refused_model_has_reason_weights_and_a_next_step(tmp_path: Path, monkeypatch):
    bench = make_bench(tmp_path / "worse", monkeypatch)
    bench.scales = {1: 0.7}  # the untuned model's is 0.8
    small_enough = {"force_mae_meV_per_A": 1e6}
    bench.run(stopping={"rounds": 1, **small_enough})
    # The error of a refused model is that of none which the campaign would end with.
    assert "force_mae_meV_per_A" not in bench.verdict()
    results = read_results(bench.files.folder)
    assert results.refused is not None
    assert results.refused.weights.is_file()
    text = summary_text(results, 400)
    assert "the model of round 1 is refused: " in text
    assert f"its weights: {results.refused.weights}" in text
    assert "what helps: more labels" in text
    assert "raise stopping.rounds, too" in text
    bench.scales = {1: 0.7, 2: 0.99}
    bench.run(stopping={"rounds": 3, **small_enough})
    assert read_results(bench.files.folder).refused is None
    assert "force_mae_meV_per_A" in bench.verdict()
