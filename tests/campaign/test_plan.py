"""A plan counts what `run` computes, before it does."""

from pathlib import Path

import pytest

from cheap_campaign import Bench, Labels, make_bench
from entrove.campaign.journal.progress import Silence
from entrove.campaign.plan import make_plan
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.listing import release_quarantined
from unchanged import unchanged

VALIDATION, COUNT = 4, 3
"""Labels of the validation set, and of each round."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path / "copper", monkeypatch)


def planned(bench: Bench, **stopping: int) -> tuple[int, int]:
    """Training labels that are to be computed, and good ones that exist."""
    rows = {row.what: row for row in make_plan(bench.campaign(stopping=stopping)).rows}
    return rows["training"].labels, rows["training"].known


def at_attempt(bench: Bench, number: int, what) -> None:
    """Call `what` with the hash of the structure of this attempt of the engine, from 0."""
    bench.on_attempt = lambda name: what(name) if len(bench.computed) == number else None


def fail(structure_hash: str) -> None:
    Labels.failing.add(structure_hash)


class StopAfterOneLabel(Silence):
    """Interrupts the campaign when the first label of the first round is stored."""

    def stage_started(
        self, round_index: int, stage: str, description: str, total: int | None, unit: str
    ) -> None:
        self.stage = (round_index, stage)

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        if (self.stage, done) == ((1, "label"), 1):
            raise KeyboardInterrupt


def test_labels_in_quarantine_are_not_computed_again(bench: Bench):
    assert planned(bench, rounds=2) == (2 * COUNT, 0)
    at_attempt(bench, VALIDATION, fail)
    bench.run(stopping={"rounds": 1})
    assert planned(bench, rounds=1) == (0, COUNT - 1)
    # A limit of labels counts good ones only.
    assert planned(bench, rounds=3, labels=COUNT + 1) == (2, COUNT - 1)
    expected, _ = planned(bench, rounds=2)
    before = len(bench.computed)
    bench.run(stopping={"rounds": 2})
    assert len(bench.computed) - before == expected == COUNT


def test_labels_that_were_released_are_computed_again(bench: Bench):
    at_attempt(bench, VALIDATION, fail)
    bench.run(stopping={"rounds": 1})
    with LabelCache(bench.files.label_cache) as cache:
        assert release_quarantined(bench.files.label_work, cache)
    assert planned(bench, rounds=1) == (1, COUNT - 1)


def test_a_plan_writes_nothing(bench: Bench):
    bench.run(stopping={"rounds": 1})
    expected, campaign = planned(bench, rounds=2), bench.campaign(stopping={"rounds": 2})
    with unchanged(bench.files.folder):
        rows = {row.what: row for row in make_plan(campaign).rows}
    assert (rows["training"].labels, rows["training"].known) == expected


def test_an_interrupted_round_asks_for_what_is_left_of_its_picks(bench: Bench):
    with pytest.raises(KeyboardInterrupt):
        bench.run(StopAfterOneLabel(), stopping={"rounds": 2})
    assert planned(bench, rounds=2) == (2 * COUNT - 1, 0)
    assert planned(bench, rounds=1) == (COUNT - 1, 0)
