"""What is found on a machine, and the remedy for what is missing or wrong."""

import importlib.metadata
import importlib.util
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from rich.console import Console

from entrove.cli import doctor
from entrove.doctor import (
    Examination,
    Finding,
    State,
    engines,
    examine,
    executors,
    machine,
    models,
    packages,
)
from entrove.doctor.programs import ask
from entrove.export.lammps import run


def by_name(findings) -> dict[str, Finding]:
    return {found.name: found for found in findings}


def program(folder: Path, name: str, text: str) -> Path:
    """An executable of the shell that prints a text."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, but for the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


# Verdict.


def test_the_exit_status_is_one_only_for_problems():
    def of(*states: State) -> Examination:
        return Examination(tuple(Finding("s", state.value, state, "what") for state in states))

    assert of(State.WORKS, State.ABSENT, State.WARNING).exit_status == 0
    assert of(State.WORKS, State.PROBLEM).exit_status == 1
    assert of(State.PROBLEM).verdict == "no campaign can run here yet: problem"
    assert of(State.WARNING).verdict == "campaigns can run here; look at: warning"
    assert of(State.WORKS).verdict == "campaigns can run here"


# Packages.


def test_installed_extras_are_named_with_their_versions():
    found = by_name(packages.examine_packages())
    assert found["core"].state is State.WORKS
    for extra in packages.PURPOSES:
        # GPAW alone is compiled, and may be missing where versions are tested.
        installed = extra != "gpaw" or importlib.util.find_spec("gpaw") is not None
        state = State.WORKS if installed else State.ABSENT
        assert found[extra].state is state, found[extra]
    assert f"sevenn {importlib.metadata.version('sevenn')}" in found["sevennet"].what


def test_every_extra_of_the_project_is_examined():
    extras = importlib.metadata.metadata("entrove").get_all("Provides-Extra") or []
    assert {*packages.PURPOSES, "all"} == set(extras)


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch):
    def version(name: str) -> str:
        if name in ("gpaw", "plotly"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1000"

    monkeypatch.setattr(packages.importlib.metadata, "version", version)
    found = by_name(packages.examine_packages())
    assert found["gpaw"].state is State.ABSENT
    variable, *command = found["gpaw"].remedy.split(" ", 1)
    assert command == ["pip install 'entrove[gpaw]'"]
    # The settings that the command names are what GPAW's build reads.
    settings = Path(variable.removeprefix("GPAW_CONFIG="))
    values: dict[str, object] = {}
    exec(settings.read_text(), values)
    assert (values["noblas"], values["nolibxc"]) == (True, True)
    # Without the report no campaign starts.
    assert found["report"].state is State.PROBLEM


def test_a_version_outside_the_range_is_a_warning(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        packages.importlib.metadata,
        "version",
        lambda name: "0.1" if name in ("sevenn", "ase") else real(name),
    )
    found = by_name(packages.examine_packages())
    assert found["sevennet"].state is State.WARNING
    assert "sevenn 0.1 is installed, sevenn>=" in found["sevennet"].what
    assert found["core"].state is State.PROBLEM
    assert "ase 0.1 is installed" in found["core"].what
    needs = [Requirement(line) for line in importlib.metadata.requires("entrove") or []]
    assert any(need.name == "ase" and not need.specifier.contains("0.1") for need in needs)


# Models.


def test_without_a_framework_that_trains_no_campaign_runs(monkeypatch):
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    [found] = models.examine_models(evaluate_all=False)
    assert found.state is State.PROBLEM
    assert found.remedy == "pip install 'entrove[sevennet]'"


def test_a_model_that_does_not_load_is_a_problem(monkeypatch):
    def fail(name: str) -> None:
        raise ImportError("libsomething.so: undefined symbol")

    monkeypatch.setattr("entrove.models.registry.load", fail)
    found = by_name(models.examine_models(evaluate_all=False))
    assert found["7net-0"].state is State.PROBLEM
    assert "undefined symbol" in found["7net-0"].what


# Engines and programs, which are small scripts here.


def test_programs_that_are_not_there_are_absent(programs):
    found = by_name(engines.examine_engines())
    for name in ("espresso", "vasp", "cp2k"):
        assert found[name].state is State.ABSENT
    other = by_name(executors.examine_programs())
    assert other["slurm"].state is State.ABSENT
    assert other["lammps"].state is State.ABSENT


def test_versions_are_what_the_programs_print(programs, monkeypatch, tmp_path):
    program(programs, "pw.x", "echo '     Program PWSCF v.7.3.1 starts on'; exit 1")
    program(programs, "cp2k", "echo ' CP2K version 2024.1'")
    program(programs, "vasp_std", "exit 0")
    monkeypatch.setenv("VASP_PP_PATH", str(tmp_path))
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path))
    (tmp_path / "Si.pbe.UPF").write_text("")
    found = by_name(engines.examine_engines())
    assert found["espresso"].what.startswith(f"pw.x 7.3.1; 1 pseudopotentials in {tmp_path}")
    assert found["vasp"].what.endswith(f"vasp_std; potentials in {tmp_path}")
    assert "version 2024.1" in found["cp2k"].what
    # It is called by another name than the engine's default.
    assert found["cp2k"].remedy == "give labelling.engine.command: cp2k -s"


def test_a_program_that_does_not_start_is_a_warning(programs):
    program(programs, "pw.x", "echo 'libmpi.so: cannot open shared object file'; exit 127")
    found = by_name(engines.examine_engines())["espresso"]
    assert found.state is State.WARNING
    assert "cannot open shared object file" in found.what


def test_a_scheduler_that_does_not_answer_is_a_warning(programs):
    program(programs, "sbatch", "echo 'slurm 23.02.7'")
    program(programs, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    found = by_name(executors.examine_programs())["slurm"]
    assert found.state is State.WARNING
    assert "slurm 23.02.7" in found.what
    assert "Unable to contact" in found.what
    program(programs, "squeue", "exit 0")
    found = by_name(executors.examine_programs())["slurm"]
    assert found.state is State.WORKS
    assert "not on a login node" in found.remedy


def test_pair_styles_are_those_that_lammps_lists(programs):
    program(
        programs,
        "lmp",
        "echo 'Large-scale Atomic/Molecular Massively Parallel Simulator - 2 Aug 2023'\n"
        "echo; echo '* Pair styles:'; echo 'allegro  lj/cut  e3gnn'; echo; echo '* Bond styles:'",
    )
    found = by_name(executors.examine_programs())["lammps"]
    assert "2 Aug 2023; pair styles of exports: e3gnn, allegro" in found.what


@pytest.mark.parametrize(
    ("script", "longest_s", "said"),
    [
        ("echo 'libmpi.so: cannot open shared object file' >&2; exit 127", 60, "cannot open"),
        ("exec /bin/sleep 60", 0.2, "no answer within 0.2 s"),
    ],
)
def test_lammps_that_does_not_start_is_not_called_absent(
    programs, monkeypatch, script, longest_s, said
):
    monkeypatch.setattr(run, "LONGEST_ANSWER_S", longest_s)
    program(programs, "lmp", script)
    found = by_name(executors.examine_programs())["lammps"]
    assert found.state is State.WARNING
    assert said in found.what
    assert run.find_lammps(None) is None  # exports are checked without it, and say so


def test_a_program_is_ended_when_it_does_not_answer(tmp_path):
    slow = program(tmp_path, "slow", "exec sleep 60")
    assert ask([str(slow)], longest_s=0.2) == (None, "no answer within 0.2 s")
    assert ask([str(tmp_path / "nowhere")])[0] is None


# The machine.


def test_more_threads_than_cores_is_a_warning(monkeypatch, tmp_path):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores + 1))
    found = by_name(machine.examine_machine(tmp_path))["OMP_NUM_THREADS"]
    assert found.state is State.WARNING
    assert "unset OMP_NUM_THREADS" in found.remedy
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert by_name(machine.examine_machine(tmp_path))["OMP_NUM_THREADS"].state is State.WORKS


def test_the_quota_of_a_container_counts(tmp_path):
    path = tmp_path / "cpu.max"
    path.write_text("150000 100000\n")
    assert machine.cpu_quota(path) == 1.5
    path.write_text("max 100000\n")
    assert machine.cpu_quota(path) is None
    assert machine.cpu_quota(tmp_path / "none") is None


def test_a_busy_machine_and_a_full_disk_are_warnings(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    usage = machine.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=1024**2))
    found = by_name(machine.examine_machine(tmp_path))
    assert found["load"].state is State.WARNING
    assert "model.threads" in found["load"].remedy
    assert found["disk"].state is found["temporary files"].state is State.WARNING


def test_the_terminal_is_seen_behind_the_live_line(monkeypatch, tmp_path, capsys):
    """While something is shown on a terminal, what stands for standard output has no encoding."""
    found: list[Finding] = []

    def look(*_, **__) -> Examination:
        found.extend(machine._terminal())
        return Examination(tuple(found))

    monkeypatch.setattr(doctor, "examine", look)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a terminal
    doctor.examine_here(tmp_path, evaluate_all=False, as_json=False, console=Console())
    assert "\x1b[" in capsys.readouterr().err
    assert by_name(found)["terminal"].what == "its encoding is utf-8"


def test_a_folder_without_locks_cannot_hold_a_campaign(monkeypatch, tmp_path):
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    assert by_name(machine.examine_machine(tmp_path))["folder"].state is State.WORKS
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(machine.fcntl, "flock", refuse)
    found = by_name(machine.examine_machine(tmp_path))["folder"]
    assert found.state is State.PROBLEM
    assert "Function not implemented" in found.what


# The command.


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "entrove.cli.main", "doctor", "--json"],
        cwd=tmp_path_factory.mktemp("here"),
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow  # imports torch and the frameworks in a process of its own
def test_this_environment_can_run_campaigns(printed):
    assert printed.returncode == 0, printed.stderr
    found = json.loads(printed.stdout)
    assert found["verdict"].startswith("campaigns can run here")
    names = {entry["name"]: entry for entry in found["findings"]}
    assert names["7net-0"]["state"] == "works"
    assert names["gpaw"]["what"].endswith("elements")
    assert names["terminal"]["state"] == "warning"
    assert "iso8859-1" in names["terminal"]["what"] or "latin" in names["terminal"]["what"]


@pytest.mark.slow
def test_every_warning_and_problem_has_a_remedy(printed):
    for entry in json.loads(printed.stdout)["findings"]:
        if entry["state"] in ("warning", "problem"):
            assert entry["remedy"], entry
        assert "\n" not in entry["what"] + entry["remedy"]


def test_the_public_function_names_its_sections(monkeypatch, tmp_path):
    for module, name in (
        (models, "examine_models"),
        (engines, "examine_engines"),
        (executors, "examine_programs"),
    ):
        monkeypatch.setattr(module, name, lambda **_: iter(()))
    seen: list[str] = []
    examined = examine(tmp_path, on_section=seen.append)
    assert seen == ["packages", "models", "engines", "programs", "machine"]
    assert {found.section for found in examined.findings} == {"packages", "machine"}
