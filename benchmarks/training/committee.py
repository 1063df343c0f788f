"""Which committee knows where it is wrong: members that differ in the order of labels, or more?

Hypotheses: members whose energy heads start from different weights (`head_noise`) rank the errors
of forces and energies better than members that differ in the order of the labels alone, and cost
the first member, which is the potential, nothing. Members that learn from half of the labels each
(`member_labels`) have spreads nearer to their errors, and the factor between them that their
training labels give, each predicted by the members that left it out, is that of unseen structures
within 20 %.

The members learn 25 DFT labels of silicon, and are judged on all test structures of that study.
The factor is what spreads have to be multiplied by to be errors; the rank correlation is
Spearman's of spreads and errors.

    python benchmarks/training/committee.py WORK_FOLDER [--only NAME ...]

A training that is finished in WORK_FOLDER is read, and one that was stopped continues.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.models import predict
from entrove.models.committee import committee_of
from entrove.models.registry import load
from entrove.structures import read_structures
from entrove.training import TrainingConfig
from entrove.training.committee import train_committee
from entrove.validation import errors_by_kind
from entrove.validation.calibration import Calibration, calibrate, calibrate_left_out

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

LABELS = Path(__file__).parents[1] / "curves" / "silicon" / "data" / "pbe-labels.xyz.gz"
SEED = 1
COUNT, EPOCHS = 25, 25
COMMITTEES: dict[str, dict[str, Any]] = {
    "4 members, head_noise 0": {"committee_size": 4},
    "4 members, head_noise 0.1": {"committee_size": 4, "head_noise": 0.1},
    "4 members, head_noise 0.5": {"committee_size": 4, "head_noise": 0.5},
    "5 members, member_labels 0.5": {"committee_size": 5, "member_labels": 0.5},
    "7 members, member_labels 0.5": {"committee_size": 7, "member_labels": 0.5},
}


def learnt_and_test() -> tuple[list[Atoms], list[Atoms]]:
    """The first labels of the default selection, and the test structures."""
    structures = read_structures(LABELS)
    numbered = {
        int(use.split()[1]): atoms
        for atoms in structures
        for use in atoms.info.get("picked_by", "").split(", ")
        if use.startswith("ours ")
    }
    learnt = [numbered[number] for number in range(COUNT)]
    return learnt, [atoms for atoms in structures if "test" in atoms.info]


def factors_of(found: list[Calibration]) -> dict[str, dict[str, float]]:
    """Factor and rank correlation of each quantity."""
    return {
        one.quantity: {
            "factor": round(one.factor, 2),
            "rank_correlation": round(one.rank_correlation, 3),
        }
        for one in found
    }


def errors_of(predicted: list[Atoms], test: list[Atoms]) -> dict[str, float]:
    row = errors_by_kind(test, predicted, reference_shifts_eV={}).total
    return {
        "energy_meV_per_atom": round(row.energy_mae_meV_per_atom, 2),
        "force_meV_per_A": round(row.force_mae_meV_per_A, 1),
        "stress_meV_per_A3": round(row.stress_mae_meV_per_A3, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work_folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=COMMITTEES, default=list(COMMITTEES))
    arguments = parser.parse_args()
    work: Path = arguments.work_folder
    learnt, test = learnt_and_test()
    rows: dict[str, Any] = {}
    for name in arguments.only:
        settings = COMMITTEES[name]
        members = train_committee(
            learnt,
            "7net-0",
            work / re.sub(r"\W+", "-", name),
            TrainingConfig(epochs=EPOCHS, **settings),
            seed=SEED,
            device="cpu",
            threads=1,
        )
        models = [load(str(member.checkpoint), device="cpu") for member in members]
        predicted = predict(committee_of(models), test)
        rows[name] = {
            **factors_of(calibrate(test, predicted)),
            "mean of members": errors_of(predicted, test),
            "first member": errors_of(predict(models[0], test), test),
        }
        if "member_labels" in settings:
            known = [member.labels_learnt() for member in members]
            of_members = [predict(model, learnt) for model in models]
            rows[name]["on left-out training labels"] = factors_of(
                calibrate_left_out(learnt, known, of_members)
            )
        print(name, rows[name], flush=True)
    write_result(
        __file__,
        "committee",
        "head noise ranks errors better than the order of labels; halves calibrate themselves",
        {"committees": rows},
        labels=len(learnt),
        test=len(test),
        epochs=EPOCHS,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
