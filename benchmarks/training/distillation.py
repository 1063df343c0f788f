"""Does a small model learn more from a few DFT labels when a larger one has learnt them first?

Hypothesis, written before the first run: SevenNet-0 that learns 25 PBE labels and, beside them,
175 snapshots labelled by a SevenNet-l3i5 that was tuned to the same 25, has smaller errors than
SevenNet-0 tuned to the 25 alone, on independent structures and on a mixture, and comes within 10 %
of its teacher.

Labels and tests are those of `foundation_models.py`, whose work folder this continues. The
snapshots are the picks of the same draw that come after the first 25; their DFT labels are not
used. Labels of the teacher cost no DFT.

    python benchmarks/training/distillation.py WORK_FOLDER --system silicon
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import read_structures
from entrove.training.config import TrainingConfig
from entrove.training.tuning import TrainedModel, fine_tune

sys.path.insert(0, str(Path(__file__).parent))
from foundation_models import CURVES, LABELS, errors_on, tests_of
from other_draws import read_picks
from results_file import read_result, write_result

SNAPSHOTS = {
    "silicon": CURVES / "silicon" / "data" / "pbe-labels-200.xyz.gz",
    "sodium_chloride": CURVES / "sodium_chloride" / "data" / "pbe-labels.xyz.gz",
}
DRAW = 0


def picks_after(file: Path, arm: str, first: int, count: int) -> list[Atoms]:
    """Picks of an arm from number `first` on, at most `count`, without their labels."""
    numbered = {}
    for atoms in read_structures(file):
        for use in filter(None, atoms.info.get("picked_by", "").split(", ")):
            picked_by, _, number = use.rpartition(" ")
            if picked_by == arm and first <= int(number) < first + count:
                numbered[int(number)] = atoms.copy()  # a copy has no calculator
    return [numbered[number] for number in sorted(numbered)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work_folder", type=Path)
    parser.add_argument("--system", choices=LABELS, required=True)
    parser.add_argument("--teacher", default="7net-l3i5", help="tuned to the DFT labels first")
    parser.add_argument("--student", default="7net-0")
    parser.add_argument("--arm", default="ours")
    parser.add_argument("--count", type=int, default=25, help="DFT labels")
    parser.add_argument("--snapshots", type=int, default=175, help="labels of the teacher")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    labels, arm, count = LABELS[arguments.system], arguments.arm, arguments.count
    learnt = list(read_picks(labels, count)[arm, DRAW].values())
    tests = tests_of(labels, DRAW, count)
    name = f"distillation-{arguments.system}"
    rows: list[dict[str, Any]] = read_result(__file__, name).get("rows", [])

    def tune(base: str, structures: list[Atoms], folder: str) -> TrainedModel:
        return fine_tune(
            structures,
            base,
            arguments.work_folder / folder,
            TrainingConfig(),
            seed=DRAW,
            device="cpu",
            threads=arguments.threads,
        )

    def record(role: str, base: str, model: TrainedModel, learnt_of_teacher: int) -> None:
        row: dict[str, Any] = {
            "role": role,
            "model": base,
            "arm": arm,
            "labels": count,
            "labels_of_teacher": learnt_of_teacher,
        }
        tested = [atoms for of in tests.values() for atoms in of]
        started = time.perf_counter()
        found = predict(load(str(model.checkpoint), device="cpu"), tested)
        seconds = (time.perf_counter() - started) / len(tested)
        rows[:] = [other for other in rows if any(other[key] != row[key] for key in row)]
        row |= {
            "epochs": model.epochs_run,
            "training_seconds": round(model.seconds, 1),
            "seconds_per_test": round(seconds, 3),
            "errors": errors_on(tests, found),
        }
        rows.append(row)
        write_result(
            __file__,
            name,
            "a distilled SevenNet-0 has smaller errors than one tuned to the DFT labels alone",
            {"rows": rows},
            labels=labels.name,
            snapshots=SNAPSHOTS[arguments.system].name,
        )

    teacher = tune(arguments.teacher, learnt, _folder(arguments, arguments.teacher))
    record("teacher", arguments.teacher, teacher, 0)
    alone = tune(arguments.student, learnt, _folder(arguments, arguments.student))
    record("alone", arguments.student, alone, 0)
    more = picks_after(SNAPSHOTS[arguments.system], arm, count, arguments.snapshots)
    more = predict(load(str(teacher.checkpoint), device="cpu"), more)
    student = tune(
        arguments.student,
        [*learnt, *more],
        f"distilled-{_folder(arguments, arguments.student)}-{len(more)}-of-{arguments.teacher}",
    )
    record("distilled", arguments.student, student, len(more))


def _folder(arguments: argparse.Namespace, model: str) -> str:
    """The folder that `foundation_models.py` gives the same training."""
    return f"{arguments.system}-{model}-{arguments.arm}-{arguments.count}-{DRAW}"


if __name__ == "__main__":
    main()
