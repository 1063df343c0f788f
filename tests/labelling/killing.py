"""Kill a labelling process at random moments, start it again, and look at what it did.

The campaign is a process of its own that labels copper with the misbehaving calculator. Between
two starts everything that is finished on disk is noted: nothing of it may be computed after the
next start.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from misbehaving import copper

from entrove.labelling.attempt import RESULT_FILE
from entrove.structures import content_hash

HERE = Path(__file__).parent
DELAY_S = 0.25

_CAMPAIGN = """
import sys
from pathlib import Path
from misbehaving import copper
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.config import LabellingConfig
from entrove.labelling.labeller import Labeller

folder, count, delay_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
arguments = {"delay_s": delay_s}
engine = {"name": "ase", "calculator": "misbehaving:Misbehaving", "arguments": arguments}
config = LabellingConfig.model_validate({"engine": engine})
with (
    LabelCache(folder / "labels.db") as cache,
    Labeller(config, cache, folder / "work") as labeller,
):
    for _ in labeller.label([copper(seed) for seed in range(count)]):
        pass
"""


@dataclass
class KillReport:
    """What happened: `repeated`, `lost` and `damaged` must stay empty."""

    kills: int = 0
    kills_while_labelling: int = 0
    repeated: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def kill_and_resume(folder: Path, *, kills: int, labels: int, seed: int) -> KillReport:
    """Kill the campaign `kills` times, then let it finish."""
    rng = random.Random(seed)
    report = KillReport()
    hashes = {content_hash(copper(index)) for index in range(labels)}
    while True:
        finished = _finished(folder)
        attempts_before = _attempts(folder)
        campaign = _start(folder, labels)
        if report.kills < kills:
            _wait_for_work(campaign, folder, attempts_before)
            time.sleep(rng.uniform(0.0, 4 * DELAY_S))
            campaign.send_signal(signal.SIGKILL)
            report.kills += 1
            report.kills_while_labelling += campaign.wait() == -signal.SIGKILL
        elif campaign.wait() != 0:
            report.damaged.append(f"the last start ended with exit code {campaign.returncode}")
        new_attempts = _attempts(folder) - attempts_before
        report.repeated += sorted({attempt.split("/")[0] for attempt in new_attempts} & finished)
        report.damaged += _check_database(folder / "labels.db")
        report.lost += sorted(finished - _finished(folder))
        if report.kills >= kills and campaign.returncode == 0:
            report.lost += sorted(hashes - _labelled(folder))
            return report
        if report.damaged:
            return report


def _start(folder: Path, labels: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _CAMPAIGN, str(folder), str(labels), str(DELAY_S)],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        start_new_session=True,
    )


def _wait_for_work(campaign: subprocess.Popen, folder: Path, before: set[str]) -> None:
    deadline = time.monotonic() + 120
    while not _attempts(folder) - before and campaign.poll() is None:
        if time.monotonic() > deadline:
            raise TimeoutError("the campaign started no attempt within 120 s")
        time.sleep(0.02)


def _attempts(folder: Path) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in folder.glob("work/*/*/attempt-*")}


def _finished(folder: Path) -> set[str]:
    """Structures with a result on disk or a label in the cache."""
    results = {
        path.parent.parent.name for path in folder.glob(f"work/*/*/attempt-*/{RESULT_FILE}")
    }
    return results | _labelled(folder)


def _labelled(folder: Path) -> set[str]:
    if not (folder / "labels.db").exists():
        return set()
    connection = sqlite3.connect(folder / "labels.db")
    try:
        return {
            row[0]
            for row in connection.execute(
                "SELECT structure_hash FROM labels WHERE outcome = 'converged'"
            )
        }
    except sqlite3.OperationalError:  # killed before the tables were made
        return set()
    finally:
        connection.close()


def _check_database(path: Path) -> list[str]:
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    finally:
        connection.close()
