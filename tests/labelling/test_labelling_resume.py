from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from killing import kill_and_resume
from misbehaving import copper

from entrove.labelling.attempt import RESULT_FILE
from entrove.labelling.execution.executor import AttemptExecutor
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Outcome
from entrove.labelling.store.cache import LabelCache


@pytest.mark.parametrize(
    ("kills", "labels"),
    [(1, 8), pytest.param(50, 220, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])],
)
def test_killed_at_any_moment_and_resumed_equals_never_killed(
    tmp_path: Path, kills: int, labels: int
):
    report = kill_and_resume(tmp_path, kills=kills, labels=labels, seed=kills)
    assert report.kills_while_labelling > 0
    assert asdict(report) | {"kills": 0, "kills_while_labelling": 0} == {
        "kills": 0,
        "kills_while_labelling": 0,
        "repeated": [],
        "lost": [],
        "damaged": [],
    }
    with LabelCache(tmp_path / "labels.db") as cache:
        (level,) = cache.levels()
        for index in range(labels):
            atoms = copper(index)
            label = cache.get(atoms, level)
            atoms.calc = EMT()
            assert label is not None
            assert label.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
            np.testing.assert_allclose(label.forces_eV_per_A, atoms.get_forces(), atol=1e-10)


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_result_that_was_emptied_or_cut_is_an_attempt_that_never_finished(
    tmp_path: Path, workers: AttemptExecutor, misbehaving_config, kept: int, zeros: bool
):
    work = tmp_path / "work"
    with (
        LabelCache(tmp_path / "first.db") as cache,
        Labeller(misbehaving_config(), cache, work, workers) as labeller,
    ):
        ((_, first),) = labeller.label([copper(0)])
    result = Path(first.folder) / RESULT_FILE
    whole = result.read_bytes()
    result.write_bytes(whole[:kept] + bytes(len(whole) * zeros))
    with (
        LabelCache(tmp_path / "second.db") as cache,
        Labeller(misbehaving_config(), cache, work, workers) as labeller,
    ):
        ((_, second),) = labeller.label([copper(0)])
    assert (second.outcome, second.attempts) == (Outcome.CONVERGED, 1)
    assert second.energy_eV == first.energy_eV
    assert Path(second.folder).name == "attempt-2"
