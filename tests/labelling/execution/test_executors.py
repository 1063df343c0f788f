"""Where labels run: what Parsl is told, a configuration of the user's own, and a real Slurm."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import slurm_cluster
from ase.build import bulk
from ase.calculators.emt import EMT
from espresso_program import PSEUDOPOTENTIALS, needs_espresso
from misbehaving import copper
from parsl.executors.high_throughput.errors import ManagerLost

from entrove.errors import ConfigError, LabelError
from entrove.execution.parsl_config import count_workers, parsl_config
from entrove.execution.pool import WorkerPool
from entrove.execution.settings import LocalExecution, ParslExecution, SlurmExecution
from entrove.labelling.attempt import Attempt
from entrove.labelling.config import LabellingConfig
from entrove.labelling.execution.executor import AttemptExecutor
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Outcome
from entrove.labelling.store.cache import LabelCache

NO_SLURM = slurm_cluster.why_not()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if NO_SLURM:
        pytest.skip(NO_SLURM)
    with slurm_cluster.running_cluster(tmp_path / "slurm") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield environment


def test_local_channels_are_encrypted_and_bound_to_loopback(tmp_path: Path):
    config = parsl_config(LocalExecution(workers=3), tmp_path)
    (executor,) = config.executors
    assert executor.encrypted
    assert executor.all_addresses == {"127.0.0.1"}
    assert executor.loopback_address == "127.0.0.1"
    assert executor.max_workers_per_node == 3
    assert config.usage_tracking == 0
    assert config.retries == 0


def test_slurm_settings_reach_the_job(tmp_path: Path):
    execution = SlurmExecution(
        partition="long",
        account="me",
        walltime="02:00:00",
        nodes_per_job=2,
        max_jobs=5,
        workers_per_node=4,
        cores_per_worker=8,
        prepare="module load vasp",
        scheduler_options="#SBATCH --qos=high",
        address="10.0.0.1",
    )
    (executor,) = parsl_config(execution, tmp_path).executors
    provider = executor.provider
    assert executor.encrypted
    assert executor.all_addresses == {"10.0.0.1"}
    assert (provider.partition, provider.account, provider.walltime) == ("long", "me", "02:00:00")
    assert (provider.nodes_per_block, provider.max_blocks, provider.cores_per_node) == (2, 5, 32)
    assert "export OMP_NUM_THREADS=8" in provider.worker_init
    assert provider.worker_init.rstrip().endswith("module load vasp")
    assert "--qos=high" in provider.scheduler_options
    assert "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK" in provider.worker_init
    assert executor.drain_period is None


@pytest.mark.parametrize(
    ("name", "named"),
    [("my campaign", "a blank"), ("Bill's", "the character '")]
    + [(f"a{sign}b", f"the character {sign}") for sign in '%$"`;&(*{#~'],
)
def test_slurm_refuses_folders_that_a_job_script_cannot_hold(name: str, named: str):
    message = f"executor slurm: /data/{name} has {named} in its path"
    with pytest.raises(ConfigError, match=re.escape(message)):
        parsl_config(SlurmExecution(), Path("/data", name))


def test_slurm_takes_folders_of_other_languages():
    SlurmExecution().check_folder(Path("/data/Übung_1/Si-2+O@300K"))


def test_workers_start_in_any_folder_and_with_any_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "Bill's {odd} $HOME `x`"
    folder.mkdir()
    python = folder / "python"
    python.symlink_to(sys.executable)
    # What a virtual environment tells an interpreter that is started through a link elsewhere.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setattr(sys, "executable", str(python))
    with WorkerPool(abs, LocalExecution(workers=1), folder / "parsl") as pool:
        assert pool.submit(-3).result(timeout=60) == 3


def test_a_job_takes_no_label_that_could_outlive_it(tmp_path: Path):
    """Two minutes are for what starts; a job whose labels may fill it takes them at first."""
    execution = SlurmExecution(walltime="10:00:00", address="127.0.0.1")
    for longest_s, expected_s in ((3 * 3600.0, 7 * 3600 - 120), (10 * 3600.0, 300)):
        (executor,) = parsl_config(execution, tmp_path, longest_s).executors
        assert executor.drain_period == expected_s


@pytest.mark.slow
def test_a_node_that_dies_is_no_evidence_against_those_that_it_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misbehaving_config
):
    """Both lose their worker three times together, and then each is tried alone."""
    monkeypatch.setenv("PARSL_OF_USER_FOLDER", str(tmp_path))
    settings = {"executor": {"name": "parsl", "config": "parsl_losing:make"}, "max_attempts": 1}
    config = misbehaving_config(settings=settings, delay_s=3.0)
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
    ):
        labels = dict(labeller.label([copper(0), copper(1, "kills_node")]))
    assert labels[0].outcome is Outcome.CONVERGED
    assert labels[1].outcome is Outcome.CRASHED
    assert labels[1].cause.startswith("its worker was lost 4 times, at last while no other")
    assert labels[1].cause.endswith("; it may need more memory than there is")


class _EveryJobEnds(AttemptExecutor):
    """Stands for jobs that end before any label: it fails as Parsl does."""

    running = True

    def submit(self, task: Attempt) -> Future:
        future: Future = Future()
        future.set_exception(ManagerLost(b"manager", task.folder))
        return future

    def stop(self) -> None:
        pass


def test_a_structure_whose_jobs_always_end_is_given_up_with_their_walltime(
    tmp_path: Path, misbehaving_config
):
    executor = {"name": "slurm", "walltime": "06:30:00"}
    config = misbehaving_config(settings={"executor": executor})
    jobs = _EveryJobEnds(config.executor, tmp_path)
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", jobs) as labeller,
    ):
        labels = dict(labeller.label([copper(seed) for seed in range(3)]))
    for label in labels.values():
        # Three losses in company; alone, the first one is a crash, which is tried once more.
        assert (label.outcome, label.attempts) == (Outcome.CRASHED, 2)
        assert label.cause.startswith("its worker was lost 5 times")
        assert label.cause.endswith("preempted or reached its walltime of 06:30:00")


class _Recorder(AttemptExecutor):
    """Stands for workers that never finish: it counts what they are given."""

    running = True

    def __init__(self, jobs: int, run_folder: Path):
        super().__init__(SlurmExecution(max_jobs=jobs), run_folder)
        self.submitted = 0

    def submit(self, task: Attempt) -> Future:
        self.submitted += 1
        return Future()

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(("capacity", "expected"), [(2, 256), (200, 400), (300, 450)])
def test_every_worker_of_a_large_cluster_has_a_label_and_another_one_waiting(
    tmp_path: Path,
    misbehaving_config,
    monkeypatch: pytest.MonkeyPatch,
    capacity: int,
    expected: int,
):
    class StoppedError(Exception):
        pass

    def stop(*_: object) -> str:
        raise StoppedError

    recorder = _Recorder(capacity, tmp_path)
    monkeypatch.setattr(Labeller, "_wait_for_attempt", stop)
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(misbehaving_config(), cache, tmp_path / "work", recorder) as labeller,
        pytest.raises(StoppedError),
    ):
        next(labeller.label([copper(seed) for seed in range(450)]))
    assert recorder.submitted == expected


def test_workers_are_counted_over_all_jobs(tmp_path: Path):
    execution = SlurmExecution(
        nodes_per_job=4, max_jobs=10, workers_per_node=16, min_jobs=0, address="127.0.0.1"
    )
    assert execution.capacity == 640
    assert count_workers(parsl_config(execution, tmp_path)) == 640
    assert count_workers(parsl_config(LocalExecution(workers=3), tmp_path)) == 3


def test_a_wrong_import_path_of_a_parsl_configuration_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot import 'no_such_module:make'"):
        parsl_config(ParslExecution(config="no_such_module:make"), tmp_path)
    with pytest.raises(ConfigError, match=r"returned NoneType; it must return a parsl\.Config"):
        parsl_config(ParslExecution(config="parsl_of_user:make_nothing"), tmp_path)


def test_a_parsl_configuration_of_the_users_own_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misbehaving_config
):
    monkeypatch.setenv("PARSL_OF_USER_FOLDER", str(tmp_path))
    config = misbehaving_config(
        settings={"executor": {"name": "parsl", "config": "parsl_of_user:make"}}
    )
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
    ):
        labels = dict(labeller.label([copper(0), copper(1)]))
    assert [label.outcome for label in labels.values()] == [Outcome.CONVERGED] * 2
    assert (tmp_path / "runinfo").is_dir()


def test_workers_that_are_threads_do_not_mix_their_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misbehaving_config
):
    monkeypatch.setenv("PARSL_OF_USER_FOLDER", str(tmp_path))
    executor = {"name": "parsl", "config": "parsl_of_user:make_threads"}
    config = misbehaving_config(settings={"executor": executor}, delay_s=0.02)
    structures = [copper(seed) for seed in range(24)]
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
    ):
        labels = dict(labeller.label(structures))
    for index, atoms in enumerate(structures):
        atoms.calc = EMT()
        assert labels[index].outcome is Outcome.CONVERGED
        assert labels[index].attempts == 1
        assert labels[index].energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-10)


@pytest.mark.slurm
@pytest.mark.espresso
@needs_espresso
def test_a_slurm_job_runs_espresso_under_mpirun(tmp_path: Path, cluster: dict[str, str]):
    """The pilot job is one task; its worker starts two ranks in it."""
    engine = {
        "name": "espresso",
        "command": "mpirun -np {cores} pw.x -nk {cores}",
        "pseudopotential_folder": str(PSEUDOPOTENTIALS),
        "pseudopotentials": {"Si": "Si.pbe-rrkj.UPF"},
        "cutoff_eV": 250.0,
        "kpoint_spacing_per_A": 1.0,
    }
    executor = {
        "name": "slurm",
        "partition": "debug",
        "walltime": "00:20:00",
        "workers_per_node": 1,
        "cores_per_worker": 2,
        "address": "127.0.0.1",
        "poll_s": 2,
        # Open MPI does not let root run without being told so.
        "prepare": "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
    }
    config = LabellingConfig.model_validate(
        {"engine": engine, "executor": executor, "time_limit_s": 120, "max_attempts": 1}
    )
    structures = []
    for seed in range(3):
        atoms = bulk("Si", "diamond", a=5.4)
        atoms.rattle(0.05, rng=np.random.default_rng(seed))
        structures.append(atoms)
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
    ):
        labels = dict(labeller.label(structures))
    assert [label.cause for label in labels.values()] == [""] * 3
    outputs = [Path(label.folder, "espresso.pwo").read_text() for label in labels.values()]
    assert all("running on     2 processors" in text for text in outputs)
    assert all(label.engine_version.startswith(("6.", "7.")) for label in labels.values())


@pytest.mark.slurm
def test_a_prepare_that_fails_is_found_in_the_logs_that_are_named(
    tmp_path: Path, cluster: dict[str, str], misbehaving_config
):
    executor = {
        "name": "slurm",
        "partition": "debug",
        "walltime": "00:20:00",
        "address": "127.0.0.1",
        "poll_s": 1,
        "prepare": "echo 'no such module: vasp' >&2; exit 3",
    }
    config = misbehaving_config(settings={"executor": executor})
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
        pytest.raises(LabelError, match=r"logs: .*`prepare` and the workers printed") as error,
    ):
        list(labeller.label([copper(0)]))
    logs = Path(str(error.value).rpartition("printed, ")[2])
    printed = [path.read_text() for path in logs.glob("**/*.stderr")]
    assert any("no such module: vasp" in text for text in printed)


_LABELLING = """
import sys
from pathlib import Path
from misbehaving import copper
from entrove.cli.interruption import listen
from entrove.labelling.config import LabellingConfig
from entrove.labelling.label_structures import label

listen()
config = LabellingConfig.model_validate_json(sys.argv[2])
label([copper(seed) for seed in range(4)], config, folder=Path(sys.argv[1]))
"""


@pytest.mark.slurm
def test_sigterm_to_the_driver_takes_its_jobs_back(
    tmp_path: Path, cluster: dict[str, str], misbehaving_config
):
    executor = {
        "name": "slurm",
        "partition": "debug",
        "walltime": "00:20:00",
        "max_jobs": 2,
        "cores_per_worker": os.cpu_count(),
        "address": "127.0.0.1",
    }
    config = misbehaving_config(settings={"executor": executor}, delay_s=60.0)
    command = [sys.executable, "-c", _LABELLING, str(tmp_path), config.model_dump_json()]
    with subprocess.Popen(command, env=os.environ | cluster, start_new_session=True) as driver:
        try:
            deadline = time.monotonic() + 120
            states: set[str] = set()
            while "RUNNING" not in states or not list(tmp_path.glob("*/*/attempt-1")):
                assert time.monotonic() < deadline, states
                assert driver.poll() is None
                queue = slurm_cluster.run("squeue", "-h", "-o", "%T", environment=cluster)
                states = set(queue.split())
                time.sleep(0.5)
            driver.terminate()
            driver.wait(timeout=60)
        finally:
            driver.kill()
    deadline = time.monotonic() + 20
    while slurm_cluster.run("squeue", "-h", "-o", "%i", environment=cluster):
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.slurm
@pytest.mark.gpaw
@pytest.mark.timeout(900)
def test_slurm_labels_silicon_loses_a_job_to_scancel_and_continues(
    tmp_path: Path, cluster: dict[str, str]
):
    config = LabellingConfig.model_validate(
        {
            "engine": {"name": "gpaw", "cutoff_eV": 200, "kpoint_spacing_per_A": 1.0},
            "executor": {
                "name": "slurm",
                "partition": "debug",
                "walltime": "00:20:00",
                "workers_per_node": 1,
                "address": "127.0.0.1",
                "poll_s": 2,
                "lost_after_s": 8,
            },
        }
    )
    structures = []
    for seed in range(5):
        atoms = bulk("Si", "diamond", a=5.4)
        atoms.rattle(0.05, rng=np.random.default_rng(seed))
        structures.append(atoms)
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
    ):
        stream = labeller.label(structures)
        collected = [next(stream)]
        first_job = slurm_cluster.run("squeue", "-h", "-o", "%i", environment=cluster).split()
        assert len(first_job) == 1
        slurm_cluster.run("scancel", *first_job, environment=cluster)
        collected += list(stream)
        second_job = slurm_cluster.run("squeue", "-h", "-o", "%i", environment=cluster).split()
        assert second_job != first_job
    assert sorted(index for index, _ in collected) == list(range(5))
    assert all(label.outcome is Outcome.CONVERGED for _, label in collected)
    # The labeller ends its jobs.
    deadline = time.monotonic() + 30
    while slurm_cluster.run("squeue", "-h", "-t", "running", "-o", "%i", environment=cluster):
        assert time.monotonic() < deadline
        time.sleep(0.5)
