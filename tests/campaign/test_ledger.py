import multiprocessing
import os
import signal
import sqlite3
import time

import pytest

from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.lock import hold_campaign, is_held
from entrove.errors import CampaignError


def test_stages_come_back_in_order(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(0, "relax", 1.5, "4 cells", {"energies_eV": [1.0, 2.0]})
    ledger.enter(1, "explore", 2.5, "30 candidates", {})
    again = Ledger(tmp_path / "ledger.sqlite")
    assert [(r.round, r.stage, r.seconds) for r in again.stages()] == [
        (0, "relax", 1.5),
        (1, "explore", 2.5),
    ]
    found = again.find(0, "relax")
    assert found is not None
    assert found.payload == {"energies_eV": [1.0, 2.0]}
    assert again.find(1, "relax") is None


def test_interrupted_time_counts(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter_interruption(1, "label", 10.0)
    ledger.enter_interruption(1, "label", 5.0)
    assert ledger.enter(1, "label", 2.0, "", {}).seconds == 17.0


def test_a_stage_that_is_run_again_keeps_the_time_it_took(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter_interruption(1, "label", 10.0)
    ledger.enter(1, "label", 2.0, "", {})
    ledger.enter(1, "train", 3.0, "", {})
    ledger.forget([(1, "label"), (1, "no such stage")])
    assert [(r.stage, r.seconds) for r in ledger.stages()] == [("train", 3.0)]
    assert ledger.enter(1, "label", 1.0, "", {}).seconds == 13.0


def test_a_stage_is_entered_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.enter(0, "relax", 1.0, "", {})
    with pytest.raises(CampaignError, match="cannot be read or written"):
        ledger.enter(0, "relax", 1.0, "", {})


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(CampaignError, match="file is not a database"):
        Ledger(path)


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
