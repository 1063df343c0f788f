"""The site of the documentation: warnings are errors, all is there, no network is needed."""

import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    finished = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return folder


class _Page(HTMLParser):
    """What a page loads by itself, and the anchors that it has."""

    def __init__(self, file: Path):
        super().__init__()
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(values.get("src") or "")
        if tag == "link" and values.get("rel") in ("stylesheet", "preconnect", "icon", "preload"):
            self.loaded.append(values.get("href") or "")
        self.anchors.add(values.get("id") or "")


def test_no_page_loads_anything_from_a_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        loaded = _Page(page).loaded
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text()), sheet


def test_every_public_name_is_documented(site):
    for stub in sorted((ROOT / "src").glob("entrove/**/__init__.pyi")):
        package = ".".join(stub.parent.relative_to(ROOT / "src").parts)
        anchors = _Page(site / "api" / f"{package}.html").anchors
        # The names that the package itself says it has.
        for name in importlib.import_module(package).__all__:
            assert name == "__version__" or f"{package}.{name}" in anchors, f"{package}.{name}"
