"""Campaigns that share a cache never compute the same structure, and none waits for a dead one."""

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from misbehaving import copper
from stored_labels import LEVEL, OTHER_LEVEL, label_of, salt

from entrove.labelling.store import claims
from entrove.labelling.store.cache import LabelCache
from entrove.structures import content_hash

HELPERS = Path(__file__).parents[1]

_CAMPAIGN = """
import sys
from pathlib import Path
from misbehaving import copper
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.config import LabellingConfig
from entrove.labelling.labeller import Labeller

folder, name, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
arguments = {"delay_s": 0.2, "log": str(folder / "log")}
engine = {"name": "ase", "calculator": "misbehaving:Misbehaving", "arguments": arguments}
executor = {"name": "local", "workers": 1}
config = LabellingConfig.model_validate({"engine": engine, "executor": executor})
with LabelCache(folder / "labels.db") as cache, Labeller(config, cache, folder / name) as labeller:
    labels = dict(labeller.label([copper(seed) for seed in range(first, last)]))
print(sum(label.converged for label in labels.values()))
"""

_HOLDER = """
import sys
from entrove.labelling.store.cache import LabelCache
cache = LabelCache(sys.argv[1])
print(cache.claim("structure", "level"), flush=True)
sys.stdin.read()
"""


def test_two_campaigns_with_one_cache_compute_every_structure_once(tmp_path: Path):
    def start(name: str, first: int, last: int) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", _CAMPAIGN, str(tmp_path), name, str(first), str(last)],
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])},
            stdout=subprocess.PIPE,
            text=True,
        )

    # Six structures are wanted by both.
    campaigns = [start("first", 0, 10), start("other", 4, 14)]
    assert [campaign.communicate(timeout=120)[0].strip() for campaign in campaigns] == ["10", "10"]
    computed = Counter((tmp_path / "log").read_text().split())
    assert computed == {content_hash(copper(seed)): 1 for seed in range(14)}
    assert sqlite3.connect(tmp_path / "labels.db").execute(
        "SELECT count(*) FROM claims"
    ).fetchone() == (0,)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that has claimed a structure and is alive."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "labels.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "True"
    yield process
    process.kill()
    process.communicate()


def alter_claims(path: Path, change: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE claims SET {change}")


def test_a_claim_holds_while_its_process_lives(tmp_path: Path, holder: subprocess.Popen):
    with LabelCache(tmp_path / "labels.db") as cache:
        assert not cache.claim("structure", "level")
        assert cache.claim("structure", "other level")
        cache.release_claims(["structure"], "level")  # it is not this process's claim
        assert not cache.claim("structure", "level")
        holder.kill()  # a zombie: nobody has waited for it yet
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert cache.claim("structure", "level")


def test_a_claim_without_a_heartbeat_ends(tmp_path: Path, holder: subprocess.Popen):
    with LabelCache(tmp_path / "labels.db") as cache:
        alter_claims(cache.path, f"heartbeat = heartbeat - {claims.EXPIRES_AFTER_S + 1}")
        assert holder.poll() is None
        assert cache.claim("structure", "level")
        # Of a process on another host only the heartbeat is known.
        alter_claims(cache.path, "host = 'elsewhere', pid = 1")
        assert not cache.claim("structure", "level")
        alter_claims(cache.path, f"heartbeat = heartbeat - {claims.EXPIRES_AFTER_S + 1}")
        assert cache.claim("structure", "level")


def test_a_heartbeat_keeps_a_claim_and_a_label_ends_it(tmp_path: Path):
    def heartbeats(cache: LabelCache) -> list[float]:
        return [row[0] for row in cache._connection.execute("SELECT heartbeat FROM claims")]

    atoms = salt(0)
    with LabelCache(tmp_path / "labels.db") as cache:
        assert cache.claim(content_hash(atoms), LEVEL)
        assert cache.claim(content_hash(atoms), LEVEL)
        alter_claims(cache.path, "heartbeat = 0")
        cache.renew_claims()
        assert heartbeats(cache)[0] > 1e9
        assert cache.claim(content_hash(atoms), OTHER_LEVEL)
        cache.put(atoms, label_of(atoms), LEVEL)
        assert len(heartbeats(cache)) == 1
