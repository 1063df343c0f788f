"""`entrove validate`: exit status, what it prints and writes, wrong input."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators import emt
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from entrove.cli import main
from entrove.validation.suite import run as suite_run

Command = Callable[..., tuple[int, str, str]]

QUICK = """\
phonons: {enabled: false}
dynamics: {steps: 10, least_atoms: 4}
"""
EMT = "ase.calculators.emt:EMT"


@pytest.fixture
def entrove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line in this process, in a folder with a crystal and settings."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.chdir(tmp_path)
    bulk("Cu", cubic=True).write("fcc.xyz")
    Path("suite.yaml").write_text(QUICK)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["entrove", "validate", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main.run()
        output = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, output.out, output.err

    return command


def test_a_good_model_passes_and_everything_is_in_json_and_on_the_page(entrove: Command):
    arguments = (EMT, "--seeds", "fcc.xyz", "--suite", "suite.yaml", "--out", "kept")
    status, shown, _ = entrove(*arguments, "--html", "page.html")
    assert status == 0
    assert "passed  elastic, fcc: stable at 0 GPa" in shown
    status, text, _ = entrove(*arguments, "--json")
    content = json.loads(text)
    assert (status, content["passed"]) == (0, True)
    page = Path("page.html").read_text()
    for check in content["checks"]:
        assert check["sentence"].replace("'", "&#39;") in page
        assert f"{check['check'].replace('_', ' ')}" in page


def test_a_file_where_the_folder_of_results_should_be_is_refused_at_once(entrove: Command):
    Path("kept").write_text("notes")
    status, shown, errors = entrove(EMT, "--seeds", "fcc.xyz", "--out", "kept")
    assert (status, shown) == (2, "")
    assert "--out kept: " in errors
    assert "is a file" in " ".join(errors.split())
    assert Path("kept").read_text() == "notes"


def test_a_failed_check_has_exit_status_one(entrove: Command):
    Path("suite.yaml").write_text(QUICK + "elastic: {least_eigenvalue_GPa: 1.0e+4}\n")
    status, shown, _ = entrove(EMT, "--seeds", "fcc.xyz", "--suite", "suite.yaml")
    assert status == 1
    assert "failed  elastic, fcc: stiffness against the softest strain" in shown
    assert "elastic, fcc failed" in shown.splitlines()[-1]


def test_crystals_without_stress_are_judged_by_energy_and_forces(entrove: Command):
    """Public sets often have none."""
    crystals = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]
    for atoms in crystals:
        atoms.calc = emt.EMT()
        values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if atoms is not crystals[0]:
            atoms.calc = SinglePointCalculator(atoms, **values)
        else:
            atoms.get_stress()
    write("labelled.xyz", crystals)
    status, shown, errors = entrove(EMT, "--data", "labelled.xyz", "--suite", "suite.yaml")
    told = "2 of 3 crystals have no stress: their energies and forces count alone"
    assert told in " ".join(errors.split())
    assert "on 3 labels" in " ".join(shown.split())
    write("labelled.xyz", crystals[1:])
    status, shown, errors = entrove(EMT, "--data", "labelled.xyz", "--suite", "suite.yaml")
    assert "all crystals have no stress" in " ".join(errors.split())
    assert "no stress in the labels, on 2 labels" in " ".join(shown.split())
    assert status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("7net-O", "--seeds", "fcc.xyz"), "Did you mean '7net-0'"),
        ((EMT,), "neither crystals nor labelled structures"),
        ((EMT, "--seeds", "missing.xyz"), "missing.xyz"),
        ((EMT, "--data", "fcc.xyz"), "no frame can be used; the first: fcc.xyz: frame 0"),
        ((EMT, "--seeds", "fcc.xyz", "--suite", "wrong.yaml"), "unknown key; did you mean"),
        (
            (EMT, "--seeds", "fcc.xyz", "--suite", "text.yaml"),
            "got text; the page 'Validation' sh",
        ),
        ((EMT, "--seeds", "fcc.xyz", "--suite", "no.yaml"), "no such file; the page 'Validation'"),
        ((".", "--seeds", "fcc.xyz"), "not a model bundle"),
    ],
)
def test_wrong_input_has_exit_status_two(
    entrove: Command, arguments: tuple[str, ...], message: str
):
    Path("text.yaml").write_text("4 atoms\n")
    Path("wrong.yaml").write_text("phonon: {enabled: false}\n")
    status, _, errors = entrove(*arguments)
    assert status == 2
    assert message in errors
    assert "entrove init" not in errors


def test_ctrl_c_leaves_what_is_finished(entrove: Command, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    arguments = (EMT, "--seeds", "fcc.xyz", "--suite", "suite.yaml", "--out", "kept")
    checks = tuple(
        replace(check, make=interrupt) if check.name == "dimers" else check
        for check in suite_run.CHECKS
    )
    with monkeypatch.context() as patch:
        patch.setattr(suite_run, "CHECKS", checks)
        status, shown, errors = entrove(*arguments)
    assert status == 130
    assert "passed  elastic, fcc" in shown
    assert "the suite was stopped before its end" in shown
    assert "the same command continues from there" in errors
    assert sorted(path.stem for path in Path("kept").glob("*.json")) == [
        "calibration",
        "elastic",
        "equation_of_state",
        "errors",
        "phase_order",
    ]
    assert entrove(*arguments)[0] == 0


def test_messages_in_a_file_have_no_empty_lines(entrove: Command):
    _, _, errors = entrove("no-such-model")
    assert errors.startswith("entrove: unknown model 'no-such-model'")
    _, _, errors = entrove(EMT, "--seeds", "fcc.xyz", "--suite", "suite.yaml")
    assert "" not in errors.splitlines()
