"""Stages that run elsewhere find what they find here, also after a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase.build import bulk

import cheap_campaign
from cheap_campaign import make_bench
from entrove.campaign import stage_job
from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Checked
from entrove.campaign.journal.progress import Silence
from entrove.campaign.loop import explore_only
from entrove.campaign.stage_job import ProgressFile, StageRequest
from entrove.errors import CampaignError, ConfigError
from entrove.execution.program import EXIT_USER_ERROR, Program
from entrove.execution.running import Executors
from entrove.models.ase import from_calculator
from entrove.structures import read_structures
from entrove.validation.suite.result import SuiteResult
from small_sevennet import write_small_sevennet

TESTS = Path(__file__).parents[1]
sys.path.append(str(TESTS / "labelling"))
import slurm_cluster  # noqa: E402

NO_SLURM = slurm_cluster.why_not()
PARSL = {"name": "parsl", "config": "parsl_here:make"}

SETTINGS: dict[str, Any] = {
    "name": "silicon",
    "random_seed": 3,
    "seeds": [{"phase": "diamond", "file": "diamond.xyz"}],
    "regime": {"pressures_GPa": [0], "temperatures_K": [300]},
    "model": {"name": "small.pth", "device": "cpu", "threads": 1},
    "sampling": {
        "thermalise_steps": 4,
        "chunk_steps": 4,
        "chunks": 3,
        "snapshot_every": 2,
        "biases": [{"entropy": "information", "kappas_eV": [0.5]}],
        # The model has random weights: nothing is at rest.
        "relaxation": {"force_tolerance_eV_per_A": 1e3, "stress_tolerance_GPa": 1e4},
        "anchors": {"volume_strains": [0.97], "shears": [], "md_steps": 4, "md_snapshots": 2},
        "hold_out": {"md_steps": 4, "md_snapshots": 1, "interval": None, "test": False},
        "ordered": {"perturbed": 0, "random": 0},
    },
    "entropy": {"kind": "information"},
    "selection": {"count": 3},
    "labelling": {
        "engine": {
            "name": "ase",
            "calculator": "ase.calculators.lj:LennardJones",
            "arguments": {"sigma": 2.2, "epsilon": 0.3, "rc": 4.0, "smooth": True},
        },
        "executor": {"name": "local", "workers": 1},
        "stress_check": {"on_mismatch": "warn"},
        "sanity": {"max_force_eV_per_A": 1e4},
    },
    "training": {"epochs": 2},
    "stopping": {"rounds": 1},
    "suite": {"enabled": False},
    "folder": "campaign",
}


def write_campaign(folder: Path, **changes: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "small.pth").exists():
        write_small_sevennet(folder / "small.pth")
    bulk("Si", "diamond", a=5.43).write(folder / "diamond.xyz")
    settings = SETTINGS | {
        name: SETTINGS.get(name, {}) | values for name, values in changes.items()
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings))
    return folder / "campaign.yaml"


@pytest.fixture
def _parsl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TESTS / "execution")
    monkeypatch.setenv("PARSL_FOLDER", str(tmp_path / "parsl"))


class Ended:
    def __init__(self, code: int):
        self.code = code

    def poll(self) -> int:
        return self.code

    def end(self) -> None:
        pass


class Elsewhere:
    """A place that is not here: programs go there by the names of their folders only."""

    elsewhere = True
    poll_s = 0.0
    capacity = 1

    def __init__(self) -> None:
        self.sent: list[str] = []

    def threads(self, wanted: int) -> int:
        return wanted

    def start(self, program: Program) -> Ended:
        folder = Path(program.folder)
        assert program.module == stage_job.__name__
        self.sent.append(folder.name)
        try:
            stage_job.run_stage(folder)
        except CampaignError as error:
            (folder / "error.txt").write_text(str(error))
            return Ended(EXIT_USER_ERROR)
        return Ended(0)

    def stop(self) -> None:
        pass


class Heard(Silence):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done: list[int] = []
        self.continued: list[int] = []

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        self.done.append(done)
        self.notes.append(note)

    def resumed(self, done: int) -> None:
        self.continued.append(done)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    place = Elsewhere()
    monkeypatch.setattr(Executors, "programs", lambda *_: place)
    monkeypatch.setattr(stage_job, "WRITE_INTERVAL_S", 0.0)
    return place


@pytest.mark.usefixtures("_parsl")
def test_what_is_found_elsewhere_is_what_is_found_here(tmp_path: Path, elsewhere: Elsewhere):
    there = write_campaign(tmp_path / "there", sampling={"executor": PARSL})
    heard = Heard()
    explore_only(check_campaign(there), heard)
    assert elsewhere.sent == [
        f"{stage}-job" for stage in ("verify", "relax", "anchors", "hold-out", "explore")
    ]
    assert "waiting for a worker" in heard.notes
    assert heard.done[-1] == 4 + 3 * 4
    here = write_campaign(tmp_path / "here")
    elsewhere.elsewhere = False
    explore_only(check_campaign(here), Silence())
    for name in ("round-00/anchors.xyz", "round-00/hold_out.xyz", "round-01/candidates.xyz"):
        ours = read_structures(there.parent / "campaign" / name)
        theirs = read_structures(here.parent / "campaign" / name)
        assert len(ours) == len(theirs) > 0
        for mine, other in zip(ours, theirs, strict=True):
            assert np.array_equal(mine.positions, other.positions)
            assert mine.info == other.info
    entries = [
        [(record.round, record.stage, record.summary) for record in Ledger(path).records()]
        for path in (
            there.parent / "campaign/ledger.sqlite",
            here.parent / "campaign/ledger.sqlite",
        )
    ]
    assert entries[0] == entries[1]
    # An executor is no part of what was settled at the start.
    campaign = check_campaign(there)
    assert explore_only(campaign, Silence()).ledger.records()


@pytest.mark.usefixtures("_parsl")
def test_checks_made_elsewhere_are_those_made_here(
    tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
):
    """The labels of volumes are not: they are computed where labels are."""
    suite = {
        "enabled": True,
        "equation_of_state": {"labels": 6},
        "phonons": {"enabled": False},
        "dynamics": {"steps": 10, "least_atoms": 4},
        "forgetting": {"crystals": 1},
    }
    copper = from_calculator(cheap_campaign.Scaled(cheap_campaign.FOUNDATION_SCALE), name="cheap")
    monkeypatch.setattr(stage_job, "load", lambda *_, **__: copper)

    def run_in(name: str, **changes: dict[str, Any]) -> SuiteResult:
        bench = make_bench(tmp_path / name, monkeypatch)
        bulk("Cu", cubic=True).write(tmp_path / name / "fcc.xyz")
        bench.run(stopping={"rounds": 1}, suite=suite, **changes)
        (found,) = Ledger(bench.files.ledger).each(Checked).values()
        return replace(found.suite, model="", seconds={})

    there = run_in("there", sampling=cheap_campaign.SETTINGS["sampling"] | {"executor": PARSL})
    assert elsewhere.sent[-1] == "check-job"
    sent, elsewhere.elsewhere = list(elsewhere.sent), False
    assert run_in("here").to_json() == there.to_json()
    assert elsewhere.sent == sent
    (curve,) = [check for check in there.checks if check.check == "equation_of_state"]
    assert "from labels at 6 volumes" in curve.sentence


@pytest.mark.usefixtures("_parsl")
def test_an_error_elsewhere_is_said_as_it_is_here(tmp_path: Path, elsewhere: Elsewhere):
    relaxation = {"force_tolerance_eV_per_A": 1e-9, "largest_steps": 1}
    path = write_campaign(tmp_path, sampling={"executor": PARSL, "relaxation": relaxation})
    with pytest.raises(CampaignError, match=r"^no phase could be relaxed with "):
        explore_only(check_campaign(path), Silence())
    assert elsewhere.sent == ["verify-job", "relax-job"]


def test_progress_in_a_file_is_followed(tmp_path: Path):
    heard, path = Heard(), tmp_path / "progress.json"
    now = 0.0
    file, follow = ProgressFile(path, lambda: now), stage_job._Follower(path, heard)
    follow()
    file.resumed(40)
    follow()
    file.advanced(41, 100)
    follow()
    assert (heard.continued, heard.done) == ([40], [])  # written within the same second
    now = 2.0
    file.advanced(60, 100, "chunk 2")
    follow()
    follow()
    assert (heard.continued, heard.done, heard.notes) == ([40], [60], ["chunk 2"])


def test_a_request_has_the_whole_configuration(tmp_path: Path):
    campaign = check_campaign(write_campaign(tmp_path))
    request = StageRequest(
        work="m:f",
        round=1,
        campaign_folder=tmp_path,
        config_path=campaign.config_path,
        model_name=campaign.model_name,
        config=campaign.config,
    )
    assert StageRequest.model_validate_json(request.model_dump_json()) == request


def test_a_folder_with_a_blank_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = write_campaign(tmp_path / "my silicon", training={"executor": {"name": "slurm"}})
    with pytest.raises(ConfigError, match=r"(?s)training.*my silicon.*has a blank in its path"):
        check_campaign(path)


# The real thing.


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    if NO_SLURM:
        pytest.skip(NO_SLURM)
    with slurm_cluster.running_cluster(tmp_path / "slurm") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield environment


@contextmanager
def entrove_run(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a campaign as a user does; it ends with the block."""
    command = [sys.executable, "-m", "entrove.cli.main", "run", str(path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_to_the_end(path: Path) -> None:
    with entrove_run(path) as process:
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 900
    while not path.exists() or path.read_text().count("\n") < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} did not get {count} lines"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.timeout(1800)
def test_a_campaign_explores_and_trains_in_slurm_jobs(tmp_path: Path, cluster: dict[str, str]):
    """A job is cancelled, then the campaign is killed; the end equals that of a quiet run here."""
    slurm = {
        "name": "slurm",
        "partition": "debug",
        "walltime": "00:20:00",
        "address": "127.0.0.1",
        "poll_s": 2,
        "lost_after_s": 8,
    }
    training = {"epochs": 40, "learning_rate": 0.01}
    # Enough labels for a model that is better than random weights, so that it is judged.
    anchors = {"volume_strains": [0.94, 0.97, 1.03, 1.06], "shears": [0.02, 0.05]}
    more: dict[str, dict[str, Any]] = {
        "sampling": {"chunks": 8, "anchors": SETTINGS["sampling"]["anchors"] | anchors},
        "selection": {"count": 8},
        "suite": {
            "enabled": True,
            "equation_of_state": {"labels": 5},
            "phonons": {"enabled": False},
            "dynamics": {"enabled": False},
            "forgetting": {"enabled": False},
        },
    }
    path = write_campaign(
        tmp_path / "there",
        training=training | {"executor": slurm},
        **more | {"sampling": more["sampling"] | {"executor": slurm}},
    )
    progress = path.parent / "campaign/round-01/training/member-0/progress.jsonl"
    with entrove_run(path) as process:
        wait_for_lines(progress, 3, process)
        jobs = slurm_cluster.run("squeue", "-h", "-o", "%i", environment=cluster).split()
        assert len(jobs) == 1  # exploration and training have shared it
        slurm_cluster.run("scancel", *jobs, environment=cluster)
        wait_for_lines(progress, progress.read_text().count("\n") + 3, process)
        process.send_signal(signal.SIGKILL)
    run_to_the_end(path)
    quiet = write_campaign(tmp_path / "here", training=training, **more)
    run_to_the_end(quiet)
    for name in ("round-01/candidates.xyz", "round-01/training/member-0/model.pth"):
        ours, theirs = ((at.parent / "campaign" / name).read_bytes() for at in (path, quiet))
        assert ours == theirs, name
    # The suite was judged in a job, on the volumes that were labelled before.
    judged = [
        replace(found.suite, model="", against="", seconds={})
        for at in (path, quiet)
        for found in Ledger(at.parent / "campaign/ledger.sqlite").each(Checked).values()
    ]
    assert (path.parent / "campaign/round-01/check-job").is_dir()
    assert len(judged) == 2
    assert judged[0].to_json() == judged[1].to_json()
    # The labels' times of computation differ, the labels do not.
    there, here = (read_structures(at.parent / "campaign/dataset.xyz") for at in (path, quiet))
    for mine, other in zip(there, here, strict=True):
        assert np.array_equal(mine.positions, other.positions)
        assert mine.get_potential_energy() == other.get_potential_energy()
    deadline = time.monotonic() + 60
    while slurm_cluster.run("squeue", "-h", "-t", "running", "-o", "%i", environment=cluster):
        assert time.monotonic() < deadline
        time.sleep(0.5)
