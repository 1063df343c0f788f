"""How long does an audit without a model take, and does its memory grow with the set?

Hypothesis: 100,000 frames of 16 atoms take less than three minutes on two cores, and the process
needs no more memory for them than for a tenth of them, but for 100 MB.

    python benchmarks/curation/audit_speed.py [--frames 10000 100000]

The frames are silicon under random strain and displacements, with energies, forces and stresses
of Stillinger and Weber's form replaced by a smooth pair potential: an audit takes as long whatever
the labels say. Each size runs in a process of its own, so that peak memory is that of the audit.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from results_file import write_result

SEED = 0
BOND_A, DEPTH_EV, RANGE_A = 2.35, 1.0, 4.2


def write_silicon(path: Path, count: int) -> None:
    """Write frames of 16 atoms with labels of a pair potential, in extended XYZ."""
    from ase.build import bulk

    rng = np.random.default_rng(SEED)
    ideal = bulk("Si", "diamond", a=5.43, cubic=True).repeat((2, 1, 1))
    images = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    fractions = ideal.get_scaled_positions()
    with path.open("w") as file:
        for _ in range(count):
            strain = rng.normal(scale=0.02, size=(3, 3))
            cell = ideal.cell.array @ (np.eye(3) + (strain + strain.T) / 2)
            positions = fractions @ cell + rng.normal(scale=0.1, size=(16, 3))
            apart = positions[None, :, None] + images @ cell - positions[:, None, None]
            length = np.linalg.norm(apart, axis=-1)
            near = (length > 0) & (length < RANGE_A)
            d, r = apart[near], length[near]
            cut = (1 - (r / RANGE_A) ** 2) ** 2
            slope_cut = -4 * r / RANGE_A**2 * (1 - (r / RANGE_A) ** 2)
            well = DEPTH_EV * ((r - BOND_A) ** 2 - 1)
            energy = 0.5 * (well * cut).sum() - 4.0 * 16
            slope = 2 * DEPTH_EV * (r - BOND_A) * cut + well * slope_cut
            pull = slope[:, None] * d / r[:, None]
            forces = np.zeros((16, 3))
            np.add.at(forces, np.nonzero(near)[0], pull)
            stress = 0.5 * pull.T @ d / abs(np.linalg.det(cell))
            numbers = " ".join(f"{value:.8f}" for value in cell.ravel())
            virial = " ".join(f"{value:.8f}" for value in stress.ravel())
            file.write(
                f'16\nLattice="{numbers}" Properties=species:S:1:pos:R:3:forces:R:3 '
                f'energy={energy:.8f} stress="{virial}" pbc="T T T"\n'
            )
            for p, f in zip(positions, forces, strict=True):
                file.write("Si " + " ".join(f"{value:.8f}" for value in (*p, *f)) + "\n")


def audit_once(path: Path) -> dict[str, object]:
    from entrove.curation import audit

    started, cpu = time.monotonic(), time.process_time()
    report = audit(path)
    return {
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "findings": [finding.kind for finding in report.findings],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--audit", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.audit:
        print(json.dumps(audit_once(options.audit)))
        return
    numbers: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for count in options.frames:
            path = Path(temporary) / "set.xyz"
            write_silicon(path, count)
            command = [sys.executable, __file__, "--audit", str(path)]
            finished = subprocess.run(command, capture_output=True, text=True, check=True)
            numbers[f"{count} frames"] = json.loads(finished.stdout.strip().splitlines()[-1])
            print(count, numbers[f"{count} frames"], flush=True)
    write_result(
        "audit_speed",
        "100,000 frames of 16 atoms take less than three minutes on two cores, in memory that "
        "does not grow with the set",
        numbers,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
