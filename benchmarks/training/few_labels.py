"""How far do a dozen DFT labels take SevenNet-0, and which settings take it furthest?

Hypothesis: with 12 to 24 labels of 8 atoms the force error on other trajectories and strains falls
to a third of the untuned model's or less, within 90 s on two cores, and energy and stress improve
with it.

Each number of labels is learnt with the default epochs and with 25. Each line of the sweep changes
one setting of 12 labels and 25 epochs. All runs are judged on the same 12
held-out labels; these choose nothing within a run. The defaults themselves were chosen by looking
at such sweeps, so the numbers of the default line are slightly flattering; the other test of them
is the silicon example.

    python benchmarks/training/few_labels.py WORK_FOLDER RESULT.json [--sweep]
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.training.config import LossConfig, TrainingConfig
from entrove.training.tuning import fine_tune
from entrove.validation.errors_by_kind import ErrorRow, errors_by_kind
from entrove.validation.splits import check_disjoint

DATA = Path(__file__).parents[2] / "tests" / "training" / "data"
SEED = 1

SWEEP: dict[str, dict[str, Any]] = {
    "learning_rate 5e-4": {"learning_rate": 5e-4},
    "learning_rate 2e-3": {"learning_rate": 2e-3},
    "epochs 50": {"epochs": 50},
    "batch_size 2": {"batch_size": 2},
    "stress_weight 1": {"loss": LossConfig(stress_weight=1.0)},
    "stress_weight 1000": {"loss": LossConfig(stress_weight=1000.0)},
    "energy_weight 10": {"loss": LossConfig(energy_weight=10.0)},
    "ema_decay 0": {"ema_decay": 0.0},
    "ema_decay 0.999": {"ema_decay": 0.999},
    "gradient_clip 0.015": {"gradient_clip": 0.015},
    "schedule plateau": {"schedule": "plateau"},
    "strategy frozen, learning_rate 3e-3": {"strategy": "frozen", "learning_rate": 3e-3},
    "strategy lora": {"strategy": "lora"},
    "strategy lora, learning_rate 3e-3": {"strategy": "lora", "learning_rate": 3e-3},
    "strategy lora, learning_rate 1e-2": {"strategy": "lora", "learning_rate": 1e-2},
    "no reference refit": {"refit_reference_energies": False},
    "the paper's Allegro settings": {
        "learning_rate": 5e-5,
        "schedule": "plateau",
        "ema_decay": 0.999,
        "gradient_clip": 0.015,
        "loss": LossConfig(stress_weight=0.01, stress_delta_eV_per_A3=0.1),
    },
}


def every_second(labels: list[Atoms]) -> list[Atoms]:
    """Half of the labels, from every phase, pressure and kind."""
    return labels[::2]


def errors_of(
    model: str, reference: list[Atoms], shifts_eV: Mapping[str, float] | None = None
) -> ErrorRow:
    predicted = predict(load(model, device="cpu"), reference)
    return errors_by_kind(reference, predicted, reference_shifts_eV=shifts_eV or {}).total


def summary(row: ErrorRow) -> dict[str, float]:
    return {
        "energy_mae_meV_per_atom": round(row.energy_mae_meV_per_atom, 2),
        "energy_centred_mae_meV_per_atom": round(row.energy_centred_mae_meV_per_atom, 2),
        "force_mae_meV_per_A": round(row.force_mae_meV_per_A, 1),
        "stress_mae_meV_per_A3": round(row.stress_mae_meV_per_A3, 2),
    }


def run(
    name: str, labels: list[Atoms], test: list[Atoms], folder: Path, threads: int, **changes: Any
) -> dict[str, Any]:
    started = time.perf_counter()
    config = TrainingConfig(**changes)
    model = fine_tune(labels, "7net-0", folder, config, seed=SEED, device="cpu", threads=threads)
    wall = time.perf_counter() - started
    return {
        "name": name,
        "labels": len(labels),
        "epochs": model.epochs_run,
        "training_seconds": round(model.seconds, 1),
        "wall_seconds": round(wall, 1),
        **summary(errors_of(str(model.checkpoint), test)),
        "untuned_with_its_reference_energies": summary(
            errors_of("7net-0", test, model.reference_shifts_eV)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_folder", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sweep", action="store_true", help="change one setting after the other")
    arguments = parser.parse_args()
    train = read(DATA / "silicon-pbe-train.xyz.gz", index=":")
    test = read(DATA / "silicon-pbe-test.xyz.gz", index=":")
    check_disjoint(train, test)
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)
        write(arguments.result, rows, arguments.threads, len(test))

    add({"name": "untuned", "labels": 0, **summary(errors_of("7net-0", test))})
    subsets = {"6 labels": train[::4], "12 labels": every_second(train), "24 labels": train}
    for name, labels in subsets.items():
        for title, changes in (("defaults", {}), ("25 epochs", {"epochs": 25})):
            folder = arguments.work_folder / f"{title}-{name}".replace(" ", "-")
            add(run(f"{title}, {name}", labels, test, folder, arguments.threads, **changes))
    if arguments.sweep:
        for index, (name, changes) in enumerate(SWEEP.items()):
            folder = arguments.work_folder / f"sweep-{index:02d}"
            settings = {"epochs": 25} | changes
            add(run(name, every_second(train), test, folder, arguments.threads, **settings))


def write(path: Path, rows: list[dict[str, Any]], threads: int, test_labels: int) -> None:
    """Write what is known so far; the same command with the same folder continues."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    report = {
        "seed": SEED,
        "threads": threads,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end",
        "versions": {name: version(name) for name in ("sevenn", "torch", "ase", "numpy")},
        "commit": commit.stdout.strip(),
        "test_labels": test_labels,
        "rows": rows,
    }
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
