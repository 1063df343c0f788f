"""VASP's engine with stored outputs in VASP's formats, see vasp_outputs/README.md.

The command copies the stored files to where VASP would have written them, so everything but VASP
itself is exercised: inputs, sorting of species, units, signs, and how it is told that it
converged.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.units import GPa

from entrove.errors import LabelError
from entrove.labelling.attempt import Attempt, AttemptResult
from entrove.labelling.engines.vasp import Vasp
from entrove.labelling.execution.engine_process import run_engine
from entrove.labelling.labels import Outcome

STORED = Path(__file__).parent / "vasp_outputs"


def salt() -> Atoms:
    """Na first and species mixed: VASP's order is another one."""
    scaled = [[0.01, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5], [0.5, 0.5, 0.5]]
    return Atoms("NaCl2Na", scaled_positions=scaled, cell=[5.64, 3.9880822, 3.9880822], pbc=True)


@pytest.fixture
def potentials(tmp_path: Path) -> Path:
    for name, title in (("Na_pv", "PAW_PBE Na_pv 19Sep2006"), ("Cl", "PAW_PBE Cl 06Sep2000")):
        folder = tmp_path / "potentials" / "potpaw_PBE" / name
        folder.mkdir(parents=True)
        (folder / "POTCAR").write_text(f"  {title}\n End of Dataset\n")
    return tmp_path / "potentials"


def run(
    folder: Path,
    potentials: Path,
    outcar: str,
    vasprun: str = "vasprun.xml",
    rung: int = 0,
    **settings: object,
) -> AttemptResult:
    copies = (
        f"cp '{STORED}/{outcar}' OUTCAR; cp '{STORED}/CONTCAR' .; "
        f"cp '{STORED}/{vasprun}' vasprun.xml"
    )
    engine = Vasp.model_validate(
        {
            "potential_folder": potentials,
            "setups": {"Na": "_pv"},
            "command": copies,
            "kpoint_spacing_per_A": 0.9,
            **settings,
        }
    )
    folder.mkdir()
    atoms = salt()
    attempt = Attempt.of(
        atoms,
        np.arange(4),
        folder=folder,
        engine=engine.model_dump_json(),
        rung=rung,
        time_limit_s=60.0,
    )
    return run_engine(engine, "", attempt)


def test_a_converged_run_is_read_in_our_order_units_and_signs(
    tmp_path: Path, potentials: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VASP_PP_PATH", "")
    end = run(tmp_path / "run", potentials, "OUTCAR")
    assert end.outcome is Outcome.CONVERGED, end.cause
    # The free energy, which forces are the derivative of, and not energy(sigma->0).
    assert end.energy_eV == pytest.approx(-13.54172305)
    forces_x = [force[0] for force in end.forces_eV_per_A]
    assert forces_x == pytest.approx([-0.1082345, 0.0561234, 0.0345123, 0.0175988])
    assert end.engine_version == "6.4.2"
    # VASP writes kbar, and positive means compressed.
    assert end.stress_eV_per_A3[0][0] == pytest.approx(-1.121 * GPa)
    assert end.stress_eV_per_A3[0][1] == pytest.approx(-0.031 * GPa)


def test_what_vasp_is_given(tmp_path: Path, potentials: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VASP_PP_PATH", "")
    run(tmp_path / "first", potentials, "OUTCAR")
    incar = (tmp_path / "first" / "INCAR").read_text()
    for line in (
        "ENCUT = 520.000000",
        "ISMEAR = -1",
        "ISYM = 0",
        "NSW = 0",
        "NELM = 100",
        "LREAL = .FALSE.",
    ):
        assert line in incar
    assert "ALGO" not in incar
    assert (tmp_path / "first" / "KPOINTS").read_text().split("\n")[2:4] == ["Gamma", "2 2 2"]
    run(tmp_path / "second", potentials, "OUTCAR", rung=1)
    incar = (tmp_path / "second" / "INCAR").read_text()
    assert "ALGO = All" in incar
    assert "NELM = 300" in incar


def test_moments_give_two_spin_channels(
    tmp_path: Path, potentials: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VASP_PP_PATH", "")
    run(tmp_path / "run", potentials, "OUTCAR", magnetic_moments={"Na": 1.5})
    incar = (tmp_path / "run" / "INCAR").read_text()
    assert "ISPIN = 2" in incar
    # In the order of the POSCAR: sodium first.
    assert "MAGMOM = 2*1.5000 2*0.0000" in incar


def test_cells_of_elements_without_moments_start_from_zero_as_the_same_elements_in_others(
    tmp_path: Path, potentials: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without MAGMOM, VASP starts each atom from 1: another state than beside iron, one level."""
    monkeypatch.setenv("VASP_PP_PATH", "")
    run(tmp_path / "run", potentials, "OUTCAR", magnetic_moments={"Fe": 2.2})
    incar = (tmp_path / "run" / "INCAR").read_text()
    assert "ISPIN = 2" in incar
    assert "MAGMOM = 4*0.0000" in incar


def test_vasp_ends_normally_without_convergence_and_is_not_believed(
    tmp_path: Path, potentials: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VASP_PP_PATH", "")
    end = run(tmp_path / "run", potentials, "OUTCAR.unconverged")
    assert end.outcome is Outcome.NOT_CONVERGED
    assert end.cause == "VASP left its loop EDIFF was not reached (unconverged)"


@pytest.mark.parametrize(
    ("steps", "limit", "converged"), [(100, 100, False), (99, 100, True), (12, 12, False)]
)
def test_the_phrase_of_vasp_5_is_not_believed_after_all_its_steps(
    tmp_path: Path,
    potentials: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    limit: int,
    converged: bool,
):
    """VASP 5 says that EDIFF is reached also when it has only made NELM steps."""
    monkeypatch.setenv("VASP_PP_PATH", "")
    text = (STORED / "OUTCAR").read_text()
    text = text.replace("NELM   =    100;", f"NELM   = {limit:6d};").replace(
        "Iteration      1(  12)", f"Iteration      1({steps:4d})"
    )
    (tmp_path / "OUTCAR").write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "STORED", tmp_path)
    for name in ("CONTCAR", "vasprun.xml"):
        shutil.copy(Path(__file__).parent / "vasp_outputs" / name, tmp_path)
    end = run(tmp_path / "run", potentials, "OUTCAR")
    assert end.outcome is (Outcome.CONVERGED if converged else Outcome.NOT_CONVERGED)
    assert converged or f"VASP made all NELM = {limit} electronic steps" in end.cause


def test_a_truncated_output_is_a_crash(
    tmp_path: Path, potentials: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VASP_PP_PATH", "")
    end = run(tmp_path / "run", potentials, "OUTCAR", "vasprun.truncated.xml")
    assert end.outcome is Outcome.CRASHED


def test_missing_vasp_and_potentials_are_named(tmp_path: Path, potentials: Path):
    engine = Vasp(potential_folder=potentials, setups={"Na": "_pv"}, command="no_such_vasp")
    with pytest.raises(
        LabelError, match="the program 'no_such_vasp' of command 'no_such_vasp' is not on PATH"
    ):
        engine.check_available()
    with pytest.raises(LabelError, match="potential_folder is the folder that holds potpaw_PBE"):
        Vasp(potential_folder=tmp_path, command="ls").check_available()
    assert engine.uncovered(["Na", "Cl", "K"]) == ["K"]
    assert Vasp(potential_folder=potentials).uncovered(["Na"]) == ["Na"]
