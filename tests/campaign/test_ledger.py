import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.lock import hold_campaign, is_held
from entrove.campaign.journal.outcomes import (
    OUTCOMES,
    Anchored,
    Checked,
    Explored,
    Finished,
    HeldOut,
    Labelled,
    LabelRow,
    Ordered,
    Relaxed,
    Selected,
    Stage,
    Trained,
    Validated,
    Verified,
    WalkerRow,
)
from entrove.errors import CampaignError
from entrove.validation.errors_by_kind import ErrorRow
from entrove.validation.suite.result import CheckResult, Outcome, SuiteResult

ROW = ErrorRow("all", "all", 1, 4, 1.0, 1.0, 0.5, 0.5, 2.0, 2.0, float("nan"), 3.0)
LABEL = LabelRow(
    "training", 1, "ab12", "fcc", "md", "anchors", 5.0, None, 2.5, "converged", "", 0.1, False
)
WALKER = WalkerRow(1, 0, "fcc", 5.0, 300.0, "unbiased", 2, "2 x too hot", 17)
EXAMPLES = [
    Verified(summary="batches agree", batched=False, explorer_batched=False, tuned_in=3),
    Relaxed(summary="4 cells"),
    Anchored(summary="3 strain"),
    HeldOut(summary="2 shear"),
    Explored(summary="8 snapshots", walkers=(WALKER,)),
    Ordered(summary="1 of 4 cells kept"),
    Selected(
        summary="2 of 9",
        picked=2,
        gain_nats=0.1 + 0.2,
        gains_nats=(0.2, 0.1),
        rejected={"duplicate": 7},
        picked_by_pool={"anchors": 2},
        reserved_by_pool={"anchors": 1},
    ),
    Labelled(summary="1 labels", labels=(LABEL,), withdrawn={"cd34": "too far away"}),
    Trained(summary="25 epochs", checkpoint="round-01/training/member-0/model.pth"),
    Validated(summary="better", errors=(ROW,), accepted=True),
    Checked(
        summary="1 passed",
        model_round=1,
        suite=SuiteResult(
            model="tuned",
            against="7net-0",
            checks=(CheckResult("equation_of_state", "fcc", Outcome.PASSED, "it fits"),),
            seconds={"equation_of_state": 1.5},
            settings={"dynamics": {"steps": 40}},
            entrove_version="0.1.0",
        ),
    ),
    Finished(summary="enough; the model is that of round 1", reason="enough"),
]


@pytest.mark.parametrize("outcome", EXAMPLES, ids=lambda outcome: outcome.stage)
def test_what_a_stage_found_comes_back_as_the_same_type_with_the_same_values(tmp_path, outcome):
    Ledger(tmp_path / "ledger.sqlite").enter(1, outcome, 1.0)
    found = Ledger(tmp_path / "ledger.sqlite").find(1, type(outcome))
    # By repr, because a stress error that is not known is NaN, which is not equal to itself.
    assert repr(found) == repr(outcome)


def test_every_stage_has_a_model():
    assert [outcome.stage for outcome in EXAMPLES] == list(Stage)
    assert list(OUTCOMES) == list(Stage)


def test_stages_come_back_in_order(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(0, Relaxed(summary="4 cells"), 1.5)
    ledger.enter(2, Explored(summary="20 candidates"), 2.5)
    ledger.enter(1, Explored(summary="30 candidates"), 3.5)
    again = Ledger(tmp_path / "ledger.sqlite")
    assert [(r.round, r.stage, r.seconds) for r in again.records()] == [
        (0, Stage.RELAX, 1.5),
        (2, Stage.EXPLORE, 2.5),
        (1, Stage.EXPLORE, 3.5),
    ]
    assert {index: found.summary for index, found in again.each(Explored).items()} == {
        1: "30 candidates",
        2: "20 candidates",
    }
    assert again.find(1, Relaxed) is None


def test_a_clock_that_is_set_back_changes_no_order(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for clock_s, round_index in ((5000.0, 0), (1000.0, 1), (3000.0, 2), (2000.0, 3)):
        monkeypatch.setattr(time, "time", lambda now=clock_s: now)
        ledger.enter(round_index, Explored(summary="20 candidates"), 1.0)
    assert [record.round for record in ledger.records()] == [0, 1, 2, 3]
    ledger.forget([(1, Stage.EXPLORE), (3, Stage.EXPLORE)])
    ledger.enter(1, Explored(summary="once more"), 1.0)
    assert [record.round for record in ledger.records()] == [0, 2, 1]


def test_keys_of_another_version_are_ignored_and_missing_ones_have_defaults(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(1, Explored(summary="30 candidates"), 1.0)
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("""UPDATE stages SET payload = '{"space_groups": {"P1": 3}}'""")
    connection.close()
    assert ledger.find(1, Explored) == Explored(summary="30 candidates")


def test_an_entry_that_cannot_be_understood_is_named(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(1, Trained(summary="", checkpoint="model.pth"), 1.0)
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("UPDATE stages SET payload = '{}'")
    connection.close()
    with pytest.raises(CampaignError, match=r"stage 'train' in round 1 cannot be understood"):
        ledger.records()


def test_reading_changes_nothing_and_creates_nothing(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(0, Relaxed(summary="4 cells"), 1.0)
    reader = Ledger(tmp_path / "ledger.sqlite", read_only=True)
    assert [record.summary for record in reader.records()] == ["4 cells"]
    with pytest.raises(CampaignError, match="readonly"):
        reader.enter(0, Anchored(summary=""), 1.0)
    with pytest.raises(CampaignError, match="unable to open"):
        Ledger(tmp_path / "missing.sqlite", read_only=True)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


def kill_while_writing(path):
    """Leave what a process leaves that is killed after some pages of a transaction are written."""
    script = f"""
import os, signal, sqlite3
connection = sqlite3.connect({str(path)!r}, isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
for number in range(200):
    connection.execute("INSERT INTO meta VALUES (?, ?)", (f"key-{{number}}", 500 * "y"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0


@pytest.mark.parametrize("read_only", [True, False])
def test_a_transaction_whose_process_was_killed_never_was(tmp_path, read_only):
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    ledger.enter(1, Relaxed(summary="2 cells"), 3.0)
    records = ledger.records()
    kill_while_writing(path)
    reading = Ledger(path, read_only=read_only)
    assert reading.records() == records
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM meta").fetchone() == (2,)
    kill_while_writing(path)  # also of a ledger that is open
    assert reading.find(1, Relaxed) == records[0].outcome
    assert not path.with_name(f"{path.name}-journal").exists()


def test_a_ledger_that_is_read_is_not_written(tmp_path):
    """Nor where what a killed process has left was undone."""
    path = tmp_path / "ledger.sqlite"
    Ledger(path)
    kill_while_writing(path)
    reading = Ledger(path, read_only=True)
    kill_while_writing(path)
    with pytest.raises(CampaignError, match="readonly"):
        reading.enter(1, Relaxed(summary="2 cells"), 3.0)


def test_interrupted_time_counts(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter_interruption(1, Stage.LABEL, 10.0)
    ledger.enter_interruption(1, Stage.LABEL, 5.0)
    assert ledger.enter(1, Labelled(summary=""), 2.0).seconds == 17.0


def test_a_stage_that_is_run_again_keeps_the_time_it_took(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter_interruption(1, Stage.LABEL, 10.0)
    ledger.enter(1, Labelled(summary=""), 2.0)
    ledger.enter(1, Trained(summary="", checkpoint="model.pth"), 3.0)
    ledger.forget([(1, Stage.LABEL), (7, Stage.LABEL)])
    assert [(r.stage, r.seconds) for r in ledger.records()] == [(Stage.TRAIN, 3.0)]
    assert ledger.enter(1, Labelled(summary=""), 1.0).seconds == 13.0


def test_a_stage_is_entered_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(0, Relaxed(summary=""), 1.0)
    with pytest.raises(CampaignError, match="cannot be read or written"):
        ledger.enter(0, Relaxed(summary=""), 1.0)


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(CampaignError, match="file is not a database"):
        Ledger(path)


def damage(path, how):
    """Damage a ledger with a finished stage."""
    ledger = Ledger(path)
    for index in range(200):
        ledger.enter(index, Relaxed(summary="4 cells" * 50), 1.0)
    content = path.read_bytes()
    path.write_bytes({"emptied": b"", "cut": content[: len(content) // 2]}.get(how, b"?" * 9999))


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("how", ["emptied", "cut", "overwritten"])
def test_a_damaged_ledger_asks_for_a_backup_or_a_new_folder(tmp_path, how, read_only):
    """The same command again, which helps on a full disk, cannot help here."""
    path = tmp_path / "ledger.sqlite"
    damage(path, how)
    (tmp_path / "config.yaml").touch()
    (tmp_path / "labels.sqlite").touch()
    remedy = rf"damaged.*backup, or .*cache: {tmp_path}/labels.sqlite.*not computed again"
    with pytest.raises(CampaignError, match=remedy):
        Ledger(path, read_only=read_only).records()


def test_an_empty_ledger_of_a_campaign_that_was_killed_at_its_start_is_used(tmp_path):
    (tmp_path / "ledger.sqlite").touch()
    assert Ledger(tmp_path / "ledger.sqlite").records() == []


@pytest.mark.parametrize("payload", ["{'half of", "12", ""])
def test_an_entry_that_is_no_json_is_damage_and_no_other_version(tmp_path, payload):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(3, Relaxed(summary=""), 1.0)
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("UPDATE stages SET payload = ?", (payload,))
    connection.close()
    with pytest.raises(CampaignError, match=r"damaged \(the entry of stage 'relax' in round 3"):
        ledger.records()


def test_a_ledger_on_a_full_disk_asks_for_space(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    connect = sqlite3.connect

    def connect_to_a_full_disk(*arguments, **keywords):
        connection = connect(*arguments, **keywords)
        connection.execute("PRAGMA max_page_count = 1")  # at least as many as it has
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_to_a_full_disk)
        with pytest.raises(CampaignError, match=r"written \(.* full\).*free some disk space"):
            ledger.enter(0, Relaxed(summary="4 cells" * 5000), 1.0)


def test_a_later_schema_is_refused(tmp_path):
    Ledger(tmp_path / "ledger.sqlite")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '99'")
    connection.close()
    with pytest.raises(CampaignError, match=r"schema version 99.*use the Entrove version"):
        Ledger(tmp_path / "ledger.sqlite")


def hold_for_ever(folder):
    with hold_campaign(folder):
        time.sleep(600)


def test_a_second_process_is_refused_until_the_first_dies(tmp_path):
    holder = multiprocessing.get_context("spawn").Process(target=hold_for_ever, args=(tmp_path,))
    holder.start()
    try:
        deadline = time.monotonic() + 60
        while not is_held(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with (
            pytest.raises(CampaignError, match=f"running already .process {holder.pid}"),
            hold_campaign(tmp_path),
        ):
            pass
    finally:
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
    with hold_campaign(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
