"""Where the numbers of a labelling benchmark come from, written beside them."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from entrove.labelling.attempt import describe_host

FOLDER = Path(__file__).parent / "results"


def write_result(
    name: str, hypothesis: str, numbers: dict[str, object], **settings: object
) -> None:
    """Write `results/NAME.json` beside this file, and print it."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    packages = ("ase", "gpaw", "numpy", "parsl", "sevenn", "torch")
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
