"""Real density-functional calculations, small on purpose: two silicon atoms, few plane waves.

The engines run as they do in a campaign, in a process that a worker starts.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from entrove.errors import LabelError
from entrove.labelling import worker
from entrove.labelling.attempt import Attempt, AttemptEnd, describe_atoms
from entrove.labelling.engines.base import Engine
from entrove.labelling.engines.cp2k import Cp2k
from entrove.labelling.engines.espresso import Espresso
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.label import Outcome

PSEUDOPOTENTIALS = Path("/usr/share/espresso/pseudo")
needs_espresso = pytest.mark.skipif(
    shutil.which("pw.x") is None or not (PSEUDOPOTENTIALS / "Si.pbe-rrkj.UPF").exists(),
    reason="Quantum ESPRESSO with its example pseudopotentials is not installed "
    "(Debian: quantum-espresso quantum-espresso-data)",
)
needs_cp2k = pytest.mark.skipif(
    shutil.which("cp2k.psmp") is None, reason="CP2K is not installed (Debian: cp2k cp2k-data)"
)

GPAW = Gpaw(cutoff_eV=250.0, kpoint_spacing_per_A=1.0)
ESPRESSO = Espresso(
    pseudopotential_folder=PSEUDOPOTENTIALS,
    pseudopotentials={"Si": "Si.pbe-rrkj.UPF"},
    cutoff_eV=250.0,
    kpoint_spacing_per_A=1.0,
)
CP2K = Cp2k(cutoff_eV=2000.0, relative_cutoff_eV=500.0, kpoint_spacing_per_A=1.0)


def silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.4)
    atoms.rattle(0.05, rng=np.random.default_rng(1))
    return atoms


@pytest.fixture(autouse=True)
def _no_engine_left() -> Iterator[None]:
    yield
    worker._stop_current()


def attempt(engine: Engine, folder: Path, rung: int = 0) -> AttemptEnd:
    atoms = silicon()
    return worker.run_attempt(
        Attempt(
            folder=str(folder),
            engine=engine.model_dump_json(),
            rung=rung,
            time_limit_s=300.0,
            **describe_atoms(atoms, np.arange(len(atoms))),
        )
    )


@pytest.mark.gpaw
def test_gpaw_labels_equal_gpaw_called_directly(tmp_path: Path):
    end = attempt(GPAW, tmp_path)
    assert end.outcome is Outcome.CONVERGED
    atoms = silicon()
    atoms.calc = GPAW.calculator(atoms)
    # The same program from the same start: what differs is the order of floating-point sums.
    assert end.energy_eV == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-6)
    np.testing.assert_allclose(end.forces_eV_per_A, atoms.get_forces(), atol=1e-5)
    assert end.engine_version
    assert (tmp_path / "gpaw.txt").read_text().count("iter:") > 3


@pytest.mark.gpaw
@pytest.mark.slow
def test_gpaw_forces_are_derivatives_of_the_energy_that_is_stored(tmp_path: Path):
    """The free energy, not its extrapolation to zero smearing, is what forces belong to.

    Egg-box and self-consistency errors of these coarse settings are of the order of 0.01 eV/A.
    """
    atoms, step = silicon(), 0.02
    forces = attempt(GPAW, tmp_path).forces_eV_per_A
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 1] += sign * step
        energies.append(GPAW.compute(moved, tmp_path, 0).energy_eV)
    assert forces is not None
    assert forces[0][1] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=0.02)


@pytest.mark.gpaw
def test_gpaw_says_when_it_did_not_converge(tmp_path: Path):
    end = attempt(GPAW.model_copy(update={"max_scf_steps": 2}), tmp_path)
    assert end.outcome is Outcome.NOT_CONVERGED
    assert "no self-consistency after 2 steps" in end.cause


@pytest.mark.gpaw
@pytest.mark.slow
def test_every_rung_of_gpaw_reaches_the_same_energy(tmp_path: Path):
    energies = [attempt(GPAW, tmp_path / str(rung), rung).energy_eV for rung in range(Gpaw.rungs)]
    # Convergence is 1e-4 eV per valence electron, of which there are eight.
    assert np.ptp(energies) < 1e-3


@pytest.mark.gpaw
def test_gpaw_knows_its_datasets_and_functionals():
    assert GPAW.uncovered(["Si", "Na", "Po"]) == ["Po"]
    with pytest.raises(LabelError, match="needs a GPAW that is built with libxc"):
        Gpaw(functional="SCAN").check_available()


@pytest.mark.espresso
@needs_espresso
def test_espresso_labels_equal_espresso_called_directly(tmp_path: Path):
    ESPRESSO.check_available()
    end = attempt(ESPRESSO, tmp_path / "label")
    assert end.outcome is Outcome.CONVERGED
    atoms = silicon()
    (tmp_path / "direct").mkdir()
    atoms.calc = ESPRESSO.calculator(atoms, tmp_path / "direct")
    assert end.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    np.testing.assert_allclose(end.forces_eV_per_A, atoms.get_forces(), atol=1e-4)
    assert end.engine_version.startswith(("6.", "7."))
    assert not list((tmp_path / "label").glob("pwscf.wfc*"))


@pytest.mark.espresso
@needs_espresso
def test_espresso_says_when_it_did_not_converge(tmp_path: Path):
    end = attempt(ESPRESSO.model_copy(update={"max_scf_steps": 2}), tmp_path)
    assert end.outcome is Outcome.NOT_CONVERGED
    assert "convergence NOT achieved after   2 iterations" in end.cause


@pytest.mark.espresso
@pytest.mark.slow
@needs_espresso
def test_every_rung_of_espresso_reaches_the_same_energy(tmp_path: Path):
    energies = [attempt(ESPRESSO, tmp_path / str(rung), rung).energy_eV for rung in range(Espresso.rungs)]
    # conv_thr is 1e-6 eV for the cell.
    assert np.ptp(energies) < 1e-4


@pytest.mark.espresso
@needs_espresso
def test_espresso_that_crashes_says_why(tmp_path: Path):
    broken = ESPRESSO.model_copy(update={"input": {"control": {"calculation": "nonsense"}}})
    end = attempt(broken, tmp_path)
    assert end.outcome is Outcome.CRASHED
    assert "pw.x: error in routine" in end.cause


def test_missing_programs_and_files_are_named_before_anything_runs(tmp_path: Path):
    with pytest.raises(LabelError, match=r"the program 'no_such_pw\.x' of command"):
        ESPRESSO.model_copy(update={"command": "no_such_pw.x"}).check_available()
    with pytest.raises(LabelError, match="the program 'no_such_mpirun' of command"):
        ESPRESSO.model_copy(update={"command": "no_such_mpirun -np {cores} pw.x"}).check_available()
    with pytest.raises(LabelError, match=r"the program 'no_such_cp2k' of command"):
        Cp2k(command="no_such_cp2k -s").check_available()
    assert ESPRESSO.uncovered(["Si", "C"]) == ["C"]


@needs_espresso
def test_a_missing_pseudopotential_is_named(tmp_path: Path):
    with pytest.raises(LabelError, match=r"no pseudopotential Si\.pbe-rrkj\.UPF in"):
        ESPRESSO.model_copy(update={"pseudopotential_folder": tmp_path}).check_available()


@pytest.mark.espresso
@needs_cp2k
@needs_espresso
def test_cp2k_and_espresso_agree_on_forces(tmp_path: Path):
    """Two codes, two basis sets, one functional: what is left is a coarse cutoff, some 0.05 eV/A."""
    CP2K.check_available()
    ours = attempt(CP2K, tmp_path / "cp2k")
    theirs = attempt(ESPRESSO, tmp_path / "espresso")
    assert ours.outcome is Outcome.CONVERGED, ours.cause
    np.testing.assert_allclose(ours.forces_eV_per_A, theirs.forces_eV_per_A, atol=0.05)
    # The signs of stress are what is easily wrong: both are tensile-positive, in eV/A^3.
    np.testing.assert_allclose(ours.stress_eV_per_A3, theirs.stress_eV_per_A3, atol=0.01)


@needs_cp2k
def test_cp2k_says_when_it_did_not_converge(tmp_path: Path):
    end = attempt(CP2K.model_copy(update={"max_scf_steps": 2}), tmp_path)
    assert end.outcome is Outcome.NOT_CONVERGED
    assert "SCF run NOT converged" in end.cause
