"""Pick 1,000 of 100,000 labelled frames of 16 atoms from a file, features included, two threads.

Hypothesis: `entrove curate` needs at most 5 minutes and 4 GB, from the text of the file to the
files of the picks and of the rest; reading takes less than 2 minutes of one core of that, and not
more than ASE's reader, which checks nothing.

The pool is silicon: diamond and simple hexagonal, strained by up to 10 % and rattled by up to
0.4 A, with random numbers for labels. It is written to --pool, which is not part of the time, and
used again where it is there.

    OMP_NUM_THREADS=2 python benchmarks/curation/curate_many.py --pool pool.xyz
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread

from entrove import __version__
from entrove.formats import read_frames, write_frames

SEED = 20261126
ATOMS = 16
READ_BY_BOTH = 5000


def silicon_frames(count: int):
    rng = np.random.default_rng(SEED)
    diamond = bulk("Si", "diamond", a=5.43, cubic=True).repeat((2, 1, 1))
    hexagonal = Atoms("Si", cell=[[2.64, 0, 0], [-1.32, 2.286, 0], [0, 0, 2.48]], pbc=True)
    cells = (diamond, hexagonal.repeat((2, 2, 4)))
    for number in range(count):
        atoms = cells[rng.integers(2)].copy()
        strain = np.eye(3) * rng.uniform(0.92, 1.08) + rng.normal(scale=0.02, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.4), size=(ATOMS, 3))
        atoms.positions = atoms.positions.round(8)
        atoms.info = {"config_type": "rattled", "number": number}
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=round(rng.normal(-86.0, 2.0), 8),
            forces=rng.normal(size=(ATOMS, 3)).round(8),
            stress=rng.normal(scale=0.01, size=6).round(8),
        )
        yield atoms


def cpu_seconds(frames) -> tuple[int, float]:
    start = time.process_time()
    count = sum(1 for _ in frames)
    return count, time.process_time() - start


def measure(frames: int, count: int, pool: Path) -> dict:
    if not pool.exists():
        write_frames(pool, silicon_frames(frames))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "picked.xyz"
        few = Path(folder) / "few.xyz"
        write_frames(few, silicon_frames(min(frames, READ_BY_BOTH)))
        ours, theirs = cpu_seconds(read_frames(few)), cpu_seconds(iread(few, ":"))
        start = time.perf_counter()
        command = [sys.executable, "-m", "entrove.cli.main", "curate", str(pool)]
        options = ["--count", str(count), "--out", str(out)]
        done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
        wall_s = time.perf_counter() - start
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = json.loads(out.with_suffix(".json").read_text())
        found = len(told["picked"]) + told["left_out"]
        if found != frames:
            raise SystemExit(
                f"{pool} holds {found} frames, not {frames}: remove it, or name another"
            )
        return {
            "frames": frames,
            "picked": len(told["picked"]),
            "left_out": told["left_out"],
            "pool_megabytes": pool.stat().st_size / 1e6,
            "wall_s": wall_s,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_gigabytes": 1024 * usage.ru_maxrss / 1e9,
            "read_cpu_ms_per_frame": 1000 * ours[1] / ours[0],
            "read_by_ase_cpu_ms_per_frame": 1000 * theirs[1] / theirs[0],
            "output": [line for line in done.stdout.splitlines() if not line.startswith("wrote")],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--pool", type=Path, default=Path("curate_many_pool.xyz"))
    arguments = parser.parse_args()
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load_before": os.getloadavg()[0],
        "entrove": __version__,
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
        "seed": SEED,
        **measure(arguments.frames, arguments.count, arguments.pool),
    }
    path = Path(__file__).parent / "results" / "curate_many.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
