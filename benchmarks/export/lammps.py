"""Does an exported potential give in LAMMPS what the bundle gives in ASE?

Hypothesis: on all validation structures energy, forces and stress agree to rounding in single
precision: 1e-5 eV/atom, 1e-4 eV/A, 1e-5 eV/A^3.

Run, with the programs that docs/export.md describes:
    python benchmarks/export/lammps.py CAMPAIGN --lammps LMP --plugin e3gnnplugin.so
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from entrove.export import export
from entrove.labelling.attempt import describe_host

LIMITS = {"energy_eV_per_atom": 1e-5, "forces_eV_per_A": 1e-4, "stress_eV_per_A3": 1e-5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--lammps", default="lmp")
    parser.add_argument("--plugin", type=Path)
    given = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        written = export(
            given.bundle,
            "lammps",
            Path(folder) / "out",
            device="cpu",
            lammps=given.lammps,
            plugin=given.plugin,
        )
    seconds = time.perf_counter() - started
    checks = [check.as_record() for check in written.checks]
    differences = [check["largest_differences"] for check in checks]
    result = {
        "benchmark": "an exported potential in LAMMPS",
        "limits": LIMITS,
        "reached": all(
            found[name] <= limit
            for found in differences
            if found is not None
            for name, limit in LIMITS.items()
        ),
        "checks": checks,
        "seconds": round(seconds, 1),
        "machine": {"host": describe_host(), "load_average": os.getloadavg()},
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "versions": {name: version(name) for name in ("ase", "numpy", "sevenn", "torch")}
        | {"python": platform.python_version()},
    }
    text = json.dumps(result, indent=2) + "\n"
    place = Path(__file__).parent / "results"
    place.mkdir(exist_ok=True)
    (place / "lammps.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
