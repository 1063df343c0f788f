"""Which foundation model learns most from 25 DFT labels, and with which learning rate?

Hypothesis, written before the first run: SevenNet-l3i5, a larger network trained on the same data
as SevenNet-0, is better untuned and tuned, and by more than any choice of labels makes SevenNet-0
better (at most 1.2 times).

Labels and tests are those of `benchmarks/curves/SYSTEM/dft-draws.yaml`: PBE by GPAW, 25 picks of
one arm in each draw, an independent set, and a mixture, which is what both arms have picked in the
other draws. An untuned model gets the reference energies of the same 25 labels.

    python benchmarks/training/foundation_models.py WORK_FOLDER --system silicon \
        --models 7net-0 7net-l3i5 --draws 0 1 2 [--untuned] [--settings '{"learning_rate": 0.003}']

Rows are added to those of earlier runs. A run that was stopped continues with its last epoch.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from ase import Atoms

from entrove.curves.learning import test_errors
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import attach_results, content_hash, energy_of, read_structures
from entrove.training.config import TrainingConfig
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.tuning import fine_tune

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "curves"))
from other_draws import read_picks
from results_file import read_result, write_result

CURVES = Path(__file__).parents[1] / "curves"
LABELS = {
    "silicon": CURVES / "silicon" / "data" / "pbe-labels-dense-draws.xyz.gz",
    "sodium_chloride": CURVES / "sodium_chloride" / "data" / "pbe-labels-draws.xyz.gz",
}


def tests_of(labels: Path, draw: int, count: int) -> dict[str, list[Atoms]]:
    """The independent set, and the picks of other draws that neither arm of this one has."""
    picks = read_picks(labels, count)
    known = {key for (_, of), found in picks.items() if of == draw for key in found}
    others = {key: a for (_, of), found in picks.items() if of != draw for key, a in found.items()}
    independent = [
        atoms
        for atoms in read_structures(labels)
        if "independent" in atoms.info.get("test", "").split(", ")
    ]
    return {
        "independent": independent,
        "mixture": [atoms for key, atoms in others.items() if key not in known],
    }


def untuned_predictions(name: str, learnt: list[Atoms], tested: list[Atoms]) -> list[Atoms]:
    """Predictions with the energies per element that fit the labels best."""
    model = load(name, device="cpu")
    shifts = fit_reference_shifts(learnt, [energy_of(a) for a in predict(model, learnt)])
    return [
        attach_results(
            atoms,
            energy_of(atoms) + sum(shifts[symbol] for symbol in atoms.symbols),
            atoms.get_forces(),
            atoms.get_stress(),
        )
        for atoms in predict(model, tested)
    ]


def errors_on(tests: dict[str, list[Atoms]], predicted: list[Atoms]) -> list[dict[str, Any]]:
    """Errors of predictions, in any order, on each test and each part of it."""
    by_structure = {content_hash(atoms): atoms for atoms in predicted}
    return [
        {"test": test} | errors.to_dict()
        for test, of in tests.items()
        for errors in test_errors(of, [by_structure[content_hash(a)] for a in of])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work_folder", type=Path)
    parser.add_argument("--system", choices=LABELS, required=True)
    parser.add_argument("--models", nargs="+", default=["7net-0", "7net-l3i5"])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arm", default="ours", help="whose picks are learnt")
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--untuned", action="store_true")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the training, as JSON")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    labels = LABELS[arguments.system]
    name = f"foundation-models-{arguments.system}"
    rows: list[dict[str, Any]] = read_result(__file__, name).get("rows", [])
    for draw in arguments.draws:
        learnt = list(read_picks(labels, arguments.count)[arguments.arm, draw].values())
        tests = tests_of(labels, draw, arguments.count)
        tested = [atoms for of in tests.values() for atoms in of]
        for base in arguments.models:
            row = {
                "model": base,
                "tuned": not arguments.untuned,
                "settings": {} if arguments.untuned else arguments.settings,
                "arm": arguments.arm,
                "labels": arguments.count,
                "draw": draw,
            }
            rows = [other for other in rows if any(other[key] != row[key] for key in row)]
            row["training_seconds"] = 0.0
            started = time.perf_counter()
            if arguments.untuned:
                predicted = untuned_predictions(base, learnt, tested)
            else:
                model, _, modal = base.partition("@")
                tuned = fine_tune(
                    learnt,
                    model,
                    arguments.work_folder / folder_name(arguments.system, row),
                    TrainingConfig(**arguments.settings),
                    seed=draw,
                    modal=modal or None,
                    device="cpu",
                    threads=arguments.threads,
                )
                row["training_seconds"] = round(tuned.seconds, 1)
                path = f"{tuned.checkpoint}@{modal}" if modal else str(tuned.checkpoint)
                started = time.perf_counter()
                predicted = predict(load(path, device="cpu"), tested)
            row["seconds_per_test"] = round((time.perf_counter() - started) / len(tested), 3)
            row["errors"] = errors_on(tests, predicted)
            rows.append(row)
            write_result(
                __file__,
                name,
                "SevenNet-l3i5 is better than SevenNet-0, untuned and tuned, by more than 1.2",
                {"rows": rows},
                labels=labels.name,
            )


def folder_name(system: str, row: dict[str, Any]) -> str:
    settings = "-".join(f"{key}={value}" for key, value in row["settings"].items())
    parts = (system, row["model"], row["arm"], row["labels"], row["draw"], settings)
    return "-".join(str(part) for part in parts if part != "").replace("/", "-")


if __name__ == "__main__":
    main()
