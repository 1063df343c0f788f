"""The page in a real browser, at several widths: plots are drawn, nothing overlaps or fails."""

import base64
import csv
import dataclasses
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from silicon_results import silicon_results, with_errors
from test_page import EMPTY, HOSTILE, hostile_results

from entrove.campaign.results.results import CampaignResults
from entrove.report.page import render_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome on PATH")

WATCH = """<script>
window.failures = [];
for (const kind of ["error", "securitypolicyviolation", "unhandledrejection"]) {
  window.addEventListener(kind, (event) =>
    window.failures.push(
      kind + ": " + (event.message || event.violatedDirective || event.reason)), true);
}
for (const level of ["error", "warn"]) {
  console[level] = (...words) => window.failures.push("console " + level + ": " + words.join(" "));
}
</script>"""

PROBE = """<script>
setTimeout(() => {
  const boxes = (root) => [...root.querySelectorAll("text")]
    .filter((text) => text.textContent.trim() && text.getClientRects().length)
    .map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }));
  const overlaps = [], cut = [], drawn = {}, labels = {};
  for (const plot of document.querySelectorAll(".plot")) {
    const texts = boxes(plot), frame = plot.getBoundingClientRect();
    texts.forEach(({ text, box }, number) => {
      for (const other of texts.slice(number + 1)) {
        const width = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
        const height = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
        if (width > 1 && height > 1) overlaps.push([plot.id, text, other.text]);
      }
      if (box.left < frame.left - 1 || box.right > frame.right + 1
          || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) cut.push([plot.id, text]);
    });
    drawn[plot.id] = plot.querySelectorAll(".points path.point, .points .point path").length;
    labels[plot.id] = texts.map(({ text }) => text);
  }
  window.parent.postMessage({ overlaps, cut, drawn, labels, failures: window.failures,
    hacked: window.hacked === 1, images: document.images.length,
    pageWidth: document.documentElement.scrollWidth,
    windowWidth: document.documentElement.clientWidth }, "*");
}, 1500);
</script>"""

SAVE = """<script>
const files = {}, blobs = {}, address = URL.createObjectURL;
URL.createObjectURL = (blob) => { const made = address(blob); blobs[made] = blob; return made; };
HTMLAnchorElement.prototype.click = function () { files[this.download] = this.href; };
const report = async () => {
  if (Object.keys(files).length < 9) {
    // The clock of the page jumps to the next timer; drawing a PNG takes time of the real one.
    for (let turn = 0; turn < 3e6; turn++) Math.sqrt(turn);
    return setTimeout(report, 50);
  }
  for (const [name, href] of Object.entries(files)) {
    if (blobs[href]) files[name] = await blobs[href].text();
  }
  window.parent.postMessage({ files, failures: window.failures }, "*");
};
setTimeout(() => {
  document.querySelectorAll(["learning-energy", "states-force", "parity-force-1"]
    .map((name) => `[data-figure="${name}"]`)).forEach((button) => button.click());
  report();
}, 1500);
</script>"""
"""Clicks on the buttons below some plots, and reports what would have been saved."""

# A browser window is at least about 500 px wide; a frame can be narrower.
FRAME = """<!DOCTYPE html><body style="margin: 0"><pre id="probe"></pre>
<iframe src="page.html" style="border: 0; width: {width}px; height: 4000px"></iframe>
<script>addEventListener("message", (event) => {{
  document.getElementById("probe").textContent = JSON.stringify(event.data);
}});</script></body>"""


def open_page(results: CampaignResults, width: int, folder: Path) -> dict[str, Any]:
    """Open the report in a frame of this width, and return what the script in it has found."""
    return open_text(render_report(results), width, folder)


def open_text(
    text: str, width: int, folder: Path, probe: str = PROBE, budget_ms: int = 10000
) -> dict[str, Any]:
    """Open a page that is given as text, as above.

    `probe` is the script that reports, within `budget_ms` of the page's own clock.
    """
    page = text.replace("<head>", f"<head>{WATCH}", 1)
    (folder / "page.html").write_text(page.rsplit("</body>", 1)[0] + f"{probe}</body></html>")
    (folder / "frame.html").write_text(FRAME.format(width=width))
    assert BROWSER is not None
    command = [
        *(
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ),
        *(
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ),
        f"--user-data-dir={folder / 'profile'}",
        *(
            f"--virtual-time-budget={budget_ms}",
            f"--window-size={max(width, 500)},1000",
            "--dump-dom",
        ),
        (folder / "frame.html").as_uri(),
    ]
    # The page's own clock does not wait for the decoding of images on a busy machine.
    for _ in range(3):
        finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found = re.search(r'<pre id="probe">(.+?)</pre>', finished.stdout, re.DOTALL)
        if found:
            break
    assert found, f"the page did not report: {finished.stderr[-2000:]}"
    return json.loads(html.unescape(found[1]))


def demanding_results() -> CampaignResults:
    """Many rounds, long phase names and many parts, with which labels could overlap."""
    results = silicon_results(rounds=11)
    names = {"beta-tin": "simple hexagonal high-pressure polymorph"}
    return dataclasses.replace(
        results,
        errors=tuple(
            with_errors(row, phase=names.get(row.phase, row.phase)) for row in results.errors
        ),
        labels=tuple(
            dataclasses.replace(row, phase=names.get(row.phase, row.phase))
            for row in results.labels
        ),
        parity=tuple(
            dataclasses.replace(
                parity, phases=np.array([names.get(phase, phase) for phase in parity.phases])
            )
            for parity in results.parity
        ),
    )


CASES = {
    "finished": silicon_results(),
    "demanding": demanding_results(),
    "large": silicon_results(structures_per_part=150),
    "empty": EMPTY,
}


@pytest.mark.parametrize(
    ("case", "width"),
    [("finished", 375), ("finished", 400), ("finished", 1280), ("finished", 1600),
     ("demanding", 375), ("large", 1280), ("empty", 375)],
)  # fmt: skip
def test_the_page_draws_without_failures_and_overlaps(
    case: str, width: int, tmp_path: Path
) -> None:
    seen = open_page(CASES[case], width, tmp_path)
    assert seen["failures"] == []
    assert seen["overlaps"] == []
    assert seen["cut"] == []
    assert seen["windowWidth"] == width
    assert seen["pageWidth"] <= width
    assert len(seen["drawn"]) == (0 if case == "empty" else 21)


def test_the_browser_draws_every_point(tmp_path: Path) -> None:
    results = silicon_results()
    seen = open_page(results, 1200, tmp_path)
    space = results.fingerprint_map
    assert space is not None
    assert seen["drawn"]["fingerprint-map"] == len(space.points)
    assert seen["drawn"]["gain-per-label"] == 24
    assert seen["drawn"]["energy-per-round"] == len(results.errors)
    assert seen["drawn"]["parity-force-0"] == 2 * results.parity[0].reference_forces_eV_per_A.size
    assert "MAE (meV/Å)" in seen["labels"]["force-per-round"]
    assert {"reference (eV/atom)", "predicted (eV/atom)", "error (meV/atom)"} <= set(
        seen["labels"]["parity-energy-0"]
    )


def test_hostile_strings_stay_strings(tmp_path: Path) -> None:
    seen = open_page(hostile_results(), 1000, tmp_path)
    assert seen["failures"] == []
    assert not seen["hacked"]
    assert seen["images"] == 0
    assert any(label.startswith(HOSTILE[:12]) for label in seen["labels"]["force-by-part"])


def test_plots_are_saved_as_files_that_stand_alone(tmp_path: Path) -> None:
    results = silicon_results()
    seen = open_text(render_report(results), 375, tmp_path, SAVE, budget_ms=60000)
    assert seen["failures"] == []
    files = seen["files"]
    names = {"learning-energy", "states-force", "parity-force-1"}
    assert set(files) == {f"{name}.{end}" for name in names for end in ("svg", "png", "csv")}
    drawing = ElementTree.fromstring(unquote(files["learning-energy.svg"].partition(",")[2]))
    texts = {"".join(node.itertext()) for node in drawing.iter() if node.tag.endswith("text")}
    # Heading and legend are beside the plot on the page, and inside of the file.
    assert {"Energy", "MAE (meV/atom)", "silicon", "untuned"} <= texts
    picture = base64.b64decode(files["learning-energy.png"].partition(",")[2])
    assert picture.startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(files["learning-energy.csv"])))
    tuned = [float(row["y"]) for row in rows if row["series"] == "silicon"]
    totals = {row.round: row for row in results.errors if row.phase == row.kind == "all"}
    assert tuned == [
        pytest.approx(totals[number].errors.energy_mae_meV_per_atom) for number in (1, 2)
    ]
    assert {row["y_axis"] for row in rows} == {"MAE (meV/atom)"}
    points = list(csv.DictReader(io.StringIO(files["parity-force-1.csv"])))
    drawn = [row for row in points if row["y_axis"] == "predicted (eV/Å)"]
    shown = [row for row in drawn if row["series"] in {"diamond", "beta-tin"}]
    assert len(shown) == results.parity[0].reference_forces_eV_per_A.size
    states = list(csv.DictReader(io.StringIO(files["states-force.csv"])))
    assert {"at rest", "300 K"} <= {row["x"] for row in states}
