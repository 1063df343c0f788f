"""Are 8, 16 and 24 DFT labels of silicon enough for the default recipe to make no part worse?

Hypothesis: with them SevenNet-0 is worse than untuned, beyond the interval, in no kind and no
quantity; sheared cells are better.

The labels are the first picks of both arms in benchmarks/curves/silicon/data/pbe-labels.xyz.gz,
the tests the independent set of that file, the verdict is that of a campaign. The untuned model
has the energy shift per element that fits the labels which the tuned one has learnt.

    python benchmarks/training/silicon_against_untuned.py WORK_FOLDER [--counts 8 16 24]
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import read_structures
from entrove.training.config import TrainingConfig
from entrove.training.tuning import fine_tune
from entrove.validation import compare, errors_by_kind
from entrove.validation.errors_by_kind import ALL, ErrorTable

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "curves"))
from relabelled import ARMS, DATA, FIRST, picked_by
from results_file import write_result

BASE = "7net-0"
SEED = 1


def errors_of(table: ErrorTable) -> dict[str, list[float]]:
    """Energy (meV/atom), forces (meV/A) and stress (meV/A^3) of all, and of each kind."""
    return {
        row.kind: [
            round(row.energy_mae_meV_per_atom, 2),
            round(row.force_mae_meV_per_A, 1),
            round(row.stress_mae_meV_per_A3, 2),
        ]
        for row in table.rows
        if row.phase == ALL
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[8, 16, 24])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    labelled = read_structures(DATA / f"{FIRST}.xyz.gz")
    test = [a for a in labelled if "independent" in a.info.get("test", "").split(", ")]
    untuned = predict(load(BASE, device="cpu"), test)
    rows: list[dict[str, Any]] = []
    for count in arguments.counts:
        for arm in ARMS:
            model = fine_tune(
                picked_by(arm, labelled)[:count],
                BASE,
                arguments.work / f"{arm}-{count}",
                TrainingConfig(),
                seed=SEED,
                device="cpu",
                threads=arguments.threads,
            )
            before = errors_by_kind(test, untuned, reference_shifts_eV=model.reference_shifts_eV)
            tuned = predict(load(str(model.checkpoint), device="cpu"), test)
            after = errors_by_kind(test, tuned, reference_shifts_eV={})
            verdict = compare(before, after)
            row = {
                "labels": count,
                "arm": arm,
                "accepted": verdict.accepted,
                "reason": verdict.reason,
                "worse": [change.describe() for change in verdict.worse],
                "larger_within_noise": [
                    change.describe() for change in verdict.larger_within_noise
                ],
                "untuned": errors_of(before),
                "tuned": errors_of(after),
            }
            rows.append(row)
            print(*row.items(), sep="\n", flush=True)
    write_result(
        __file__,
        "silicon_against_untuned",
        "with 8, 16 and 24 labels no kind and quantity is worse, and sheared cells are better",
        {"test_structures": len(test), "rows": rows},
        base=BASE,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
