"""`--json`: one document on standard output, and everything else on standard error.

That the document is strict JSON, whose keys are documented, is asserted of every command that
the `entrove` of a test runs with --json.
"""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from command_line import ON_ANOTHER_PAGE, Command, documented_keys
from label_campaign import copper, make_campaign, store

from entrove.cli.commands.options import AsJson
from entrove.cli.main import PANELS
from entrove.json_values import json_values
from entrove.labelling.labels import Outcome
from entrove.structures import attach_results

PRINT_NO_NUMBERS = ("schema", "reference")
"""Commands that print a file: a JSON schema, and a page."""

CONFIG = """\
name: copper
seeds: [{phase: fcc, file: fcc.xyz}]
labelling: {engine: {name: ase, calculator: "ase.calculators.emt:EMT"}}
"""


class Talkative(EMT):
    """Prints, as many packages do."""

    def calculate(self, *arguments, **keywords) -> None:
        print("a warning of a package")
        super().calculate(*arguments, **keywords)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bulk("Cu", cubic=True).write("fcc.xyz")
    Path("campaign.yaml").write_text(CONFIG)
    labelled = []
    for seed in range(4):
        atoms = copper(seed)
        results = [EMT().get_property(name, atoms) for name in ("energy", "forces", "stress")]
        labelled.append(attach_results(atoms, *results))
    write("labels.xyz", labelled, format="extxyz")


def test_every_command_that_reports_has_the_one_option():
    commands = {name: each for panel in PANELS.values() for name, each in panel.items()}
    for name, command in commands.items():
        parameters = inspect.signature(command).parameters
        found = parameters["as_json"].annotation if "as_json" in parameters else None
        assert (found == AsJson) is (name not in PRINT_NO_NUMBERS), name
        assert bool(documented_keys(name)) or found is None or name in ON_ANOTHER_PAGE, name


def test_what_is_not_finite_is_null():
    assert json_values({"a": (np.float64("nan"), np.inf, 0.5)}) == {"a": [None, None, 0.5]}


def test_what_others_print_meanwhile_goes_to_standard_error(entrove: Command):
    Path("settings.yaml").write_text("model: {explore_with: 'test_json:Talkative'}\n")
    arguments = ("relax", "fcc.xyz", "--config", "settings.yaml", "--out", "relaxed.xyz")
    code, output, errors = entrove(*arguments, "--json")
    assert (code, json.loads(output)["out"]) == (0, "relaxed.xyz")
    assert "a warning of a package" in errors
    assert "a warning of a package" in entrove(*arguments)[1]


def test_an_error_is_a_message_and_an_exit_status_and_no_document(entrove: Command):
    for command, status in (
        ("convert no.xyz out.xyz", 1),
        ("curate labels.xyz --count 1 --method best --out out.xyz", 2),
        ("import campaign.yaml labels.xyz", 2),
        ("export no --to lammps", 1),
        ("run --check no.yaml", 2),
        ("curves no.yaml", 2),
    ):
        code, output, errors = entrove(*command.split(), "--json")
        assert (code, output) == (status, ""), command
        assert errors.startswith("entrove: ")


def test_convert_says_what_was_written_and_what_was_left_out(entrove: Command):
    frames = Path("labels.xyz").read_text()
    Path("pool.xyz").write_text(frames + frames.replace("energy=", "converged=F energy="))
    code, output, _ = entrove("convert", "pool.xyz", "out.db", "--json")
    found = json.loads(output)
    assert (code, found["out"], found["written"], len(found["refused"])) == (0, "out.db", 4, 4)


def test_curate_prints_its_file_and_names_all_files(entrove: Command):
    arguments = ("--count", "2", "--method", "information", "--out", "picked.xyz", "--json")
    code, output, _ = entrove("curate", "labels.xyz", *arguments)
    found = json.loads(output)
    files = found.pop("files")
    assert (code, found) == (0, json.loads(Path("picked.json").read_text()))
    assert files == ["picked.xyz", "picked.rest.xyz", "picked.csv", "picked.json"]
    assert [index for _, index in found["picked"]] == [
        [each.positions.tolist() for each in read("labels.xyz", ":")].index(
            atoms.positions.tolist()
        )
        for atoms in read("picked.xyz", ":")
    ]


def test_imports_and_what_became_of_them(entrove: Command):
    importing = ("import", "campaign.yaml", "labels.xyz", "--same-level", "--train", "--json")
    code, output, errors = entrove(*importing)
    found = json.loads(output)
    [file] = found["files"]
    assert (code, file["file"], file["stored"], file["refused"]) == (0, "labels.xyz", 4, [])
    assert found["training"] == {"trained_on": 4, "held_out": 0, "of_several_states": 0}
    assert errors == ""
    listed = json.loads(entrove("labels", "campaign.yaml", "--imports", "--json")[1])
    assert [(each["id"], each["labels"]) for each in listed] == [(file["import_id"], 4)]
    code, output, _ = entrove("labels", "campaign.yaml", "--withdraw", "1", "--json")
    gone = json.loads(output)
    assert (code, gone["labels"], gone["trained_on"], gone["validated_on"]) == (0, 4, 4, 0)


def test_released_labels_are_counted(entrove: Command, tmp_path: Path):
    config, workspace = make_campaign(tmp_path / "campaign")
    store(config, workspace.label_cache, workspace.label_work, 1, Outcome.CRASHED)
    code, output, errors = entrove("labels", "campaign", "--retry", "--json")
    assert (code, json.loads(output)) == (
        0,
        {"labels": [], "unfinished": [], "lost": [], "released": 1},
    )
    assert "released 1 labels" in errors
