"""The labeller with real workers, a fast calculator, and a calculator that fails in every way."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from late_disk import LateDisk
from misbehaving import FIVE_WAYS, behaviour_of, copper

from entrove.errors import LabelError
from entrove.labelling.config import LabellingConfig
from entrove.labelling.execution.executor import AttemptExecutor
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.labelling.store.listing import list_states, release_quarantined, unfinished_structures
from entrove.structures import content_hash

EXPECTED = {
    "crash": (Outcome.CRASHED, "killed by SIGSEGV"),
    "hang": (Outcome.TIMED_OUT, "no result within"),
    "not_converged": (Outcome.NOT_CONVERGED, "120 steps were not enough"),
    "garbage": (Outcome.REJECTED, "is above the limit of 100 eV/A"),
    "nan": (Outcome.REJECTED, "the energy is nan"),
    "exit": (
        Outcome.CRASHED,
        "exit code 1; the last line it printed: fatal: this program calls exit",
    ),
    "exception": (Outcome.CRASHED, "RuntimeError: internal error in routine cdiaghg"),
    "wrong_shape": (Outcome.REJECTED, "forces have shape (3, 3) for 4 atoms"),
}


def processes_of_labelling() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.is_running()]


def test_labels_equal_the_calculator_come_cached_first_and_once_each(
    tmp_path: Path, misbehaving_config
):
    log = tmp_path / "log"
    before = processes_of_labelling()
    config = misbehaving_config(log=str(log))
    structures = [copper(seed) for seed in range(6)]
    shuffled = structures[2][[2, 0, 3, 1]]
    shuffled.positions += [3.6, 0, 0]
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
    ):
        first = dict(labeller.label(structures[:3]))
        everything = list(labeller.label([*structures, shuffled]))
    assert sorted(first) == [0, 1, 2]
    assert [index for index, _ in everything[:4]] == [0, 1, 2, 6]
    assert sorted(index for index, _ in everything) == list(range(7))
    assert max(Counter(log.read_text().split()).values()) == 1

    labels = dict(everything)
    for index, atoms in enumerate([*structures, shuffled]):
        direct = atoms.copy()
        direct.calc = EMT()
        # The same code on the same numbers: only the sum over neighbours can differ.
        np.testing.assert_allclose(
            labels[index].energy_eV, direct.get_potential_energy(), atol=1e-10
        )
        np.testing.assert_allclose(labels[index].forces_eV_per_A, direct.get_forces(), atol=1e-10)
        labelled = labels[index].attach(atoms)
        np.testing.assert_allclose(labelled.get_stress(), direct.get_stress(), atol=1e-10)
        assert labels[index].attempts == 1
        assert labels[index].engine_version
    # Parsl may have given the idle workers of other tests back meanwhile.
    assert set(processes_of_labelling()) <= set(before)


def test_an_imported_crystal_without_stress_is_computed_unless_that_fails(
    tmp_path: Path, misbehaving_config, workers: AttemptExecutor, caplog
):
    config = misbehaving_config(settings={"max_attempts": 1})
    level = LevelOfTheory.of(config.engine)
    cluster = copper(2)
    cluster.pbc = False
    crystals = [copper(0), copper(1, "not_converged")]
    for number, atoms in enumerate([*crystals, cluster]):
        atoms.calc = SinglePointCalculator(
            atoms, energy=-float(number), forces=np.zeros((len(atoms), 3))
        )
    write(tmp_path / "md.xyz", [*crystals, cluster], format="extxyz")
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", workers) as labeller,
    ):
        assert import_labels(tmp_path / "md.xyz", level, cache).stored == 3
        is_labelled = [cache.is_labelled(atoms, level) for atoms in (*crystals, cluster)]
        assert is_labelled == [False, False, True]
        for _ in range(2):
            labels = dict(labeller.label([*crystals, cluster]))
            assert labels[0].attempts == 1
            assert labels[0].stress_eV_per_A3 is not None
            assert labels[0].import_id is None
            # What was imported is better than nothing.
            assert labels[1].converged
            assert (labels[1].energy_eV, labels[1].import_id) == (-1.0, 1)
            # There is no stress of a cluster.
            assert (labels[2].energy_eV, labels[2].attempts) == (-2.0, 0)
            assert cache.is_labelled(crystals[0], level)
    [warned] = [text for text in caplog.messages if "differs from the one of import 1" in text]
    assert content_hash(crystals[0]) in warned
    assert f"energy by {labels[0].energy_eV:+.4g} eV, a force by" in warned


def test_forces_and_stress_are_derivatives_of_the_energy(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    """Central differences through the whole machinery: order, units and sign of what is stored.

    EMT is smooth here; a step of 1e-3 A leaves an error of the order of its square.
    """
    atoms, step = copper(0), 1e-3
    variants = [atoms]
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[2, 1] += sign * step
        strained = atoms.copy()
        deformation = np.eye(3)
        deformation[0, 0] += sign * step
        strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        variants += [moved, strained]
    config = misbehaving_config()
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", workers) as labeller,
    ):
        labels = dict(labeller.label(variants))
    energies = {index: label.energy_eV for index, label in labels.items()}
    force = -(energies[1] - energies[3]) / (2 * step)
    assert labels[0].forces_eV_per_A[2, 1] == pytest.approx(force, abs=1e-4)
    stress = (energies[2] - energies[4]) / (2 * step) / atoms.get_volume()
    assert labels[0].stress_eV_per_A3[0, 0] == pytest.approx(stress, abs=1e-5)


def test_every_failure_is_quarantined_with_its_cause_and_nothing_else_is_harmed(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    config = misbehaving_config(settings={"time_limit_s": 1.5, "longer_try_factor": 1.0})
    behaviours = ["fine", *EXPECTED, "fine", "fine"]
    structures = [copper(seed, behaviour) for seed, behaviour in enumerate(behaviours)]
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", workers) as labeller,
    ):
        labels = dict(labeller.label(structures))
        # Asked again, a failure is an answer and not a reason to try for ever.
        again = dict(labeller.label(structures))
        states = list_states(tmp_path / "work", cache)
    assert len(labels) == len(again) == len(states) == len(structures)
    for index, behaviour in enumerate(behaviours):
        label = labels[index]
        assert again[index].cause == label.cause
        assert Path(label.folder).is_dir()
        if behaviour == "fine":
            assert label.outcome is Outcome.CONVERGED
        else:
            outcome, cause = EXPECTED[behaviour]
            assert label.outcome is outcome
            assert cause in label.cause
            with pytest.raises(LabelError, match="no label to attach"):
                label.attach(structures[index])
    assert labels[behaviours.index("hang")].attempts == 2


def test_a_retry_may_succeed_and_release_starts_on_the_first_rung(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    structures = [copper(0, "crash"), copper(1, "not_converged")]
    config = misbehaving_config(works_from=2)
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", workers) as labeller,
    ):
        labels = dict(labeller.label(structures))
        assert labels[0].outcome is Outcome.CONVERGED
        assert labels[0].attempts == 2
        # One rung only: an engine that says 'not converged' would say so again.
        assert labels[1].outcome is Outcome.NOT_CONVERGED
        released = release_quarantined(tmp_path / "work", cache)
        assert [state.structure_hash for state in released] == [content_hash(structures[1])]
        assert cache.get(structures[1], labeller.level) is None
        assert unfinished_structures(tmp_path / "work", cache) == []
        assert dict(labeller.label(structures))[1].outcome is Outcome.NOT_CONVERGED
        assert cache.get(structures[0], labeller.level).outcome is Outcome.CONVERGED


def test_what_workers_say_counts_where_the_disk_shows_it_late(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    """Three attempts for two structures, one of which crashes first; none is in a used folder."""
    (tmp_path / "aside").mkdir()
    late = LateDisk(workers, tmp_path / "aside", most=12)
    structures = [copper(0), copper(1, "crash")]
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(misbehaving_config(works_from=2), cache, tmp_path / "work", late) as labeller,
    ):
        labels = dict(labeller.label(structures))
    assert [labels[index].outcome for index in (0, 1)] == [Outcome.CONVERGED] * 2
    assert [labels[index].attempts for index in (0, 1)] == [1, 2]
    assert len(late.submitted) == len(set(late.submitted)) == 3
    late.show()
    assert [Path(labels[index].folder).name for index in (0, 1)] == ["attempt-1", "attempt-2"]
    assert all((Path(label.folder) / "result.json").is_file() for label in labels.values())


def test_another_level_of_theory_is_refused_and_said_how_it_differs(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    with LabelCache(tmp_path / "labels.db") as cache:
        with Labeller(misbehaving_config(delay_s=0.0), cache, tmp_path / "work", workers):
            pass
        with (
            pytest.raises(
                LabelError, match=r"another level of theory .*delay_s.*start a new campaign folder"
            ),
            Labeller(misbehaving_config(delay_s=0.5), cache, tmp_path / "work"),
        ):
            pass


def test_a_missing_engine_stops_labelling_and_says_what_to_do(
    tmp_path: Path, workers: AttemptExecutor
):
    config = LabellingConfig.model_validate(
        {"engine": {"name": "ase", "calculator": "no_such_package:Calculator"}}
    )
    with pytest.raises(LabelError, match="cannot import 'no_such_package:Calculator'"):
        config.engine.check_available()
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", workers) as labeller,
    ):
        with pytest.raises(
            LabelError, match="labelling stopped: engine ase: cannot import"
        ) as error:
            list(labeller.label([copper(0)]))
        assert cache.states() == []
    folder, parsl = re.findall(r"logs: (\S+) .* printed, (.*)", str(error.value))[0]
    assert (Path(folder) / "attempt.json").is_file()
    assert list(Path(parsl).glob("**/workers-0.log"))


def test_an_abandoned_label_is_finished_by_the_next_call(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    log = tmp_path / "log"
    config = misbehaving_config(log=str(log), delay_s=0.3)
    structures = [copper(seed) for seed in range(5)]
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", workers) as labeller,
    ):
        stream = labeller.label(structures)
        next(stream)
        stream.close()
        assert len(dict(labeller.label(structures))) == 5
    assert max(Counter(log.read_text().split()).values()) == 1


def wait_for_busy_worker() -> psutil.Process:
    """A worker whose engine is running; between two labels a worker has none."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for worker in processes_of_labelling():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended while it was looked at
                engines = [" ".join(engine.cmdline()) for engine in worker.children()]
                if any("engine_process" in command for command in engines):
                    return worker
        time.sleep(0.01)
    raise AssertionError("no worker is busy")


def test_a_lost_worker_costs_nothing_but_time(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config
):
    config = misbehaving_config(delay_s=1.0)
    structures = [copper(seed) for seed in range(4)]
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work", workers) as labeller,
    ):
        stream = labeller.label(structures)
        collected = [next(stream)]
        wait_for_busy_worker().kill()
        collected += list(stream)
    assert sorted(index for index, _ in collected) == [0, 1, 2, 3]
    assert all(label.outcome is Outcome.CONVERGED for _, label in collected)


_INTERRUPTED = """
import signal, sys
from dataclasses import replace
from pathlib import Path
from misbehaving import copper
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.labelling.config import LabellingConfig
from entrove.labelling.execution.executor import AttemptExecutor
from entrove.labelling.labeller import Labeller

# A shell without job control starts what runs in its background with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = Path(sys.argv[1])
arguments = {"delay_s": 60.0}
engine = {"name": "ase", "calculator": "misbehaving:Misbehaving", "arguments": arguments}
config = LabellingConfig.model_validate({"engine": engine})
with (
    LabelCache(folder / "labels.db") as cache,
    Labeller(config, cache, folder / "work") as labeller,
):
    list(labeller.label([copper(seed) for seed in range(4)]))
"""


@pytest.fixture
def temporary_files() -> Iterator[Path]:
    """An empty folder with a short path, since sockets are made in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_campaign_leaves_nothing_behind(
    tmp_path: Path, temporary_files: Path, sent: signal.Signals
):
    campaign = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, str(tmp_path)],
        env=os.environ | {"TMPDIR": str(temporary_files)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("work/*/*/attempt-1/engine.log")):
            assert time.monotonic() < deadline, "no engine was started"
            assert campaign.poll() is None
            time.sleep(0.1)
        processes = psutil.Process(campaign.pid).children(recursive=True)
        assert any("engine_process" in " ".join(process.cmdline()) for process in processes)
        campaign.send_signal(sent)
        campaign.wait(timeout=60)
    finally:
        campaign.kill()
        campaign.wait()
    _, alive = psutil.wait_procs(processes, timeout=15)
    assert alive == []
    assert list(temporary_files.iterdir()) == []


def test_behaviours_survive_the_trip_to_the_worker():
    assert [behaviour_of(copper(0, behaviour)) for behaviour in FIVE_WAYS] == list(FIVE_WAYS)


def test_labels_of_two_versions_of_a_program_are_never_one_dataset(
    tmp_path: Path, misbehaving_config
):
    """VASP and pw.x tell their version only when they have run."""
    config = misbehaving_config()
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(config, cache, tmp_path / "work") as labeller,
    ):
        ((_, label),) = labeller.label([copper(0)])
        assert cache.engine_versions(labeller.level) == {label.engine_version} == {"1"}
        older = replace(label, structure_hash=content_hash(copper(1)), engine_version="0")
        cache.put(copper(1), older, labeller.level)
        assert len(list(labeller.label([copper(2)]))) == 1  # of a version that is there
    newer = config.model_copy(
        update={"engine": config.engine.model_copy(update={"program_version": "2"})}
    )
    with (
        LabelCache(tmp_path / "labels.db") as cache,
        Labeller(newer, cache, tmp_path / "newer") as labeller,
        pytest.raises(LabelError, match=r"computed by version 1, and the labels .* are of 2"),
    ):
        list(labeller.label([copper(0)]))
