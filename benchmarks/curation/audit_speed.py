"""How long does an audit without a model take, and does its memory grow with the set?

Hypothesis: 100,000 frames of 16 atoms take less than three minutes on two cores, and the process
needs no more memory for them than for a tenth of them, but for 100 MB.

    python benchmarks/curation/audit_speed.py [--frames 10000 100000]

The frames are silicon under random strain and displacements, with energies, forces and stresses
of a smooth pair potential: an audit takes as long whatever the labels say.
Each size runs in a process of its own, so that peak memory is that of the audit.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from results_file import write_result

SEED = 0
BOND_A, DEPTH_EV, RANGE_A = 2.35, 1.0, 4.2
FRAMES_AT_A_TIME = 25


def write_silicon(path: Path, count: int) -> None:
    """Write frames of 16 atoms with labels of a pair potential, in extended XYZ."""
    from ase.build import bulk

    rng = np.random.default_rng(SEED)
    ideal = bulk("Si", "diamond", a=5.43, cubic=True).repeat((2, 1, 1))
    fractions = ideal.get_scaled_positions()
    lattice = " ".join(["%.8f"] * 9)
    text = (
        f'16\nLattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 energy=%.8f '
        f'stress="{lattice}" pbc="T T T"\n' + ("Si" + " %.8f" * 6 + "\n") * 16
    )
    with path.open("w") as file:
        for start in range(0, count, FRAMES_AT_A_TIME):
            frames = min(FRAMES_AT_A_TIME, count - start)
            strains = rng.normal(scale=0.02, size=(frames, 3, 3))
            cells = ideal.cell.array @ (np.eye(3) + (strains + strains.swapaxes(1, 2)) / 2)
            positions = fractions @ cells + rng.normal(scale=0.1, size=(frames, 16, 3))
            energies, forces, stresses = pair_labels(cells, positions)
            atoms = np.concatenate([positions, forces], axis=2).reshape(frames, -1)
            rows = [
                cells.reshape(frames, 9),
                energies[:, None],
                stresses.reshape(frames, 9),
                atoms,
            ]
            for row in np.concatenate(rows, axis=1).tolist():
                file.write(text % tuple(row))


def pair_labels(
    cells: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies (eV), forces (eV/A) and stresses (eV/A^3, 3 x 3) of a smooth pair potential."""
    images = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    apart = positions[:, None, :, None] - positions[:, :, None, None]
    apart = apart + (images @ cells)[:, None, None]
    length = np.linalg.norm(apart, axis=-1)
    near = (length > 0) & (length < RANGE_A)
    frame, atom, _, _ = np.nonzero(near)
    d, r = apart[near], length[near]
    cut = (1 - (r / RANGE_A) ** 2) ** 2
    slope_cut = -4 * r / RANGE_A**2 * (1 - (r / RANGE_A) ** 2)
    well = DEPTH_EV * ((r - BOND_A) ** 2 - 1)
    slope = 2 * DEPTH_EV * (r - BOND_A) * cut + well * slope_cut
    pull = slope[:, None] * d / r[:, None]
    frames, size = positions.shape[:2]
    energies = 0.5 * np.bincount(frame, well * cut, frames) - 4.0 * size
    forces = np.stack(
        [np.bincount(frame * size + atom, pull[:, axis], frames * size) for axis in range(3)], -1
    )
    virials = [
        np.bincount(frame, pull[:, i] * d[:, j], frames) for i in range(3) for j in range(3)
    ]
    volumes = np.abs(np.linalg.det(cells))
    stresses = 0.5 * np.stack(virials, axis=-1).reshape(frames, 3, 3) / volumes[:, None, None]
    return energies, forces.reshape(frames, size, 3), stresses


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
        __file__,
        "audit_speed",
        "100,000 frames of 16 atoms take less than three minutes on two cores, in memory that "
        "does not grow with the set",
        numbers,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
