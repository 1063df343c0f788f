"""Representative picks: seconds for 1,000 of 100,000 points, and of the points of 1,000 cells.

Hypothesis: picking takes at most a minute, and the points of 1,000 cells of 8 atoms at most a
minute in the last layer of SevenNet-0, on two threads. The floor of a pick is one pass over the
points: 100,000 x 1,024 numbers of 4 bytes, 0.4 GB.

Points for the picking are random numbers: its time does not depend on them. Cells are rattled
silicon.

    OMP_NUM_THREADS=2 python benchmarks/selection/pick_representative.py
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

from entrove.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.models.registry import load
from entrove.selection.representative import WAVES, Embedding, pick_representative

CANDIDATES, COUNT, CELLS, SEED = 100_000, 1000, 1000, 20261126


def cells(count: int) -> list[Atoms]:
    rng = np.random.default_rng(SEED)
    made = []
    for _ in range(count):
        atoms = bulk("Si", a=rng.uniform(5.3, 5.6), cubic=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.3), size=(8, 3))
        made.append(atoms)
    return made


def seconds_of_points(features: FeatureMap, structures: list[Atoms]) -> dict[str, float]:
    start = time.perf_counter()
    embedding = Embedding(features, structures)
    scaled = time.perf_counter()
    embedding.points(structures)
    return {"scaling_s": scaled - start, "points_s": time.perf_counter() - scaled}


def main() -> None:
    generator = torch.Generator().manual_seed(SEED)
    points = torch.randn(CANDIDATES, 2 * WAVES, generator=generator)
    open_ = torch.ones(CANDIDATES, dtype=torch.bool)
    start = time.perf_counter()
    sizes = torch.full((len(points),), 8)
    picks = pick_representative(
        points, points.mean(0), points[:0], open_, COUNT, sizes=sizes
    ).indices
    picking = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(10):
        points @ points[0]
    floor = (time.perf_counter() - start) / 10 * COUNT
    del points
    structures = cells(CELLS)
    write_result(
        __file__,
        "pick_representative",
        "1,000 of 100,000 within a minute, points of 1,000 cells of 8 atoms within a minute",
        {
            "picks": len(set(picks)),
            "picking_s": picking,
            "floor_s": floor,
            "picking_over_floor": picking / floor,
            "last layer of SevenNet-0": seconds_of_points(load("7net-0").features(), structures),
            "fingerprints": seconds_of_points(GaussianOverlap(), structures),
        },
        candidates=CANDIDATES,
        count=COUNT,
        cells=CELLS,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
