"""How long the validation suite takes for one phase.

Hypothesis: with default settings, all checks of silicon in the diamond structure with SevenNet-0
take less than three minutes on two cores. Checks that compare with the untuned model are given the
model itself.

    OMP_NUM_THREADS=2 python benchmarks/validation/suite_time.py
"""

import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import torch
from ase.build import bulk

from entrove.labelling.attempt import describe_host
from entrove.models.registry import load
from entrove.validation import SuiteConfig, run_suite

RESULT = Path(__file__).parent / "results" / "suite_time.json"
PACKAGES = ("ase", "numpy", "phonopy", "sevenn", "spglib", "torch", "torch-sim-atomistic")


def main() -> None:
    model = load("7net-0")
    began, used = time.monotonic(), time.process_time()
    suite = run_suite(
        model, phases={"diamond": bulk("Si", a=5.43)}, against=model, temperatures_K=(1000.0,)
    )
    result = {
        "benchmark": "suite_time",
        "hypothesis": "one phase, SevenNet-0, default settings, two cores: below 180 s",
        "numbers": {
            "wall_s": round(time.monotonic() - began, 1),
            "processor_s": round(time.process_time() - used, 1),
            "seconds_of_each_check": {name: round(s, 1) for name, s in suite.seconds.items()},
            "verdicts": {check.title: check.outcome.value for check in suite.checks},
            "sentences": {check.title: check.sentence for check in suite.checks},
        },
        "settings": SuiteConfig().model_dump(mode="json"),
        "threads": torch.get_num_threads(),
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "machine": {"host": describe_host(), "load_average": os.getloadavg()},
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
