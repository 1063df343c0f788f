"""Which committee knows where it is wrong: members that differ in the order of labels, or more?

Hypothesis: members whose energy heads start from different weights (`head_noise`) rank the errors
of forces and energies better than members that differ in the order of the labels alone, and cost
the first member, which is the potential, nothing.

Four members learn 25 DFT labels of silicon, and are judged on all test structures of that study.
The factor is what spreads have to be multiplied by to be errors; the rank correlation is
Spearman's of spreads and errors.

    python benchmarks/training/committee.py WORK_FOLDER

A training that is finished in WORK_FOLDER is read, and one that was stopped continues.
"""

import argparse
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
from entrove.validation.calibration import calibrate

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

LABELS = Path(__file__).parents[1] / "curves" / "silicon" / "data" / "pbe-labels.xyz.gz"
SEED = 1
COUNT, MEMBERS, EPOCHS = 25, 4, 25
NOISES = (0.0, 0.1, 0.5)


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
    work: Path = parser.parse_args().work_folder
    learnt, test = learnt_and_test()
    rows: dict[str, Any] = {}
    for noise in NOISES:
        config = TrainingConfig(epochs=EPOCHS, committee_size=MEMBERS, head_noise=noise)
        members = train_committee(
            learnt, "7net-0", work / f"noise-{noise:g}", config,
            seed=SEED, device="cpu", threads=1,
        )  # fmt: skip
        files = [str(member.checkpoint) for member in members]
        predicted = predict(committee_of([load(file, device="cpu") for file in files]), test)
        rows[f"head_noise {noise:g}"] = {
            found.quantity: {
                "factor": round(found.factor, 2),
                "rank_correlation": round(found.rank_correlation, 3),
            }
            for found in calibrate(test, predicted)
        } | {
            "mean of members": errors_of(predicted, test),
            "last member": errors_of(predict(load(files[-1], device="cpu"), test), test),
        }
        print(noise, rows[f"head_noise {noise:g}"], flush=True)
    write_result(
        __file__,
        "committee",
        "head noise ranks errors better than the order of labels alone",
        {"committees": rows},
        labels=len(learnt),
        test=len(test),
        members=MEMBERS,
        epochs=EPOCHS,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
