"""The page of an audit: complete, self-contained, and safe against any text."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from entrove.curation import audit
from entrove.report.audit.page import render_audit_page, write_audit_page
from entrove.report.audit.pictures import draw_structure

HOSTILE = "</script><img src=x onerror=alert(1)>"


def copper(count=24):
    rng = np.random.default_rng(5)
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * (1 + rng.normal(scale=0.02)), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.06, size=(4, 3))
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "copper.xyz"
    frames = copper()
    frames[3].calc.results["energy"] += 4.0
    write(path, frames, format="extxyz")
    return audit(path)


def test_the_page_says_everything_and_needs_no_network(report, tmp_path):
    page = write_audit_page(report, tmp_path / "audit.html").read_text()
    for finding in report.findings:
        assert f'data-kind="{finding.kind}"' in page
    assert "energy_outlier" in page
    assert page.count('<svg class="structure"') == len(report.worst) == 20
    shown = page.split("<script>")[0]
    assert not re.search(r"(src|href)=[\"']?(https?:|//)", shown)
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])
    assert "geometry-map" in figures
    assert len(figures) == 1 + len(report.coverage.histograms)


def test_hostile_texts_stay_texts(report):
    finding = replace(report.findings[0], title=HOSTILE, evidence=HOSTILE, remedy=HOSTILE)
    page = render_audit_page(replace(report, files=(HOSTILE,), findings=(finding,)))
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "<img src=x" not in replace(report, findings=(finding,))._repr_html_()


def test_every_atom_and_edge_is_drawn():
    picture = draw_structure(bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    assert picture.count("<circle") == 8
    assert picture.count("<line") == 12
    # An atom that rounding has put just outside of the cell is drawn at the corner it is at.
    rounded = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    rounded.positions[0] -= 1e-9
    assert draw_structure(rounded) == picture
    molecule = draw_structure(Atoms("OH2", [[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]]))
    assert molecule.count("<circle") == 3
    assert "<line" not in molecule


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "entrove.cli.main", "audit", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_has_an_exit_status_for_ci(tmp_path):
    path, page = tmp_path / "copper.xyz", tmp_path / "audit.html"
    write(path, copper(), format="extxyz")
    clean = command(path, "--html", page)
    assert clean.returncode == 0, clean.stderr
    assert "Nothing wrong was found in 24 frames" in clean.stdout
    assert page.is_file()
    frames = copper()
    frames[5].calc.results["energy"] = float("nan")
    write(path, frames, format="extxyz")
    broken = command(path, "--json")
    assert broken.returncode == 4
    found = json.loads(broken.stdout)
    assert found["findings"][0]["kind"] == "not_finite"
    assert found["findings"][0]["frames"] == [{"file": str(path), "index": 5}]
    assert command(tmp_path / "missing.xyz").returncode == 1


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium on PATH")
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_window(report, width, tmp_path):
    probe = """<script>setTimeout(() => window.parent.postMessage({
      page: document.documentElement.scrollWidth, drawn: document.querySelectorAll(
      ".plot svg.main-svg, .plot canvas").length}, "*"), 1500)</script>"""
    page = render_audit_page(report)
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{probe}</body>"))
    (tmp_path / "frame.html").write_text(
        f'<body style="margin:0"><pre id="probe"></pre><iframe src="page.html" style="border:0;'
        f'width:{width}px;height:3000px"></iframe><script>addEventListener("message", (event) => '
        '{document.getElementById("probe").textContent = JSON.stringify(event.data)})</script>'
    )
    options = (
        "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run "
        "--disable-background-networking --virtual-time-budget=10000 --dump-dom"
    )
    finished = subprocess.run(
        ["chromium", *options.split(), f"--user-data-dir={tmp_path / 'profile'}",
         f"--window-size={max(width, 500)},1000", Path(tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seen = json.loads(re.search(r'<pre id="probe">(.+?)</pre>', finished.stdout)[1])
    assert seen["page"] <= width
    assert seen["drawn"] >= 1 + len(report.coverage.histograms)
