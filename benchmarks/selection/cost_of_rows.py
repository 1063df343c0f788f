"""Time and accuracy of the rows of labels of 8-atom cells, in features of SevenNet-0.

Hypothesis: the rows of 1,000 candidates take less than 5 minutes on two cores (hoped: 1), and are
exact to a few per cent of their length.

Compared, on strained and rattled silicon: one-sided differences along all 27 directions (what
`LabelRowMap` does), along a random sketch of them, central differences, and exact derivatives by
one backward pass per feature. Times are scaled to 1,000 cells; on a machine that others use, trust
the processor time, the sum over threads. `error` is |R - R_exact| / |R_exact|, the largest over
four cells, for the rows of forces and stress; for a sketch it is that of R^T R.

    OMP_NUM_THREADS=2 python benchmarks/selection/cost_of_rows.py --cells 64
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from entrove import __version__
from entrove.entropy.labels.derivatives import derivatives, sum_over_species
from entrove.entropy.labels.directions import NoiseOfRows, directions_of
from entrove.features import AtomFeatures, FeatureMap
from entrove.fingerprints.batching import to_state
from entrove.models.registry import load

SEED = 20261126
SILICON = (14,)
NOISE = NoiseOfRows(0.1, 0.01)
CHECKED = 4
RESULTS = Path(__file__).parent / "results"


def cells(count: int) -> list[Atoms]:
    rng, made = np.random.default_rng(SEED), []
    for _ in range(count):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True)
        strain = np.eye(3) * rng.uniform(0.93, 1.07) + rng.normal(scale=0.03, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(scale=rng.uniform(0.05, 0.4), size=(8, 3))
        made.append(atoms)
    return made


def differences(features: FeatureMap, structures: list[Atoms], most: int | None, step_A: float):
    directions = [directions_of(atoms, NOISE, most) for atoms in structures]
    state = to_state(structures)
    values = features.evaluate(state, pull_back=False).values
    sums = sum_over_species(AtomFeatures.of_state(values, state), SILICON)
    return derivatives(features, state, directions, SILICON, sums=sums, step_A=step_A)


def central_differences(features: FeatureMap, structures: list[Atoms], step_A: float):
    directions = [directions_of(atoms, NOISE, None) for atoms in structures]
    state = to_state(structures)
    zero = torch.zeros(len(structures), features.length, dtype=torch.float64)
    ends = [
        derivatives(features, state, directions, SILICON, sums=zero, step_A=step)
        for step in (step_A, -step_A)
    ]
    return [(plus + minus) / 2 for plus, minus in zip(*ends, strict=True)]


def exact(features: FeatureMap, structures: list[Atoms]):
    """One backward pass for each feature."""
    directions = [directions_of(atoms, NOISE, None) for atoms in structures]
    found = features.evaluate(to_state(structures))
    rows = [
        torch.zeros(len(of_one.strains), features.length, dtype=torch.float64)
        for of_one in directions
    ]
    for k in range(features.length):
        gradient = torch.zeros_like(found.values)
        gradient[:, k] = 1.0
        pulled = found.pull_back(gradient)
        for index, of_one in enumerate(directions):
            mine = slice(8 * index, 8 * index + 8)
            rows[index][:, k] = torch.einsum(
                "knc,nc->k", of_one.displacements, pulled.positions[mine]
            ) + torch.einsum("kab,ab->k", of_one.strains, pulled.strain[index])
    return rows


def largest_error(found, wanted, *, of_grams: bool = False) -> float:
    pairs = list(zip(found, wanted, strict=True))
    if of_grams:
        pairs = [(f.mT @ f, w.mT @ w) for f, w in pairs]
    return max(float((f - w).norm() / w.norm()) for f, w in pairs)


def timed(work: Callable[[], list[torch.Tensor]], count: int):
    """The result, and its seconds for 1,000 cells: on the clock, and of processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    found = work()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return found, {
        "s per 1,000": round(1000 * clock / count),
        "processor s per 1,000": round(1000 * processor / count),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    features = load("7net-0", device="cpu").features()
    structures = cells(given.cells)
    few = structures[:CHECKED]
    features.evaluate(to_state(few), pull_back=False)  # compiles its small modules
    wanted, seconds = timed(lambda: exact(features, few), len(few))
    rows = [{"rows": "a backward pass per feature", **seconds, "error": 0.0}]
    ways = {
        "one-sided, all 27 directions, 1e-3 A": lambda some: differences(
            features, some, None, 1e-3
        ),
        "one-sided, all 27 directions, 5e-3 A": lambda some: differences(
            features, some, None, 5e-3
        ),
        "central, all 27 directions, 1e-2 A": lambda some: central_differences(
            features, some, 1e-2
        ),
        "one-sided, sketch of 12": lambda some: differences(features, some, 12, 1e-3),
        "one-sided, sketch of 6": lambda some: differences(features, some, 6, 1e-3),
    }
    for name, way in ways.items():
        found, seconds = timed(partial(way, structures), len(structures))
        error = largest_error(found[:CHECKED], wanted, of_grams="sketch" in name)
        rows.append({"rows": name, **seconds, "error": round(error, 4)})
        print(rows[-1], flush=True)
    results = {
        "rows": rows,
        "cells": given.cells,
        "seed": SEED,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
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
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cost_of_rows.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
