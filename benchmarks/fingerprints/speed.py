"""Values and pull-back of fingerprints: time against libfp, threads, memory, float32.

Hypotheses: on one thread at least 4 times (8 atoms) and 20 times (64 atoms) faster than libfp's
`get_dfp` plus contraction; 512 atoms on two threads at least 1.5 times the atoms per second of 64
atoms on one; 2000 atoms within 1 GB. The floor is the eigensolver: LAPACK's syevd on the same
matrices and nothing else.

    python benchmarks/fingerprints/speed.py --libfp-python OTHER_ENVIRONMENT/bin/python

libfp 4.0.1 lives in an environment of its own; its runs alternate with ours, so both see the same
machine.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import entrove
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap

HERE = Path(__file__).parent
CUTOFF_A = 5.0
LENGTH = 100  # libfp aborts when a sphere of rattled diamond holds more
SEED = 0


def structures() -> dict[str, Atoms]:
    cells = {
        "Si": bulk("Si", "diamond", a=5.431, cubic=True),
        "C": bulk("C", "diamond", a=3.567, cubic=True),
        "NaCl": bulk("NaCl", "rocksalt", a=5.640, cubic=True),
    }
    made = {f"{name}{8 * n**3}": cell.repeat(n) for name, cell in cells.items() for n in (1, 2)}
    for atoms in made.values():
        atoms.rattle(0.05, seed=SEED)
    return made


def seconds_of(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def against_libfp(libfp_python: str, repeats: int) -> list[dict[str, object]]:
    """Median times of both sides, alternating; and the time of the eigensolver alone."""
    worker = subprocess.Popen(
        [libfp_python, str(HERE / "libfp_worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert worker.stdin is not None
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            compare(worker, Path(folder) / f"{name}.npz", name, atoms, repeats)
            for name, atoms in structures().items()
        ]
    worker.stdin.close()
    worker.wait()
    return rows


def compare(
    worker: subprocess.Popen, path: Path, name: str, atoms: Atoms, repeats: int
) -> dict[str, object]:
    features = GaussianOverlap(FingerprintConfig(cutoff_A=CUTOFF_A, length=LENGTH))
    g = np.random.default_rng(SEED).normal(size=(len(atoms), LENGTH))
    np.savez(path, cell=atoms.cell.array, positions=atoms.positions, numbers=atoms.numbers, g=g)
    state, g_tensor = to_state([atoms]), torch.as_tensor(g)
    matrices = eigensolver_input(features, state)
    ours = {
        "batch": lambda: features.evaluate(state).pull_back(g_tensor),
        "arrays": lambda: entrove.fingerprint([atoms], CUTOFF_A, LENGTH).pull_back(g),
        "eigensolver": lambda: [torch.linalg.eigh(matrix) for matrix in matrices],
    }
    times: dict[str, list[float]] = {side: [] for side in ("libfp", *ours)}
    for _ in range(repeats + 1):
        seconds, largest_force = ask(worker, path)
        times["libfp"].append(seconds)
        for side, function in ours.items():
            # Several of ours for one of theirs: they are short, and both sides get the same wall
            # time.
            times[side] += [seconds_of(function) for _ in range(5)]
    pulled = features.evaluate(state).pull_back(g_tensor).positions
    assert abs(float(pulled.abs().max()) - largest_force) < 1e-9 * largest_force
    row: dict[str, object] = {"system": name, "largest_sphere": max(m.shape[1] for m in matrices)}
    for side, values in times.items():
        warm = values[len(values) // (repeats + 1) :]
        row[f"{side}_ms"] = 1e3 * median(warm)
        row[f"{side}_fastest_ms"] = 1e3 * min(warm)
    return row


def ask(worker: subprocess.Popen, path: Path) -> tuple[float, float]:
    """Seconds that libfp took, and the largest component of its contracted gradient."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{path} {CUTOFF_A} {LENGTH}\n")
    worker.stdin.flush()
    seconds, largest_force = map(float, worker.stdout.readline().split())
    return seconds, largest_force


def eigensolver_input(features: GaussianOverlap, state) -> list[torch.Tensor]:
    """Symmetric positive matrices of the sizes that this state needs, in batches of equal size."""
    counts = features.evaluate(state)._batch.neighbours.count + 1
    generator = torch.Generator().manual_seed(SEED)
    batches = []
    for size, spheres in zip(*torch.unique(counts, return_counts=True), strict=True):
        random = torch.randn(
            int(spheres), int(size), int(size), dtype=torch.float64, generator=generator
        )
        batches.append(random @ random.mT)
    return batches


def two_threads(repeats: int) -> dict[str, float]:
    """Atoms per second: 64 atoms on one thread, 512 atoms on one and two; alternating."""
    features = GaussianOverlap(FingerprintConfig())
    small, large = (bulk("Si", cubic=True).repeat(n) for n in (2, 4))
    runs = {}
    for name, atoms, threads in (("64x1", small, 1), ("512x1", large, 1), ("512x2", large, 2)):
        atoms.rattle(0.05, seed=SEED)
        state = to_state([atoms])
        g = torch.randn(
            len(atoms), 50, dtype=torch.float64, generator=torch.Generator().manual_seed(SEED)
        )
        runs[name] = (state, g, threads)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, (state, g, threads) in runs.items():
            torch.set_num_threads(threads)
            times[name].append(seconds_of(lambda s=state, h=g: features.evaluate(s).pull_back(h)))
    torch.set_num_threads(1)
    return {name: runs[name][0].n_atoms / median(values[1:]) for name, values in times.items()}


def peak_memory(element: str, orbitals: str) -> dict[str, object]:
    """Peak resident memory of 2000 atoms beyond that of 8, each in its own process."""
    script = f"""
import resource, torch
from ase.build import bulk
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
features = GaussianOverlap(FingerprintConfig(orbitals="{orbitals}"))
def run(atoms):
    atoms.rattle(0.05, seed=0)
    state = to_state([atoms])
    features.evaluate(state).pull_back(torch.ones(len(atoms), 50, dtype=torch.float64))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = run(bulk("{element}", cubic=True))
print(before, run(bulk("{element}", cubic=True).repeat((5, 5, 10))))
"""
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    before, after = map(int, output.stdout.split()[-2:])
    return {
        "system": f"{element}2000 {orbitals}",
        "extra_MB": (after - before) / 1024,
        "process_MB": after / 1024,
    }


def float32_error() -> list[dict[str, object]]:
    rows = []
    for name, atoms in structures().items():
        exact, rough = (
            entrove.fingerprint([atoms], CUTOFF_A, LENGTH, dtype=d) for d in ("float64", "float32")
        )
        g = np.random.default_rng(SEED).normal(size=exact.values.shape)
        expected = exact.pull_back(g).positions
        error = rough.pull_back(g).positions - expected
        rows.append(
            {
                "system": name,
                "values_max_abs": float(np.abs(rough.values - exact.values).max()),
                "pull_back_relative_rms": float(np.linalg.norm(error) / np.linalg.norm(expected)),
            }
        )
    return rows


def machine() -> dict[str, object]:
    model = [
        line
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": model[0].split(":")[1].strip() if model else "unknown",
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "torch": torch.__version__,
        "entrove": entrove.__version__,
        "commit": commit,
        "seed": SEED,
    }


def report(results: dict) -> str:
    """The results as a short page."""
    host = results["machine"]
    lines = [
        "# Fingerprints: measured",
        "",
        f"{host['cpu']}, {host['cores']} cores, load {host['load_average']:.1f} at the start, "
        f"torch {host['torch']}, commit {host['commit'][:10]}; medians.",
        "",
        f"Values and pull-back, cutoff {CUTOFF_A} A, one thread. The floor is the eigensolver "
        "alone.",
        "",
        "| system | largest sphere | libfp (ms) | ours (ms) | faster | fastest runs | floor (ms) "
        "| ours / floor | Atoms to arrays (ms) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["against_libfp"]:
        lines.append(
            f"| {row['system']} | {row['largest_sphere']} | {row['libfp_ms']:.1f} | "
            f"{row['batch_ms']:.2f} | {row['libfp_ms'] / row['batch_ms']:.1f}x | "
            f"{row['libfp_fastest_ms'] / row['batch_fastest_ms']:.1f}x | "
            f"{row['eigensolver_ms']:.2f} | {row['batch_ms'] / row['eigensolver_ms']:.2f} | "
            f"{row['arrays_ms']:.2f} |"
        )
    rate = results["atoms_per_second"]
    lines += [
        "",
        f"Silicon, atoms per second: 64 atoms on one thread {rate['64x1']:.0f}; 512 atoms on one "
        f"{rate['512x1']:.0f} ({rate['512x1'] / rate['64x1']:.2f}x), on two {rate['512x2']:.0f} "
        f"({rate['512x2'] / rate['64x1']:.2f}x).",
        "",
        "| 2000 atoms, values and pull-back | extra peak memory (MB) | whole process (MB) |",
        "|---|---|---|",
        *(
            f"| {row['system']} | {row['extra_MB']:.0f} | {row['process_MB']:.0f} |"
            for row in results["peak_memory"]
        ),
        "",
        "| float32 | largest error of a value | relative rms error of the pull-back |",
        "|---|---|---|",
        *(
            f"| {row['system']} | {row['values_max_abs']:.1e} | "
            f"{row['pull_back_relative_rms']:.1e} |"
            for row in results["float32"]
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--libfp-python", required=True, help="python of an environment that has libfp 4.0.1"
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=HERE / "speed_results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {
        "machine": machine(),
        "against_libfp": against_libfp(arguments.libfp_python, arguments.repeats),
        "atoms_per_second": two_threads(arguments.repeats),
        "peak_memory": [peak_memory(*case) for case in (("Si", "s"), ("C", "s"), ("Si", "sp"))],
        "float32": float32_error(),
        "seconds_of_cpu": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
    }
    arguments.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(report(results))


if __name__ == "__main__":
    main()
