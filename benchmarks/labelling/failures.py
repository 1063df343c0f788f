"""200 labels by an engine that fails for 30 % of the structures, in five ways.

The engine is the misbehaving calculator of the tests: a real calculator (EMT) that crashes with a
segmentation fault, hangs and ignores SIGTERM, says that it did not converge, returns garbage, or
returns NaN. Hypothesis: all other labels are done and right, and every failure is quarantined with
its own cause.

    OMP_NUM_THREADS=1 python benchmarks/labelling/failures.py
"""

import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
CALCULATORS = HERE.parents[1] / "tests" / "labelling"
os.environ["PYTHONPATH"] = str(CALCULATORS)
sys.path[:0] = [str(CALCULATORS), str(HERE.parent)]

from ase.calculators.emt import EMT  # noqa: E402
from misbehaving import FIVE_WAYS, copper  # noqa: E402
from results_file import write_result  # noqa: E402

from entrove.labelling.config import LabellingConfig  # noqa: E402
from entrove.labelling.labeller import Labeller  # noqa: E402
from entrove.labelling.store.cache import LabelCache  # noqa: E402

SEED = 30
LABELS = 200
FAILURES = 60
TIME_LIMIT_S = 3.0
EXPECTED = {
    "fine": ("converged", ""),
    "crash": ("crashed", "SIGSEGV"),
    "hang": ("timed out", "no result within"),
    "not_converged": ("not converged", "steps were not enough"),
    "garbage": ("rejected", "is above the limit"),
    "nan": ("rejected", "the energy is nan"),
}


def main() -> None:
    behaviours = [FIVE_WAYS[index % len(FIVE_WAYS)] for index in range(FAILURES)]
    behaviours += ["fine"] * (LABELS - FAILURES)
    random.Random(SEED).shuffle(behaviours)
    structures = [copper(seed, behaviour) for seed, behaviour in enumerate(behaviours)]
    config = LabellingConfig.model_validate(
        {
            "engine": {"name": "ase", "calculator": "misbehaving:Misbehaving"},
            "time_limit_s": TIME_LIMIT_S,
            "longer_try_factor": 1.0,
        }
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        with (
            LabelCache(folder / "labels.db") as cache,
            Labeller(config, cache, folder / "work") as labeller,
        ):
            labels = dict(labeller.label(structures))
        wall_s = time.perf_counter() - start
    wrong_cause, largest_error = [], 0.0
    for index, behaviour in enumerate(behaviours):
        outcome, cause = EXPECTED[behaviour]
        if labels[index].outcome.value != outcome or cause not in labels[index].cause:
            wrong_cause.append(f"{behaviour}: {labels[index].outcome} ({labels[index].cause})")
        if behaviour == "fine" and labels[index].energy_eV is not None:
            direct = structures[index].copy()
            direct.calc = EMT()
            largest_error = max(
                largest_error, abs(direct.get_potential_energy() - labels[index].energy_eV)
            )
    numbers = {
        "labels": len(labels),
        "asked_for": dict(Counter(behaviours)),
        "outcomes": dict(Counter(label.outcome.value for label in labels.values())),
        "wrong_outcome_or_cause": wrong_cause,
        "largest_energy_error_eV": largest_error,
        "wall_s": round(wall_s, 1),
    }
    hypothesis = "140 right labels and 60 quarantined ones, each with the cause that was provoked"
    write_result(
        __file__, "failures", hypothesis, numbers, seed=SEED, time_limit_s=TIME_LIMIT_S, workers=2
    )


if __name__ == "__main__":
    main()
