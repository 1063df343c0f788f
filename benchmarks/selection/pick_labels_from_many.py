"""Pick 200 of 10,000 candidates of 8 atoms by rows of labels, 256 features, on two threads.

Hypothesis: at most 60 s (hoped: 10 s), and the lazy greedy of the target, which takes old falls as
bounds, ends within 1 % of the variance that evaluating all candidates for every pick ends with.

Rows are numbers: an energy, 24 forces and six stresses of each candidate, correlated within a
candidate, with spreads over three orders of magnitude. Both sides of the comparison pick 40 of
1,000 of them.

    OMP_NUM_THREADS=2 python benchmarks/selection/pick_labels_from_many.py
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

import torch

from entrove import __version__
from entrove.entropy.labels.posterior import LabelPosterior
from entrove.entropy.labels.rows import LabelRows
from entrove.selection import label_gains
from entrove.selection.config import SelectionConfig
from entrove.selection.greedy import select_greedily
from entrove.selection.label_gains import as_pool, growing_labels
from entrove.selection.pool import FeaturePool

SEED = 20261126
ROWS = 1 + 24 + 6
RESULTS = Path(__file__).parent / "results"


def synthetic_rows(candidates: int, features: int) -> torch.Tensor:
    """Rows in float32: each candidate has directions and a size of its own."""
    generator = torch.Generator().manual_seed(SEED)
    spreads = torch.logspace(1.5, -1.5, features)
    rotation = torch.linalg.qr(torch.randn(features, features, generator=generator)).Q
    rows = torch.empty(candidates, ROWS, features)
    for piece in rows.split(1000):
        size = torch.exp(0.5 * torch.randn(len(piece), 1, 1, generator=generator))
        mixing = torch.randn(len(piece), 1, features, generator=generator).exp()
        piece.copy_(torch.randn(len(piece), ROWS, features, generator=generator))
        piece.mul_(size * mixing).mul_(spreads)
        piece.copy_(piece @ rotation)
    return rows


def pick(rows: torch.Tensor, count: int, objective: str, dtype: torch.dtype) -> tuple[list, float]:
    """The picks, and the seconds that they took."""
    sizes = torch.full((len(rows),), rows.shape[1])
    pool = as_pool(LabelRows(rows.flatten(0, 1), sizes, sizes), dtype)
    target = None
    start = time.perf_counter()
    if objective == "target":
        flat = pool.blocks[0].rows
        target = torch.zeros(rows.shape[2], rows.shape[2], dtype=torch.float64)
        for piece in flat.split(2**14):
            target.addmm_(piece.mT.double(), piece.double(), alpha=1 / len(rows))
    growing = growing_labels(LabelPosterior.prior(rows.shape[2]), pool, target)
    config = SelectionConfig(duplicate_tolerance=0.0)
    picks = select_greedily(FeaturePool(len(rows), {}), growing, count, config).indices.tolist()
    return picks, time.perf_counter() - start


def variance_after(rows: torch.Tensor, picks: list[int]) -> float:
    flat = rows.flatten(0, 1).double()
    target = flat.mT @ flat / len(rows)
    chosen = rows[picks].flatten(0, 1).double()
    return LabelPosterior(
        torch.eye(rows.shape[2], dtype=torch.float64) + chosen.mT @ chosen
    ).variance(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--features", type=int, default=256)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    rows = synthetic_rows(given.candidates, given.features)
    results: dict[str, object] = {}
    for storage in (torch.float32, torch.float64):
        for objective in ("information", "target"):
            picks, seconds = pick(rows, given.count, objective, storage)
            results[f"{objective} {str(storage)[6:]} s"] = round(seconds, 2)
            results.setdefault(objective, picks)
            results[f"{objective} picks equal in both precisions"] = picks == results[objective]
            print(objective, storage, f"{seconds:.1f} s", flush=True)
    del results["information"], results["target"]
    small = rows[:1000]
    lazy, _ = pick(small, 40, "target", torch.float64)
    label_gains.GrowingTarget.diminishing = False
    plain, _ = pick(small, 40, "target", torch.float64)
    label_gains.GrowingTarget.diminishing = True
    ends = [variance_after(small, picks) for picks in (lazy, plain)]
    results["variance after 40 of 1,000, lazy / plain"] = ends[0] / ends[1]
    results["same picks, lazy and plain"] = len(set(lazy) & set(plain))
    results["peak memory GB"] = round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2
    )
    results |= {
        "seed": SEED,
        "threads": torch.get_num_threads(),
        "settings": vars(given),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"entrove": __version__, "torch": torch.__version__},
        "date": datetime.now(UTC).date().isoformat(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip(),
    }
    print(json.dumps(results, indent=1))
    path = RESULTS / "pick_labels_from_many.json"
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
