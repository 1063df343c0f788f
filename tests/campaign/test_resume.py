"""A campaign that is killed several times ends like one that was never interrupted."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from entrove.structures import content_hash, read_structures

CONFIG = """\
name: copper
random_seed: 7
seeds:
  - {phase: fcc, file: fcc.xyz}
regime: {pressures_GPa: [0], temperatures_K: [600, 1200]}
model: {name: 7net-0, device: cpu, threads: 1}
sampling:
  thermalise_steps: 20
  chunk_steps: 6
  chunks: 2
  snapshot_every: 3
  biases:
    - {entropy: information, mode: per_atom, fractions: [0.5]}
    - {entropy: paper, mode: per_config, kappas_eV: [2.0]}
  anchors: {volume_strains: [0.95, 1.05], shears: [0.04], md_steps: 4, md_snapshots: 2}
  hold_out: {md_steps: 4, md_snapshots: 1, interval: null}
  ordered: {perturbed: 0, random: 0}
entropy: {labels: {directions: 3}}
selection: {count: 3, quotas: {anchors: 0.34}, features: fingerprint}
labelling:
  engine: {name: ase, calculator: "ase.calculators.emt:EMT"}
  executor: {name: local, workers: 1}
training: {epochs: 2}
stopping: {rounds: 9, labels: LABELS}
suite: {enabled: false}  # minutes; tests/campaign/test_model_checks.py interrupts it
"""


# What a shell starts in the background ignores Ctrl-C; the tests may be, a campaign must not.
ENTROVE = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from entrove.cli.main import run
run()
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", ENTROVE, "run", str(folder / "campaign.yaml")]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def finished_stages(folder: Path) -> set[tuple[int, str]]:
    path = folder / "campaign" / "ledger.sqlite"
    if not path.exists():
        return set()
    connection = sqlite3.connect(path, timeout=30)
    try:
        return set(connection.execute("SELECT round, stage FROM stages").fetchall())
    except sqlite3.OperationalError:  # the table does not exist yet
        return set()
    finally:
        connection.close()


def start_until(folder: Path, reached) -> subprocess.Popen[bytes]:
    process = start(folder)
    deadline = time.monotonic() + 500
    while not reached(folder):
        assert process.poll() is None, (folder / "output.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def kill_after(folder: Path, reached) -> None:
    """Start, and kill -9 as soon as `reached(folder)` holds."""
    process = start_until(folder, reached)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def interrupt_after(folder: Path, reached) -> None:
    """Start, and interrupt as soon as `reached(folder)` holds.

    Ctrl-C in a terminal sends the signal to the whole process group.
    """
    process = start_until(folder, reached)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=100) == 130
    last_line = (folder / "output.txt").read_text().splitlines()[-1]
    assert (
        last_line
        == "entrove: stopped; what is finished is kept, and the same command continues from here"
    )


def run_to_end(folder: Path) -> None:
    assert start(folder).wait(timeout=500) == 0, (folder / "output.txt").read_text()


def prepare(folder: Path, rounds: int) -> Path:
    folder.mkdir()
    bulk("Cu", cubic=True).write(folder / "fcc.xyz")
    (folder / "campaign.yaml").write_text(CONFIG.replace("LABELS", str(3 * rounds)))
    return folder


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("rounds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, rounds):
    whole, killed = prepare(tmp_path / "whole", rounds), prepare(tmp_path / "killed", rounds)
    run_to_end(whole)
    # In the middle of labelling, of exploring (after the first chunk), and of training.
    last = f"campaign/round-{rounds:02d}"
    interrupt_after(
        killed, lambda folder: any((folder / "campaign/labels").glob("*/*/attempt-1/result.json"))
    )
    if rounds > 1:
        kill_after(killed, lambda folder: (folder / last / "walkers.pt").exists())
        kill_after(killed, lambda folder: (rounds, "select") in finished_stages(folder))
    kill_after(
        killed, lambda folder: (folder / last / "training/member-0/progress.jsonl").exists()
    )
    run_to_end(killed)

    for name in (
        "dataset.xyz",
        "validation.xyz",
        "test.xyz",
        f"round-{rounds:02d}/candidates.xyz",
        f"round-{rounds:02d}/validation_predictions.xyz",
    ):
        expected = read_structures(whole / "campaign" / name)
        resumed = read_structures(killed / "campaign" / name)
        assert [content_hash(atoms) for atoms in expected] == [
            content_hash(atoms) for atoms in resumed
        ], name
        for ours, theirs in zip(expected, resumed, strict=True):
            if ours.calc is not None:
                assert ours.get_potential_energy() == theirs.get_potential_energy()
                np.testing.assert_array_equal(ours.get_forces(), theirs.get_forces())
            provenance = {key for key in ours.info if key != "entrove_engine_seconds"}
            assert {key: ours.info[key] for key in provenance} == {
                key: theirs.info[key] for key in provenance
            }

    # No label was computed twice: every structure has one attempt folder.
    attempts = sorted(
        path.parent.name for path in (killed / "campaign/labels").glob("*/*/attempt-*")
    )
    assert len(attempts) == len(set(attempts))
    for name in ("report.html", "model/bundle.json"):
        assert (killed / "campaign" / name).is_file()
