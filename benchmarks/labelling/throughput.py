"""Do labels keep the workers busy, and what does labelling itself cost?

`gpaw`: 24 labels of 8-atom silicon. Hypothesis: the time on the clock, the start of the workers
included, is at most 1.05 times the sum of engine times divided by the number of workers.

`teacher`: 1,000 labels of 8-atom silicon by SevenNet-0 (or another model). Hypothesis: labelling
costs at most 50 ms per label beyond the engine, as time of a worker: (time on the clock x workers
- sum of engine times) / labels, the start of the workers included. `emt` is the same with an
engine that takes milliseconds, so that nothing hides behind the engine.

    OMP_NUM_THREADS=1 python benchmarks/labelling/throughput.py gpaw
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from results_file import write_result

from entrove.labelling.config import LabellingConfig
from entrove.labelling.labeller import Labeller
from entrove.labelling.store.cache import LabelCache

SEED = 5
WORKERS = 2
ENGINES = {
    "gpaw": {"name": "gpaw", "cutoff_eV": 300.0, "kpoint_spacing_per_A": 0.35},
    "teacher": {"name": "mlip", "model": "7net-0"},
    "emt": {"name": "ase", "calculator": "ase.calculators.emt:EMT"},
}
COUNTS = {"gpaw": 24, "teacher": 1000, "emt": 1000}
HYPOTHESES = {
    "gpaw": "wall time / (sum of engine times / workers) <= 1.05",
    "teacher": "overhead per label <= 50 ms",
    "emt": "overhead per label <= 50 ms",
}


def make_structures(case: str, count: int) -> list[Atoms]:
    rng = np.random.default_rng(SEED)
    structures = []
    for _ in range(count):
        crystal = (
            bulk("Cu", cubic=True) if case == "emt" else bulk("Si", "diamond", a=5.43, cubic=True)
        )
        crystal.set_cell(crystal.cell.array * rng.uniform(0.97, 1.03), scale_atoms=True)
        crystal.rattle(0.05, rng=rng)
        structures.append(crystal)
    return structures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("case", choices=ENGINES)
    parser.add_argument("--count", type=int)
    arguments = parser.parse_args()
    case, count = arguments.case, arguments.count or COUNTS[arguments.case]
    structures = make_structures(case, count)
    config = LabellingConfig.model_validate(
        {"engine": ENGINES[case], "executor": {"name": "local", "workers": WORKERS}}
    )
    labels, first_s = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            LabelCache(folder / "labels.db") as cache,
            Labeller(config, cache, folder / "work") as labeller,
        ):
            start = time.perf_counter()
            for _, label in labeller.label(structures):
                first_s = first_s or time.perf_counter() - start
                labels.append(label)
            wall_s = time.perf_counter() - start
            stop = time.perf_counter()
        stop_s = time.perf_counter() - stop
    engine_s = sum(label.engine_seconds for label in labels)
    numbers = {
        "labels": count,
        "converged": sum(label.converged for label in labels),
        "wall_s": round(wall_s, 2),
        "engine_s": round(engine_s, 2),
        "wall_over_ideal": round(wall_s / (engine_s / WORKERS), 4),
        "overhead_per_label_ms": round(1000 * (wall_s * WORKERS - engine_s) / count, 2),
        "first_label_after_s": round(first_s, 2),
        "stop_s": round(stop_s, 2),
    }
    if engine_s / count < 0.1 * first_s:
        # Of labels that take as long as the start, half are under way when the first one arrives.
        numbers["overhead_per_label_after_the_first_ms"] = round(
            1000 * ((wall_s - first_s) * WORKERS - engine_s * (count - 1) / count) / (count - 1), 2
        )
    write_result(
        __file__,
        f"throughput_{case}",
        HYPOTHESES[case],
        numbers,
        engine=ENGINES[case],
        workers=WORKERS,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
