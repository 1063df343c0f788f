"""Time of CHGNet per cell: in a batch of ours, and with its own ASE calculator, in one run.

Hypothesis: a cell of 64 silicon atoms takes less than half as long in a batch.

Run: OMP_NUM_THREADS=2 python benchmarks/models/chgnet_batch.py
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from chgnet.model.dynamics import CHGNetCalculator

from entrove.models.prediction import predict
from entrove.models.registry import load

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

CELLS = 8
ROUNDS = 9


def rattled_silicon(count: int) -> list[Atoms]:
    """Cells of 64 atoms; all others than the evaluated ones, so that nothing is remembered."""
    cells = []
    for seed in range(count):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
        atoms.rattle(0.1, rng=np.random.default_rng(seed))
        cells.append(atoms)
    return cells


def seconds_per_cell(evaluate: Callable[[Sequence[Atoms]], object], cells: list[Atoms]) -> float:
    begin = time.perf_counter()
    evaluate(cells)
    return (time.perf_counter() - begin) / len(cells)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    model = load("chgnet", device="cpu")
    calculator = CHGNetCalculator(use_device="cpu")

    def one_by_one(cells: Sequence[Atoms]) -> None:
        for atoms in cells:
            copy = atoms.copy()
            copy.calc = calculator
            copy.get_forces()
            copy.get_stress()

    rounds = [rattled_silicon((number + 2) * CELLS)[-CELLS:] for number in range(ROUNDS + 1)]
    batched, single = [], []
    for cells in rounds:  # in turns, so that noise of the machine meets both
        batched.append(seconds_per_cell(lambda found: predict(model, found), cells))
        single.append(seconds_per_cell(one_by_one, cells))
    ours, theirs = (
        statistics.median(times[1:]) for times in (batched, single)
    )  # without the first
    write_result(
        __file__,
        "chgnet-batch",
        "a cell of 64 silicon atoms takes less than half as long in a batch",
        {
            "batched_ms_per_cell": round(1000 * ours, 1),
            "own_calculator_ms_per_cell": round(1000 * theirs, 1),
            "ratio": round(theirs / ours, 2),
        },
        atoms=64,
        cells_per_batch=CELLS,
        rounds=ROUNDS,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
