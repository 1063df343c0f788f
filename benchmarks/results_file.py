"""Where the numbers of a benchmark come from, written beside them."""

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from entrove.labelling.attempt import describe_host

PACKAGES = ("ase", "gpaw", "numpy", "parsl", "scipy", "sevenn", "spglib", "torch")


def write_result(
    script: str, name: str, hypothesis: str, numbers: dict[str, object], **settings: object
) -> None:
    """Write `results/NAME.json` beside a script, given by its `__file__`, and print it."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    result = {
        "benchmark": name,
        "hypothesis": hypothesis,
        "numbers": numbers,
        "settings": settings,
        "commit": commit.stdout.strip(),
        "machine": {"host": describe_host(), "load_average": os.getloadavg()},
        "versions": _versions() | {"python": platform.python_version()},
    }
    path = _path(script, name)
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    path.write_text(text)
    print(text)


def read_result(script: str, name: str) -> dict[str, Any]:
    """Return the numbers of an earlier run, empty without one."""
    path = _path(script, name)
    return json.loads(path.read_text())["numbers"] if path.is_file() else {}


def _path(script: str, name: str) -> Path:
    return Path(script).parent / "results" / f"{name}.json"


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
