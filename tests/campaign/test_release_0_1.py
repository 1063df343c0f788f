"""A campaign of release 0.1 is reported and continued, and ends as with that release."""

import json
import re
import tarfile
from pathlib import Path

import pytest
import yaml

from cheap_campaign import Bench, Labels, make_bench
from entrove import provenance
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Finished, Stage, Validated
from entrove.campaign.results.read import read_results
from entrove.report.page import render_report, write_report
from entrove.structures import content_hash, read_structures

DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "release-0.1.json").read_text())


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The folder as release 0.1 left it, in the middle of the second round's walkers."""
    with tarfile.open(DATA / "release-0.1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    bench = make_bench(tmp_path, monkeypatch)
    bench.scales = {int(index): scale for index, scale in EXPECTED["scales"].items()}
    monkeypatch.setattr(Labels, "failing", set(EXPECTED["failing"]))
    return bench


def test_it_is_read_and_reported_as_it_is(stopped: Bench):
    before = {path: path.read_bytes() for path in stopped.folder.rglob("*") if path.is_file()}
    results = read_results(stopped.files.folder, figures=True)
    assert {
        path: path.read_bytes() for path in stopped.folder.rglob("*") if path.is_file()
    } == before
    assert (results.finished, results.rounds_done, results.best_round) == (False, 1, 1)
    assert results.verdict.startswith("stopped; last finished: round 2, relax")
    first_round = [entry for entry in EXPECTED["summaries"] if entry[0] < 2]
    assert [
        [stage.round, stage.stage, stage.summary]
        for stage in results.stages
        if stage.round < 2 and stage.stage != Stage.VERIFY
    ] == [entry for entry in first_round if entry[1] != "verify"]  # contains the path of a file
    outcomes = [label.outcome for label in results.labels]
    assert outcomes == ["converged"] * 6 + ["crashed"]
    assert [row.restarts for row in results.walkers] == [0, 0]
    page = write_report(results, stopped.folder / "report.html").read_text()
    assert "Centred energy" in page


def test_it_is_continued_and_ends_as_if_it_had_never_been_stopped(stopped: Bench):
    # That release ran exactly `chunks`; with the default of today further chunks may follow.
    settled = yaml.safe_load(stopped.files.config.read_text())
    settled["sampling"]["independent_per_label"] = 0
    stopped.files.config.write_text(yaml.safe_dump(settled))
    stopped.run(**EXPECTED["settings"])
    assert stopped.verdict() == EXPECTED["verdict"]
    for round_index, hashes in EXPECTED["selected"].items():
        selected = read_structures(stopped.files.round(int(round_index)).selected)
        assert [content_hash(atoms) for atoms in selected] == hashes
    assert [
        [content_hash(atoms), atoms.get_potential_energy(), int(atoms.info[provenance.ROUND])]
        for atoms in read_structures(stopped.files.dataset)
    ] == EXPECTED["dataset"]
    assert stopped.trained_on == [len(EXPECTED["dataset"])]  # round 1 is not trained again
    assert set(stopped.computed).isdisjoint(EXPECTED["selected"]["1"])  # nor labelled again
    ledger = Ledger(stopped.files.ledger)
    assert list(ledger.each(Finished)) == [2]
    # That release kept no errors of single structures; those of all rounds can be compared now.
    validations = ledger.each(Validated)
    assert {len(found.structures) for found in validations.values()} == {4}
    assert all(found.untuned is not None for index, found in validations.items() if index)
    assert validations[1].accepted
    page = render_report(read_results(stopped.files.folder))
    assert "This campaign has no test set" in page
    found = {(record.round, record.stage.value): record.summary for record in ledger.records()}
    for round_index, stage, summary in EXPECTED["summaries"]:
        # "verify" contains the path of a file; "validate" now says "centred" before "energy".
        if stage not in ("verify", "validate"):
            # What that release had not done yet also says how many snapshots are independent.
            ours = found[round_index, stage]
            if stage == "explore" and round_index > 1:
                assert re.fullmatch(f"{summary}; worth about \\d+ independent ones.*", ours)
            else:
                assert ours == summary
