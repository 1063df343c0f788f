"""Real density-functional calculations, small on purpose: two silicon atoms, few plane waves.

The engines run as they do in a campaign, in a process that a worker starts.
"""

import gzip
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from espresso_program import PSEUDOPOTENTIALS, needs_espresso
from gpaw import GPAW as GPAW_PROGRAM
from gpaw import PW, FermiDirac, setup_paths

from entrove.errors import LabelError
from entrove.labelling.attempt import Attempt, AttemptResult
from entrove.labelling.engines.base import Engine
from entrove.labelling.engines.cp2k import Cp2k
from entrove.labelling.engines.espresso import Espresso
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.execution import worker
from entrove.labelling.labels import Outcome

needs_cp2k = pytest.mark.skipif(
    shutil.which("cp2k.psmp") is None, reason="CP2K is not installed (Debian: cp2k cp2k-data)"
)

RYDBERG_eV, BOHR_A = 13.60569193, 0.52917721
"""CODATA 2006, which Quantum ESPRESSO and the reader of its output use.

Later values move energies by 2e-5 eV.
"""

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


def attempt(engine: Engine, folder: Path, rung: int = 0) -> AttemptResult:
    atoms = silicon()
    return worker.run_in_engine_process(
        Attempt.of(
            atoms,
            np.arange(len(atoms)),
            folder=folder,
            engine=engine.model_dump_json(),
            rung=rung,
            time_limit_s=300.0,
        )
    )


def hand_counted_kpoints(atoms: Atoms, spacing_per_A: float) -> tuple[int, int, int]:
    """2 pi |a_j x a_k| / V is the length of a reciprocal vector; no spacing exceeds the given."""
    a, b, c = atoms.cell.array
    volume = abs(np.dot(a, np.cross(b, c)))
    lengths = [
        2 * np.pi * np.linalg.norm(np.cross(*pair)) / volume for pair in ((b, c), (c, a), (a, b))
    ]
    first, second, third = (int(np.ceil(length / spacing_per_A)) for length in lengths)
    return first, second, third


@pytest.mark.gpaw
def test_gpaw_labels_equal_gpaw_called_directly(tmp_path: Path):
    end = attempt(GPAW, tmp_path)
    assert end.outcome is Outcome.CONVERGED
    atoms = silicon()
    # Written out by hand, so that a setting of the engine that never arrives would show.
    atoms.calc = GPAW_PROGRAM(
        mode=PW(250.0),
        xc="PBE",
        kpts=hand_counted_kpoints(atoms, 1.0),
        occupations=FermiDirac(0.1),
        convergence={"energy": 1e-4, "density": 1e-4},
        symmetry={"point_group": False},
        eigensolver={"name": "davidson", "niter": 1},
        txt=None,
    )
    # The same program from the same start: what differs is the order of floating-point sums.
    assert end.energy_eV == pytest.approx(
        atoms.get_potential_energy(force_consistent=True), abs=1e-6
    )
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
def test_gpaw_starts_from_the_moments_that_are_given(tmp_path: Path):
    """A hydrogen atom: its spin lowers the energy by 1 eV (1.1 eV in PBE at convergence)."""
    atoms = Atoms("H", cell=[4.0, 4.5, 5.0], pbc=True)
    paired = Gpaw(cutoff_eV=200.0, kpoint_spacing_per_A=2.0)
    polarised = paired.model_copy(update={"spin_polarised": True, "magnetic_moments": {"H": 1.0}})
    (tmp_path / "paired").mkdir()
    (tmp_path / "polarised").mkdir()
    gain = (
        paired.compute(atoms, tmp_path / "paired", 0).energy_eV
        - polarised.compute(atoms, tmp_path / "polarised", 0).energy_eV
    )
    assert 0.7 < gain < 1.3
    assert "Total magnetic moment" in (tmp_path / "polarised" / "gpaw.txt").read_text()


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


@pytest.mark.gpaw
@pytest.mark.parametrize("functional", ["LDA", "PBE", "RPBE", "revPBE"])
def test_the_level_has_the_datasets_that_gpaw_reads(tmp_path: Path, functional: str):
    """GPAW writes the MD5 sum of each file into its output."""
    engine = Gpaw(functional=functional, cutoff_eV=200, kpoint_spacing_per_A=2.0)
    engine.compute(bulk("Al"), tmp_path, 0)
    (written,) = re.findall(r"id: +([0-9a-f]{32})", (tmp_path / "gpaw.txt").read_text())
    folder = next(Path(path) for path in setup_paths if Path(path).is_dir())
    contents = [gzip.decompress(file.read_bytes()) for file in folder.glob("Al.*.gz")]
    (read,) = (c for c in contents if hashlib.md5(c, usedforsecurity=False).hexdigest() == written)
    bound = engine.bound_to(["Al"])
    assert bound.dataset_hashes == {"Al": hashlib.sha256(read).hexdigest()[:16]}


@pytest.mark.gpaw
@pytest.mark.parametrize("setups", [":d,6.0", {"Ni": ":d,6.0"}, {"default": "paw:d,6.0"}])
def test_a_hubbard_u_of_gpaw_is_no_dataset_and_counts(setups: str | dict[str, str]):
    plain, with_u = Gpaw().bound_to(["Ni"]), Gpaw(setups=setups).bound_to(["Ni"])
    assert with_u.dataset_hashes == plain.dataset_hashes
    assert with_u.theory() != plain.theory()


def run_by_hand(atoms: Atoms, folder: Path) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/A) by pw.x, its input and output written and read without ASE."""
    folder.mkdir()
    rows = [f"Si {x:.10f} {y:.10f} {z:.10f}" for x, y, z in atoms.positions]
    cell = [" ".join(f"{value:.10f}" for value in row) for row in atoms.cell.array]
    (folder / "si.in").write_text(
        f"""&control
 calculation='scf', tprnfor=.true., tstress=.true., pseudo_dir='{PSEUDOPOTENTIALS}', outdir='.'
/
&system
 ibrav=0, nat=2, ntyp=1, ecutwfc={250.0 / RYDBERG_eV}, ecutrho={1000.0 / RYDBERG_eV}, nosym=.true.,
 occupations='smearing', smearing='fermi-dirac', degauss={0.1 / RYDBERG_eV}
/
&electrons
 conv_thr={1e-6 / RYDBERG_eV}
/
ATOMIC_SPECIES
Si 28.0855 Si.pbe-rrkj.UPF
K_POINTS automatic
{" ".join(map(str, hand_counted_kpoints(atoms, 1.0)))} 0 0 0
CELL_PARAMETERS angstrom
"""
        + "\n".join([*cell, "ATOMIC_POSITIONS angstrom", *rows])
        + "\n"
    )
    text = subprocess.run(
        ["pw.x", "-in", "si.in"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    energy = float(re.findall(r"^!\s+total energy\s+=\s+(\S+) Ry", text, re.MULTILINE)[-1])
    total = text.partition("Forces acting on atoms")[2].partition("contrib. to forces")[0]
    forces = [
        [float(value) for value in line.split()[-3:]]
        for line in total.splitlines()
        if line.lstrip().startswith("atom ")
    ][:2]
    return energy * RYDBERG_eV, np.array(forces) * RYDBERG_eV / BOHR_A


@pytest.mark.espresso
@needs_espresso
def test_espresso_labels_equal_espresso_called_directly(tmp_path: Path):
    ESPRESSO.check_available()
    end = attempt(ESPRESSO, tmp_path / "label")
    assert end.outcome is Outcome.CONVERGED
    energy, forces = run_by_hand(silicon(), tmp_path / "direct")
    assert end.energy_eV == pytest.approx(energy, abs=1e-5)
    np.testing.assert_allclose(end.forces_eV_per_A, forces, atol=1e-4)
    assert end.engine_version.startswith(("6.", "7."))
    assert not list((tmp_path / "label").glob("pwscf.wfc*"))


@pytest.mark.espresso
@needs_espresso
def test_espresso_starts_with_a_magnetization_and_finds_that_silicon_has_none(tmp_path: Path):
    polarised = ESPRESSO.model_copy(update={"starting_magnetization": {"Si": 0.25}})
    ends = [attempt(ESPRESSO, tmp_path / "paired"), attempt(polarised, tmp_path / "polarised")]
    assert [end.outcome for end in ends] == [Outcome.CONVERGED] * 2
    written = (tmp_path / "polarised" / "espresso.pwi").read_text().replace(" ", "")
    assert "nspin=2" in written
    assert "starting_magnetization(1)=0.25" in written
    assert "total magnetization" in (tmp_path / "polarised" / "espresso.pwo").read_text()
    assert ends[0].energy_eV == pytest.approx(ends[1].energy_eV, abs=1e-4)


@pytest.mark.espresso
@needs_espresso
def test_forces_of_a_hybrid_functional_are_the_slope_of_its_energy(tmp_path: Path):
    """Before exact exchange is switched on pw.x prints another energy, 10 eV away."""
    system = {"input_dft": "pbe0", "nqx1": 1, "nqx2": 1, "nqx3": 1}
    system |= {"x_gamma_extrapolation": False, "exxdiv_treatment": "none"}
    hybrid = Espresso(
        pseudopotential_folder=PSEUDOPOTENTIALS,
        pseudopotentials={"Si": "Si.pz-vbc.UPF"},
        cutoff_eV=163.0,
        kpoint_spacing_per_A=3.0,
        energy_convergence_eV=1e-8,
        input={"system": system},
    )
    computed = []
    for number, shift in enumerate((-0.01, 0.0, 0.01)):
        atoms = silicon()
        atoms.positions[0, 2] += shift
        folder = tmp_path / str(number)
        folder.mkdir()
        computed.append(hybrid.compute(atoms, folder, rung=0))
    slope = (computed[2].energy_eV - computed[0].energy_eV) / 0.02
    assert computed[1].forces_eV_per_A[0, 2] == pytest.approx(-slope, abs=2e-3)
    text = (tmp_path / "1" / "espresso.pwo").read_text()
    [last] = re.findall(r"^!! +total energy += +(\S+) Ry", text, re.MULTILINE)
    assert computed[1].energy_eV == pytest.approx(float(last) * RYDBERG_eV, abs=1e-6)


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
    energies = [
        attempt(ESPRESSO, tmp_path / str(rung), rung).energy_eV for rung in range(Espresso.rungs)
    ]
    # conv_thr is 1e-6 eV for the cell.
    assert np.ptp(energies) < 1e-4


@pytest.mark.espresso
@needs_espresso
def test_espresso_that_crashes_says_why(tmp_path: Path):
    broken = ESPRESSO.model_copy(update={"input": {"electrons": {"diagonalization": "nonsense"}}})
    end = attempt(broken, tmp_path)
    assert end.outcome is Outcome.CRASHED
    assert "pw.x: error in routine" in end.cause


def test_missing_programs_and_files_are_named_before_anything_runs(tmp_path: Path):
    with pytest.raises(LabelError, match=r"the program 'no_such_pw\.x' of command"):
        ESPRESSO.model_copy(update={"command": "no_such_pw.x"}).check_available()
    with pytest.raises(LabelError, match="the program 'no_such_mpirun' of command"):
        ESPRESSO.model_copy(
            update={"command": "no_such_mpirun -np {cores} pw.x"}
        ).check_available()
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
    """Two codes, two basis sets, one functional: a coarse cutoff leaves some 0.05 eV/A."""
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
