"""Outputs of DFT codes: which steps converged, and labels in eV, eV/A and eV/A^3."""

import itertools
import re
import shutil
from pathlib import Path

import ase.test
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from ase.units import Hartree, bar
from needed import needs_gpaw

from entrove.formats import read_frames, write_frames
from entrove.formats.reading import CONVERGENCE_UNKNOWN

OUTPUTS = Path(__file__).parent / "outputs"
OUTCAR = Path(ase.test.__file__).parent / "testdata" / "vasp" / "OUTCAR_example_1"
AIMS = Path(ase.test.__file__).parent / "testdata" / "aims"
AIMS_FAILED = (
    "* WARNING! SELF-CONSISTENCY CYCLE DID NOT CONVERGE",
    "** scf_solver: SCF cycle not converged.",
)


def varray(name: str, rows: np.ndarray) -> str:
    lines = "".join(f"<v> {' '.join(f'{x:16.8f}' for x in row)} </v>\n" for row in rows)
    return f'<varray name="{name}">\n{lines}</varray>\n'


def vasprun(atoms: Atoms, steps: list[list[float]], *, nelm=4, ediff=1e-5, isif=2) -> str:
    """A vasprun.xml after the format of VASP 6, with the given energies of electronic steps.

    The energy of zero smearing is 0.25 eV above the free energy.
    """
    structure = f"<crystal>{varray('basis', atoms.cell.array)}</crystal>" + varray(
        "positions", atoms.get_scaled_positions()
    )
    text = f"""<?xml version="1.0" encoding="ISO-8859-1"?><modeling>
<kpoints>{varray("kpointlist", np.zeros((1, 3)))}<varray name="weights"><v>1</v></varray></kpoints>
<parameters><i type="int" name="NELM"> {nelm}</i><i name="EDIFF"> {ediff}</i>
<i type="int" name="ISIF"> {isif}</i></parameters>
<atominfo><array name="atoms"><set>{"".join(f"<rc><c>{s}</c><c>1</c></rc>" for s in atoms.symbols)}
</set></array></atominfo><structure name="initialpos">{structure}</structure>
"""
    for energies in steps:
        text += "<calculation>\n"
        for energy in energies:
            text += f'<scstep><energy><i name="e_fr_energy">{energy}</i>'
            text += f'<i name="e_0_energy">{energy + 0.25}</i></energy></scstep>\n'
        last = energies[-1] if energies else -1.0
        values = "".join(
            f'<i name="{name}">{last}</i>' for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        )
        text += f"<structure>{structure}</structure>{varray('forces', np.zeros((len(atoms), 3)))}"
        text += f"{varray('stress', 10 * np.eye(3))}<energy>{values}</energy></calculation>\n"
    return text + "</modeling>\n"


def test_a_step_of_vasprun_converged_when_it_needed_fewer_steps_than_nelm(tmp_path):
    path = tmp_path / "vasprun.xml"
    steps = [
        [-1.0, -2.0, -2.0],  # fewer
        [-1.0, -2.0, -3.0, -4.0],  # as many, still falling
        [-1.0, -2.0, -3.0, -3.000001],  # as many, below EDIFF
        [],  # a step of a machine-learned force field
    ]
    path.write_text(vasprun(bulk("Si"), steps))
    frames = list(read_frames(path))
    assert [frame.converged for frame in frames] == [True, False, True, None]
    assert [frame.atoms.calc.results["free_energy"] for frame in frames[:3]] == [-2, -4, -3.000001]
    assert "machine-learned" in frames[3].problem
    assert any("NELM = 4" in note for note in frames[1].notes)


@pytest.mark.parametrize(
    "path",
    [
        OUTCAR.with_name("vasprun_pstress.xml"),
        Path(__file__).parents[1] / "labelling/engines/vasp_outputs/vasprun.xml",
    ],
)
def test_vasprun_is_read_as_ase_reads_it(path):
    (frame,) = read_frames(path)
    expected = read(path)
    assert (frame.atoms.numbers == expected.numbers).all()
    assert (frame.atoms.cell == expected.cell).all()
    assert frame.atoms.positions == pytest.approx(expected.positions, abs=1e-12)
    for name in ("energy", "free_energy", "forces", "stress"):
        # The constants of CODATA 2014 and 2018 differ by 1e-8.
        assert frame.atoms.calc.results[name] == pytest.approx(
            expected.calc.results[name], rel=1e-7
        )


@pytest.mark.parametrize("kept", [0.35, 0.6, 0.9])
def test_a_vasprun_of_a_killed_job_names_the_step_in_which_it_ends(tmp_path, kept):
    path = tmp_path / "vasprun.xml"
    text = vasprun(bulk("Si"), [[-1.0, -2.0], [-1.0, -3.0]])
    begin = text.index("<calculation>") + 20
    path.write_text(text[: begin + int(kept * (len(text) - begin))])
    *good, last = read_frames(path)
    assert [frame.atoms.get_potential_energy() for frame in good] == [-1.75] * len(good)
    assert "ends inside this ionic step" in last.problem


def test_a_trace_is_no_stress(tmp_path):
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun(bulk("Si"), [[-1.0, -2.0]], isif=1))
    (frame,) = read_frames(path)
    assert frame.labels == ("energy", "forces")
    assert any("ISIF = 1" in note for note in frame.notes)


def outcar_of(steps: list[tuple[int, str]]) -> str:
    """The OUTCAR of ASE's tests with several ionic steps: (electronic steps, how they ended)."""
    text = OUTCAR.read_text()
    begin = text.index(re.search(r"-+ Iteration", text)[0])
    head, step = text[:begin], text[begin:]
    end = step.index("energy  without entropy=", step.index("FREE ENERGIE OF THE ION"))
    step = step[: step.index("\n", end) + 1]
    tail = step[step.rindex("Iteration") :]
    tail = tail[tail.index("\n") :]
    tail = re.sub(r"aborting loop.*", "aborting loop ENDED", tail)
    parts = [head]
    for ionic, (electronic, ended) in enumerate(steps, start=1):
        parts += [
            f"--- Iteration {ionic:6d}({number:4d})  ---\n" for number in range(1, electronic + 1)
        ]
        parts.append(tail.replace("aborting loop ENDED", ended) + "\n")
    return "".join(parts)


def test_a_step_of_outcar_is_judged_by_its_number_of_electronic_steps(tmp_path):
    """VASP 5 prints "EDIFF is reached" after NELM steps, too."""
    nelm = int(re.search(r"NELM\s*=\s*(\d+)", OUTCAR.read_text())[1])
    reached, failed = (
        "aborting loop because EDIFF is reached",
        "aborting loop EDIFF was not reached",
    )
    path = tmp_path / "OUTCAR"
    text = outcar_of([(7, reached), (nelm, reached), (9, failed + " reached (unconverged)")])
    path.write_text(re.sub(r"total energy-change .*", "total energy-change : -0.5E+00", text))
    frames = list(read_frames(path))
    assert [frame.converged for frame in frames] == [True, False, False]
    assert all(frame.labels == ("energy", "forces", "stress") for frame in frames)


@pytest.mark.parametrize("failing", [0, 1])
def test_each_run_in_one_outcar_is_judged_by_its_own_steps_and_settings(tmp_path, failing):
    """Single points are put into one file by `cat */OUTCAR`; all of their steps are the first."""
    run = re.sub(r"total energy-change .*", "total energy-change : -0.5E+00", OUTCAR.read_text())
    steps = max(int(step) for step in re.findall(r"Iteration +1\( *(\d+)\)", run))
    runs = [run, run]
    runs[failing] = re.sub(r"(NELM\s*=\s*)\d+", rf"\g<1>{steps}", run)
    path = tmp_path / "OUTCAR"
    path.write_text("".join(runs))
    frames = list(read_frames(path))
    assert [frame.converged for frame in frames] == [place != failing for place in (0, 1)]


def test_an_output_without_a_verdict_says_that_it_has_none(tmp_path):
    path = tmp_path / "OUTCAR"
    text = OUTCAR.read_text()
    path.write_text(text)
    (frame,) = read_frames(path)
    assert CONVERGENCE_UNKNOWN not in frame.notes
    path.write_text(re.sub(r"aborting loop.*", "", text))
    (silent,) = read_frames(path)
    assert silent.converged is None
    assert silent.notes == (*frame.notes, CONVERGENCE_UNKNOWN)
    # Formats of labels, in which silence is usual.
    write(tmp_path / "a.traj", silent.atoms)
    write(tmp_path / "a.json", silent.atoms)
    write_frames(tmp_path / "a.xyz", [silent])
    write_frames(tmp_path / "a.db", [silent])
    write_frames(tmp_path / "system", [silent])
    for name in ("a.traj", "a.json", "a.xyz", "a.db", "system"):
        (again,) = read_frames(tmp_path / name)
        assert again.labels[:2] == ("energy", "forces")
        assert CONVERGENCE_UNKNOWN not in again.notes


def test_an_outcar_of_a_killed_job_names_the_step_in_which_it_ends(tmp_path):
    path = tmp_path / "OUTCAR"
    text = outcar_of([(7, "aborting loop because EDIFF is reached")])
    path.write_text(text + "--- Iteration      2(   1)  ---\n POTLOK: cpu time 0.1\n")
    first, second = read_frames(path)
    assert first.converged
    assert "ends inside this ionic step" in second.problem


def test_a_folder_of_vasp_is_read_from_the_file_with_more_digits(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vasprun.xml").write_text(vasprun(bulk("Si"), [[-1.0, -2.0]]))
        shutil.copy(OUTCAR, tmp_path / name / "OUTCAR")
    (tmp_path / "c").mkdir()
    shutil.copy(OUTCAR, tmp_path / "c" / "OUTCAR")
    sources = [Path(frame.source) for frame in read_frames(tmp_path)]
    expected = [Path("a/vasprun.xml"), Path("b/vasprun.xml"), Path("c/OUTCAR")]
    assert [source.relative_to(tmp_path) for source in sources] == expected


def test_espresso_steps_and_labels():
    frames = list(read_frames(OUTPUTS / "espresso_md.out"))
    assert [frame.converged for frame in frames] == [True] * 3
    assert all(frame.labels == ("energy", "forces", "stress") for frame in frames)
    text = (OUTPUTS / "espresso_md.out").read_text()
    pressures_kbar = [float(found) for found in re.findall(r"\(kbar\)\s+P=\s*([-\d.]+)", text)]
    ours = [-np.mean(frame.atoms.get_stress()[:3]) / (1000 * bar) for frame in frames]
    assert ours == pytest.approx(pressures_kbar, abs=0.01)  # two decimals are printed


def test_espresso_that_did_not_converge_is_named():
    (frame,) = read_frames(OUTPUTS / "espresso_unconverged.out")
    assert frame.converged is False
    assert frame.labels == ()
    assert "NOT achieved" in frame.notes[0]


def test_espresso_energies_of_a_hybrid_functional_have_exact_exchange(tmp_path):
    path = OUTPUTS / "espresso_hybrid_md.out"
    frames = list(read_frames(path))
    printed = re.findall(r"^(!+) +total energy +=\s*(\S+) Ry", path.read_text(), re.MULTILINE)
    with_exchange = [float(energy) for marks, energy in printed if marks == "!!"]
    assert (len(printed), len(with_exchange)) == (12, 3)
    assert [frame.converged for frame in frames] == [True] * 3
    # ASE reads Rydberg by CODATA 2006.
    energies = [frame.atoms.get_potential_energy() / 13.60569193 for frame in frames]
    assert energies == pytest.approx(with_exchange, abs=1e-7)
    # The work of the forces along this trajectory is what the energy loses.
    work = 0.0
    for one, next_one in itertools.pairwise(frames):
        force = (one.atoms.get_forces() + next_one.atoms.get_forces()) / 2
        work += float(np.sum(force * (next_one.atoms.positions - one.atoms.positions)))
    change = frames[-1].atoms.get_potential_energy() - frames[0].atoms.get_potential_energy()
    assert change == pytest.approx(-work, rel=1e-3)


def test_espresso_that_did_not_refine_exact_exchange_is_not_converged(tmp_path):
    lines = (OUTPUTS / "espresso_hybrid_md.out").read_text().splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if line.startswith("!!"))
    path = tmp_path / "pw.out"
    path.write_text("".join(lines[:last]))
    frames = list(read_frames(path))
    assert [frame.converged for frame in frames] == [True, True, False]
    assert "exact exchange" in frames[-1].notes[-1]


def test_espresso_that_was_killed_is_named(tmp_path):
    text = (OUTPUTS / "espresso_md.out").read_text()
    path = tmp_path / "md.out"
    path.write_text(text[: text.rindex("!    total energy")])
    *good, last = read_frames(path)
    assert [frame.labels for frame in good] == [("energy", "forces", "stress")] * 2
    assert "ends before its energy" in last.problem


@needs_gpaw
def test_gpaw_text_has_stress_free_energy_and_convergence():
    frames = list(read_frames(OUTPUTS / "gpaw_md.txt"))
    assert [frame.converged for frame in frames] == [True, True]
    assert all(frame.labels == ("energy", "forces", "stress") for frame in frames)
    assert [frame.atoms.calc.results["free_energy"] for frame in frames] == [
        -10.376163,
        -10.325713,
    ]
    # The stress that the same run wrote to its .gpw, with six decimals in the text.
    expected = [-0.02518159, -0.03255127, -0.02989531, 0.00742786, 0.05077493, 0.02135403]
    assert frames[1].atoms.get_stress() == pytest.approx(expected, abs=6e-7)


@needs_gpaw
def test_gpaw_that_did_not_converge_is_named():
    (frame,) = read_frames(OUTPUTS / "gpaw_unconverged.txt")
    assert frame.converged is False
    assert "no energy" in frame.problem


def test_cp2k_steps_have_positions_from_the_trajectory_beside_the_output():
    frames = list(read_frames(OUTPUTS / "cp2k_md.out"))
    assert [frame.converged for frame in frames] == [True] * 3
    trajectory = list(read_frames(OUTPUTS / "md-pos-1.xyz"))
    for frame, at_step in zip(frames, trajectory, strict=True):
        assert (frame.atoms.positions == at_step.atoms.positions).all()
    energies_Ha = [-17.060561771094370, -17.072504657642753, -17.100142563608244]
    assert [frame.atoms.get_potential_energy() / Hartree for frame in frames] == pytest.approx(
        energies_Ha, rel=1e-14
    )
    assert frames[0].atoms.cell.lengths() == pytest.approx([5, 5, 5.2])


def test_the_stress_of_cp2k_has_the_sign_of_its_pressure():
    """The pressure of MD is minus a third of the trace, and two thirds of the kinetic energy."""
    text = (OUTPUTS / "cp2k_md.out").read_text()
    pressures_bar = re.findall(r"MD\| Pressure \[bar\]\s+(\S+)", text)
    kinetic_Ha = re.findall(r"MD\| Kinetic energy \[hartree\]\s+(\S+)", text)
    frames = list(read_frames(OUTPUTS / "cp2k_md.out"))[1:]
    for frame, pressure, kinetic in zip(frames, pressures_bar, kinetic_Ha, strict=True):
        atoms = frame.atoms
        ideal = 2 * float(kinetic) * Hartree / (3 * atoms.cell.volume)
        expected = ideal - np.mean(atoms.get_stress()[:3])
        assert float(pressure) * bar == pytest.approx(expected, rel=1e-6)


def test_cp2k_without_its_trajectory_names_the_steps_that_have_no_positions(tmp_path):
    path = tmp_path / "md.out"
    shutil.copy(OUTPUTS / "cp2k_md.out", path)
    first, *others = read_frames(path)
    assert first.labels == ("energy", "forces", "stress")
    assert all("no positions of step" in frame.problem for frame in others)


def test_cp2k_that_did_not_converge_is_named():
    (frame,) = read_frames(OUTPUTS / "cp2k_unconverged.out")
    assert frame.converged is False


def test_without_gpaw_its_recent_text_is_named_and_not_called_unknown(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (frame,) = read_frames(OUTPUTS / "gpaw_md.txt")
    assert frame.atoms is None
    assert frame.problem is not None
    assert "comes with GPAW, which is not installed" in frame.problem


def aims_output(name: str) -> str:
    """A real output of ASE's tests, whose first lines were left out there."""
    return "          Invoking FHI-aims ...\n" + AIMS.joinpath(f"{name}.out").read_text()


@pytest.mark.parametrize(
    ("output", "structures"), [("singlepoint", 1), ("relax", 8), ("md", 5), ("socket", 6)]
)
@pytest.mark.parametrize("phrase", AIMS_FAILED)
def test_each_structure_of_aims_has_its_own_verdict(tmp_path, output, structures, phrase):
    """The real outputs start their mixer again in the first structure, which is no verdict."""
    text = aims_output(output)
    first, *rest = text.split("Self-consistency cycle converged.")
    assert len(rest) == structures
    path = tmp_path / "aims.out"
    for failing in (None, *range(structures)):
        said = [
            phrase if step == failing else "Self-consistency cycle converged."
            for step in range(structures)
        ]
        path.write_text(
            first + "".join(word + part for word, part in zip(said, rest, strict=True))
        )
        frames = list(read_frames(path))
        assert [frame.converged for frame in frames] == [
            step != failing for step in range(structures)
        ]
        assert all(frame.labels[:2] == ("energy", "forces") for frame in frames)


def test_an_aims_numerical_stress_is_of_one_structure(tmp_path):
    text = aims_output("numerical_stress")
    begin = "Begin self-consistency loop: Re-initialization."
    path = tmp_path / "aims.out"
    path.write_text(text.replace(begin, f"Self-consistency cycle converged.\n{begin}"))
    assert [frame.converged for frame in read_frames(path)] == [True]
    path.write_text(text)
    (frame,) = read_frames(path)
    assert frame.converged is None


def test_an_aims_output_that_ends_early_is_named(tmp_path):
    path = tmp_path / "aims.out"
    text = aims_output("md")
    path.write_text(text[: len(text) // 2])
    frames = list(read_frames(path))
    assert frames
    assert all("ASE" in frame.problem for frame in frames)
