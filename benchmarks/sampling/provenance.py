"""What a result file says about where its numbers come from."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def write_result(name: str, hypothesis: str, numbers: dict, **settings: object) -> None:
    """Write `results/NAME.json` beside this file."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    result = {
        "benchmark": name,
        "hypothesis": hypothesis,
        "numbers": numbers,
        "settings": settings,
        "commit": commit,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "load_average": os.getloadavg(),
        },
        "versions": {
            package: version(package)
            for package in ("torch", "torch-sim-atomistic", "ase", "sevenn", "numpy")
        }
        | {"python": platform.python_version()},
    }
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    (folder / f"{name}.json").write_text(text)
    print(text)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
