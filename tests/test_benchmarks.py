"""Scripts of `benchmarks/` fit the package of today, and README quotes what they have stored."""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in BENCHMARKS.rglob("*.py"))
NOT_INSTALLED = {"featomic": ("SoapPowerSpectrum",), "libfp": ()}
"""Packages that a few scripts need and Entrove does not, with the names that are imported."""
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder, pattern in ((ROOT, "*.md"), (ROOT / "docs", "**/*.md"), (BENCHMARKS, "**/*.md"))
    for path in folder.glob(pattern)
)
CURVES = {
    "SevenNet-0, tuned": "sevennet",
    "linear in random SOAP features": "soap",
}
RESULTS = {
    ("silicon", 8): "three-lengths-few",
    ("sodium chloride", 800): "800",
    ("silicon, PBE", 25): "dft-draws",
    ("sodium chloride, PBE", 25): "dft-draws",
}
"""Files of README's table that are not `three-lengths.json`."""


@pytest.fixture
def as_a_script(monkeypatch) -> Iterator[None]:
    """Leave no module, path or variable of a script behind: some have equal names."""
    for name, attributes in NOT_INSTALLED.items():
        if importlib.util.find_spec(name) is None:
            stand_in = ModuleType(name)
            for attribute in attributes:
                setattr(stand_in, attribute, object)
            monkeypatch.setitem(sys.modules, name, stand_in)
    known = set(sys.modules)
    with patch.dict(os.environ), patch.object(sys, "path", [*sys.path]):
        yield
    for name in set(sys.modules) - known:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(BENCHMARKS):
            del sys.modules[name]


def import_script(script: str) -> ModuleType:
    path = ROOT / script
    # `curves` and `benchmarks` are what docstrings ask for as PYTHONPATH.
    sys.path[:0] = [str(path.parent), str(BENCHMARKS / "curves"), str(BENCHMARKS)]
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")  # of the frameworks that scripts import
@pytest.mark.usefixtures("as_a_script")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_imports_and_answers_help(script, monkeypatch, capsys):
    module = import_script(script)
    if "ArgumentParser(" not in (ROOT / script).read_text():
        return
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def commands_in(page: str) -> list[tuple[str, list[str]]]:
    """Scripts that a page or a docstring names with `python`, and the options behind each."""
    text = (ROOT / page).read_text()
    found = []
    for script, rest in re.findall(r"python\s+(benchmarks/\S+?\.py)\b([^`\n]*)", text):
        found.append((script, re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest)))
    return found


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS])
def test_commands_name_scripts_and_options_that_exist(page):
    for script, options in commands_in(page):
        assert (ROOT / script).is_file(), f"{page} names {script}"
        text = (ROOT / script).read_text()
        unknown = [option for option in options if f'"{option}"' not in text]
        assert unknown == [], f"{page}: {script}"


def mean_errors(system: str, labels: int, student: str, arm: str) -> np.ndarray:
    """Energy, forces and stress of all independent structures, means over the draws."""
    name = RESULTS.get((system, labels), "three-lengths")
    folder = system.partition(",")[0].replace(" ", "_")
    file = BENCHMARKS / "curves" / folder / "results" / f"{name}.json"
    wanted = (student, arm, labels, "independent", "all")
    rows: list[Any] = [
        [point["errors"][quantity] for quantity in ("energy", "force", "stress")]
        for point in json.loads(file.read_text())["points"]
        if wanted
        == (
            *(point[key] for key in ("student", "arm", "labels", "test")),
            point["errors"]["group"],
        )
    ]
    assert len(rows) == 3, "three draws"
    return np.mean(rows, axis=0)


def test_ratios_in_the_readme_are_those_of_the_stored_studies():
    text = (ROOT / "README.md").read_text()
    table = text.partition("| student | system | labels |")[2].partition("\n\n")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]
    assert len(rows) == 9
    student = system = ""
    for student_cell, system_cell, labels, *quoted in rows:
        student, system = student_cell or student, system_cell or system
        random_md, ours = (
            mean_errors(system, int(labels), CURVES[student], arm) for arm in ("random_md", "ours")
        )
        for number, ratio in zip(quoted, random_md / ours, strict=True):
            digits = len(number.partition(".")[2])
            assert number == f"{ratio:.{digits}f}", f"{student}, {system}, {labels} labels"
