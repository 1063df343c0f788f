"""Files of a campaign that lose labels: these are taken from the cache again, or named."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cheap_campaign import Bench, make_bench
from entrove.campaign.journal.progress import Silence
from entrove.campaign.results.read import read_results
from entrove.errors import CampaignError
from entrove.export import export
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.structures import content_hash, read_structures, write_structures

COUNT = 3
TWO_ROUNDS = {"rounds": 2}
THREE_ROUNDS = {"rounds": 3}


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished campaign of two rounds."""
    with pytest.MonkeyPatch.context() as patch:
        bench = make_bench(tmp_path_factory.mktemp("two rounds"), patch)
        bench.run(stopping=TWO_ROUNDS)
        yield bench.folder


@pytest.fixture
def bench(two_rounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    shutil.copytree(two_rounds, tmp_path / "copy")
    return make_bench(tmp_path / "copy", monkeypatch)


class Heard(Silence):
    """Keeps what each stage says at its end."""

    def __init__(self) -> None:
        self.summaries: list[str] = []

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        self.summaries.append(summary)


def keep(path: Path, count: int) -> None:
    write_structures(path, read_structures(path)[:count])


def cut_in_a_frame(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES = {
    "no label of the second round": lambda path: keep(path, COUNT),
    "one label": lambda path: keep(path, 1),
    "empty": lambda path: path.write_text(""),
    "no file": lambda path: path.unlink(),
    "cut in a frame": cut_in_a_frame,
}


def contents(path: Path) -> list[tuple[str, float, int]]:
    return [
        (content_hash(atoms), atoms.get_potential_energy(), atoms.info["entrove_round"])
        for atoms in read_structures(path)
    ]


@pytest.mark.parametrize("damage", DAMAGES)
def test_lost_training_labels_come_from_the_cache(bench: Bench, damage: str):
    before, trained = contents(bench.files.dataset), list(bench.trained_on)
    DAMAGES[damage](bench.files.dataset)
    heard = Heard()
    bench.run(heard, stopping=TWO_ROUNDS)
    assert contents(bench.files.dataset) == before
    assert (bench.computed, bench.trained_on) == ([], trained)
    [said] = [summary for summary in heard.summaries if "missing" in summary]
    assert "dataset.xyz, and are written again from labels.sqlite" in said
    damaged = bench.files.dataset.with_name("dataset.xyz.damaged")
    assert damaged.exists() is (damage == "cut in a frame")
    heard = Heard()
    bench.run(heard, stopping=THREE_ROUNDS)
    assert bench.trained_on == [3 * COUNT]
    assert not [summary for summary in heard.summaries if "missing" in summary]


def test_labels_of_another_level_in_a_shared_cache_say_nothing(bench: Bench):
    before = contents(bench.files.dataset)
    engine = bench.campaign().config.labelling.engine
    other = LevelOfTheory.of(engine.model_copy(update={"calculator": "elsewhere:Labels"}))
    with LabelCache(bench.files.label_cache) as cache:
        for atoms in read_structures(bench.files.dataset):
            name = content_hash(atoms)
            failed = Label(name, other.hash, Outcome.CRASHED, cause="another code")
            cache.put(atoms, failed, other)
    keep(bench.files.dataset, 1)
    bench.run(stopping=TWO_ROUNDS)
    assert contents(bench.files.dataset) == before


@pytest.mark.parametrize("damage", ["one label", "empty", "no file", "cut in a frame"])
def test_lost_validation_labels_come_from_the_cache(bench: Bench, damage: str):
    before, errors = contents(bench.files.validation), read_results(bench.files.folder).errors
    DAMAGES[damage](bench.files.validation)
    bench.run(stopping=TWO_ROUNDS)
    assert contents(bench.files.validation) == before
    assert bench.computed == []
    assert read_results(bench.files.folder).errors == errors


def test_a_report_without_the_validation_labels_says_that_a_run_restores_them(bench: Bench):
    bench.files.validation.unlink()
    with pytest.raises(
        CampaignError,
        match=r"validation\.xyz: missing or empty.*'entrove run' takes .*cache again",
    ):
        read_results(bench.files.folder, figures=True)
    bench.run(stopping=TWO_ROUNDS)
    read_results(bench.files.folder, figures=True)


def test_labels_that_the_cache_has_lost_too_stop_the_campaign(bench: Bench):
    keep(bench.files.dataset, COUNT)
    kept = contents(bench.files.dataset)
    bench.files.label_cache.unlink()
    with pytest.raises(CampaignError, match=r"dataset.xyz: 3 labels .*labels.sqlite has not"):
        bench.run(stopping=THREE_ROUNDS)
    assert contents(bench.files.dataset) == kept
    assert bench.trained_on == []


def test_labels_that_a_file_has_lost_are_not_exported_as_all(bench: Bench, tmp_path: Path):
    keep(bench.files.dataset, COUNT)
    with pytest.raises(CampaignError, match="3 labels are missing in its files"):
        export(bench.files.folder, "extxyz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    bench.run(stopping=TWO_ROUNDS)
    export(bench.files.folder, "extxyz", tmp_path / "out")
    assert len(read_structures(tmp_path / "out" / "training.xyz")) == 2 * COUNT


def test_labels_that_were_withdrawn_are_not_missed(bench: Bench):
    """An outlier is no label of the dataset, although its round had found it good."""
    hashes = bench.dataset()
    with LabelCache(bench.files.label_cache) as cache:
        states = {state.structure_hash: state for state in cache.states()}
        level = states[hashes[0]].level_of_theory
        cache.reject(hashes[0], level, "a test rejects it")
    write_structures(bench.files.dataset, read_structures(bench.files.dataset)[1:])
    bench.run(stopping=TWO_ROUNDS)
    assert bench.dataset() == hashes[1:]


def test_an_empty_file_of_an_earlier_stage_is_named(bench: Bench):
    relaxed = bench.files.round(0).relaxed
    relaxed.write_text("")
    with pytest.raises(CampaignError, match=r"relaxed.xyz: missing or empty, although an earlier"):
        bench.run(stopping=THREE_ROUNDS)


def test_a_missing_model_of_an_earlier_round_is_named(bench: Bench):
    for path in bench.files.folder.glob("round-0*/training"):
        shutil.rmtree(path)
    with pytest.raises(CampaignError, match=r"model.pth: missing or empty, although an earlier"):
        bench.run(stopping=THREE_ROUNDS)


def test_a_frame_without_its_round_is_named_with_what_to_do(bench: Bench):
    foreign = read_structures(bench.files.dataset)
    del foreign[1].info["entrove_round"]
    write_structures(bench.files.dataset, foreign)
    with pytest.raises(
        CampaignError,
        match=r"dataset\.xyz: structure 1 has no round \(entrove_round\).*import --train",
    ):
        bench.run(stopping=THREE_ROUNDS)
    # The second remedy.
    bench.files.dataset.unlink()
    bench.run(stopping=THREE_ROUNDS)
    assert len(contents(bench.files.dataset)) == 3 * COUNT


def test_folders_that_are_no_rounds_are_left_alone(bench: Bench):
    first = bench.files.round(1).folder
    others = ("round-01-backup", "round-1", "round-001", "round-x", "round-")
    for name in others:
        shutil.copytree(first, first.with_name(name))
    assert [files.number for files in bench.files.existing_rounds()] == [0, 1, 2]
    bench.run(stopping=THREE_ROUNDS)
    assert [files.number for files in bench.files.existing_rounds()] == [0, 1, 2, 3]
    assert read_results(bench.files.folder).rounds_done == 3
    for name in others:
        assert (first.with_name(name) / "selected.xyz").exists()
