"""Where the numbers of a curation benchmark come from, written beside them."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from entrove.labelling.attempt import describe_host

FOLDER = Path(__file__).parent / "results"


def write_result(
    name: str, hypothesis: str, numbers: dict[str, object], **settings: object
) -> None:
    """Write `results/NAME.json` beside this file, and print it."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    packages = ("ase", "numpy", "scipy", "sevenn", "spglib", "torch")
    result = {
        "benchmark": name,
        "hypothesis": hypothesis,
        "numbers": numbers,
        "settings": settings,
        "commit": commit.stdout.strip(),
        "machine": {"host": describe_host(), "load_average": os.getloadavg()},
        "versions": {package: version(package) for package in packages}
        | {"python": platform.python_version()},
    }
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    (FOLDER / f"{name}.json").write_text(text)
    print(text)


def read_result(name: str) -> dict[str, Any]:
    """Return the numbers of an earlier run, empty without one."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text())["numbers"] if path.is_file() else {}
