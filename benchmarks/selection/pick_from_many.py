"""Pick 1,000 of 100,000 configurations of 16 atoms with 64 features, on two threads.

Hypothesis: lazy greedy with batched evaluation needs at most 60 s (hoped: 10 s) and 4 GB, and is
at least 1,000 times faster than computing the determinant of every candidate anew for every pick.

Both sides run in this process, one after the other. The naive side (NumPy, float64, one `slogdet(M
+ X^T X)` per candidate and pick) is timed on 1,000 candidates and one pick, and extrapolated to
all candidates and picks. Before that, both sides pick from those 1,000 candidates and must agree.

The pool is made of numbers (`synthetic`: eight phases, log-normal temperatures, correlated
features whose spreads cover three orders of magnitude) or of real Gaussian-overlap fingerprints of
strained and rattled silicon (`fingerprints`: 1.6 million environments, minutes to make). Making it
is not part of the time.

    OMP_NUM_THREADS=2 python benchmarks/selection/pick_from_many.py synthetic
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from entrove import __version__
from entrove.entropy.batches import evaluate_in_batches
from entrove.entropy.config import EntropyConfig
from entrove.entropy.moments import SpeciesMoments
from entrove.entropy.whitening import Whitening
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.selection.config import SelectionConfig
from entrove.selection.gains import growing_dataset
from entrove.selection.greedy import select_greedily
from entrove.selection.pool import FeaturePool, PoolBlock

SEED = 20260520
ATOMS, FEATURES = 16, 64
SILICON = 14
ENTROPY = EntropyConfig(kind="information")
SELECTION = SelectionConfig(storage="float32")
NAIVE_CANDIDATES = 1000
CHECKED_PICKS = 5


def synthetic_rows(candidates: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(SEED)
    spreads = torch.logspace(0, -3, FEATURES)
    rotation = torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=generator)).Q
    phases = torch.randn(8, FEATURES, generator=generator)
    rows = torch.empty(candidates, ATOMS, FEATURES)
    for piece in rows.split(10_000):
        amplitude = torch.exp(0.5 * torch.randn(len(piece), 1, 1, generator=generator))
        phase = phases[torch.randint(0, 8, (len(piece),), generator=generator)]
        scatter = torch.randn(len(piece), ATOMS, FEATURES, generator=generator)
        piece.copy_(((amplitude * scatter + 0.5 * phase[:, None]) * spreads) @ rotation)
    return rows.flatten(0, 1)


def silicon_cells(candidates: int):
    """Diamond and simple hexagonal silicon, strained by up to 10 % and rattled by up to 0.4 A."""
    rng = np.random.default_rng(SEED)
    diamond = bulk("Si", "diamond", a=5.43, cubic=True).repeat((2, 1, 1))
    hexagonal = Atoms("Si", cell=[[2.64, 0, 0], [-1.32, 2.286, 0], [0, 0, 2.48]], pbc=True).repeat(
        (2, 2, 4)
    )
    for _ in range(candidates):
        atoms = (diamond, hexagonal)[rng.integers(2)].copy()
        strain = np.eye(3) * rng.uniform(0.92, 1.08) + rng.normal(scale=0.02, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.4), size=(ATOMS, 3))
        yield atoms


def fingerprint_rows(candidates: int) -> torch.Tensor:
    features = GaussianOverlap(FingerprintConfig(length=FEATURES))
    rows = torch.empty(candidates * ATOMS, FEATURES)
    done = 0
    for batch in evaluate_in_batches(features, silicon_cells(candidates), batch_atoms=16 * 1024):
        rows[done : done + len(batch.values)] = batch.values
        done += len(batch.values)
    return rows


def make_pool(kind: str, candidates: int) -> FeaturePool:
    rows = {"synthetic": synthetic_rows, "fingerprints": fingerprint_rows}[kind](candidates)
    pool = FeaturePool(
        candidates, {SILICON: PoolBlock(rows, ATOMS * torch.arange(candidates + 1))}
    )
    whitening = Whitening.of(pool.moments(), ENTROPY.scale_floor)
    pool.transform_(lambda number, piece: whitening[number].apply(piece))
    return pool


def pick(pool: FeaturePool, count: int) -> dict:
    """One selection, timed, with the number of gains that were evaluated."""
    dataset = growing_dataset(ENTROPY, SpeciesMoments(), pool)
    evaluate, evaluated = dataset.gains, 0

    def count_and_evaluate(candidates):
        nonlocal evaluated
        evaluated += len(candidates)
        return evaluate(candidates)

    dataset.gains = count_and_evaluate
    wall, cpu = time.perf_counter(), time.process_time()
    selection = select_greedily(pool, dataset, count, SELECTION)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "evaluations": evaluated,
        "indices": selection.indices.tolist(),
        "gains": selection.gains,
    }


def naive_scores(M: np.ndarray, rows: np.ndarray) -> list[float]:
    """ln det(M + X^T X) of every candidate, from scratch."""
    return [np.linalg.slogdet(M + X.T @ X)[1] for X in rows]


def run_naive(pool: FeaturePool) -> dict:
    """Time one naive pick among the first candidates, and check that both sides pick the same."""
    rows = pool.blocks[SILICON].rows[: NAIVE_CANDIDATES * ATOMS].double().numpy()
    rows = rows.reshape(NAIVE_CANDIDATES, ATOMS, FEATURES)
    M, picks, seconds = ENTROPY.ridge * np.eye(FEATURES), [], []
    for _ in range(CHECKED_PICKS):
        start = time.perf_counter()
        scores = np.array(naive_scores(M, rows))
        seconds.append(time.perf_counter() - start)
        scores[picks] = -np.inf
        picks.append(int(scores.argmax()))
        M += rows[picks[-1]].T @ rows[picks[-1]]
    small = FeaturePool(
        NAIVE_CANDIDATES,
        {
            SILICON: PoolBlock(
                pool.blocks[SILICON].rows[: NAIVE_CANDIDATES * ATOMS],
                ATOMS * torch.arange(NAIVE_CANDIDATES + 1),
            )
        },
    )
    lazy = pick(small, CHECKED_PICKS)["indices"]
    if lazy != picks:
        raise SystemExit(f"the two sides disagree: naive {picks}, lazy {lazy}")
    return {
        "seconds_per_candidate": float(np.median(seconds)) / NAIVE_CANDIDATES,
        "picks_compared": len(picks),
    }


def floor(pool: FeaturePool, count: int) -> dict:
    """Time of the operations that no greedy method can do without, at this machine's matrix speed.

    Each candidate has to be evaluated once, and each pick once more: X T, W W^T, Cholesky.
    """
    A = torch.randn(4096, 4096)
    A @ A
    start = time.perf_counter()
    for _ in range(3):
        A @ A
    flops_per_s = 3 * 2 * 4096**3 / (time.perf_counter() - start)
    per_candidate = 2 * ATOMS * FEATURES**2 + 2 * ATOMS**2 * FEATURES + ATOMS**3 / 3
    operations = (pool.size + count) * per_candidate
    return {
        "operations": operations,
        "bytes_read": pool.blocks[SILICON].rows.nbytes,
        "sgemm_flops_per_s": flops_per_s,
        "seconds": operations / flops_per_s,
        "seconds_per_evaluation": per_candidate / flops_per_s,
    }


def facts() -> dict:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    model = [
        line
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cpu": model[0].split(":")[1].strip() if model else platform.processor(),
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "entrove": __version__,
        "seed": SEED,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["synthetic", "fingerprints"])
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    known = facts()
    start = time.perf_counter()
    pool = make_pool(arguments.kind, arguments.candidates)
    making_s = time.perf_counter() - start
    runs = [pick(pool, arguments.count) for _ in range(arguments.repeats)]
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    naive = run_naive(pool)
    least = floor(pool, arguments.count)
    wall_s = float(np.median([run["wall_s"] for run in runs]))
    naive_s = (
        naive["seconds_per_candidate"]
        * arguments.count
        * (arguments.candidates - arguments.count / 2)
    )
    gains = runs[0]["gains"]
    result = {
        **known,
        "pool": {
            "kind": arguments.kind,
            "candidates": pool.size,
            "atoms": ATOMS,
            "features": FEATURES,
        },
        "picks": arguments.count,
        "making_the_pool_s": making_s,
        "lazy": {
            "wall_s": wall_s,
            "wall_s_of_all_repeats": [run["wall_s"] for run in runs],
            "cpu_s_of_all_repeats": [run["cpu_s"] for run in runs],
            "evaluations": runs[0]["evaluations"],
            "evaluations_of_plain_greedy": arguments.count * pool.size,
            "peak_bytes_of_the_process": peak_bytes,
            "gain_first_nats": float(gains[0]),
            "gain_last_nats": float(gains[-1]),
            "gain_sum_nats": float(gains.sum()),
        },
        "naive": {**naive, "extrapolated_s": naive_s},
        "floor": least,
        "speedup_over_naive": naive_s / wall_s,
        "times_the_floor": wall_s / least["seconds"],
        "times_the_floor_of_the_evaluations_made": wall_s
        / (runs[0]["evaluations"] * least["seconds_per_evaluation"]),
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"pick_from_many_{arguments.kind}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
