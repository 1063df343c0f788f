"""What Entrove's training adds to SevenNet's own command, at equal labels, epochs and settings.

Hypothesis: a training with `fine_tune` takes at most 3 % more than `sevenn train`, both with
their own start, graphs, checkpoints and end: silicon, SevenNet-0, all weights, batches of 4, Adam,
Huber loss on energy, forces and stress, one thread. `sevenn` writes one checkpoint, at the end;
`fine_tune` stores its state after every epoch, so that it can continue.

The two take turns. The time is that of the processor (user and system, all processes), which
other programs on the machine disturb less than wall time, which is recorded beside it.

    python benchmarks/training/overhead.py [--epochs 25] [--repeats 2]
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from ase.io import read, write

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

DATA = Path(__file__).parents[2] / "tests" / "training" / "data" / "silicon-pbe-train.xyz.gz"
LABELS, BATCH, RATE, SEED = 24, 4, 1e-3, 1
MOST_PERCENT = 3.0

OURS = """
import sys
from pathlib import Path
from ase.io import read
from entrove.training import TrainingConfig, fine_tune

labels, folder, epochs = sys.argv[1:]
config = TrainingConfig(
    epochs=int(epochs), batch_size={batch}, learning_rate={rate}, stop_fraction=0.0
)
fine_tune(read(labels, ":"), "7net-0", folder, config, seed={seed}, device="cpu", threads=1)
"""


def input_of_sevenn(labels: Path, epochs: int) -> dict[str, Any]:
    """SevenNet's preset for fine-tuning, with the settings of the other side."""
    import sevenn

    preset = Path(sevenn.__file__).parent / "presets" / "fine_tune.yaml"
    settings = yaml.safe_load(preset.read_text())
    settings["train"] |= {
        "random_seed": SEED,
        "epoch": epochs,
        "optim_param": {"lr": RATE},
        "scheduler": "exponentiallr",
        "scheduler_param": {"gamma": 0.99},
        "per_epoch": epochs,
        "error_record": [["TotalLoss", "None"]],
    }
    settings["train"]["continue"]["checkpoint"] = "7net-0"
    settings["data"] = {
        "batch_size": BATCH,
        "data_format_args": {"index": ":"},
        "load_trainset_path": [str(labels)],
    }
    return settings


def timed(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command; processor and wall time of it and of all that it started, in s."""
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    log = folder / "log"
    with log.open("wb") as output:
        ended = subprocess.run(
            command, cwd=folder, stdout=output, stderr=output, check=False, env=os.environ | ONE
        )
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"processor_s": round(used, 1), "wall_s": round(time.perf_counter() - clock, 1)}


ONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    labels = read(DATA, ":")[:LABELS]
    assert isinstance(labels[0], Atoms)
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        write(place / "labels.extxyz", labels)
        script = place / "ours.py"
        script.write_text(OURS.format(batch=BATCH, rate=RATE, seed=SEED))
        (place / "input.yaml").write_text(
            yaml.safe_dump(input_of_sevenn(place / "labels.extxyz", arguments.epochs))
        )
        sevenn = str(Path(sys.executable).with_name("sevenn"))
        commands: dict[str, Callable[[Path], list[str]]] = {
            "sevenn": lambda _: [sevenn, "train", str(place / "input.yaml")],
            "entrove": lambda folder: [
                *(sys.executable, str(script), str(place / "labels.extxyz")),
                *(str(folder / "run"), str(arguments.epochs)),
            ],
        }
        times: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for repeat in range(arguments.repeats):
            order = list(commands) if repeat % 2 == 0 else list(reversed(commands))
            for name in order:
                folder = place / f"{name}-{repeat}"
                folder.mkdir()
                times[name].append(timed(commands[name](folder), folder))
                print(name, times[name][-1], flush=True)
    medians = {
        name: {
            what: statistics.median(row[what] for row in rows)
            for what in ("processor_s", "wall_s")
        }
        for name, rows in times.items()
    }
    percent = 100 * (medians["entrove"]["processor_s"] / medians["sevenn"]["processor_s"] - 1)
    numbers: dict[str, object] = {
        "overhead_percent": round(percent, 1),
        "reached": percent <= MOST_PERCENT,
        "median": medians,
        "runs": times,
    }
    write_result(
        __file__,
        "overhead",
        "fine_tune takes at most 3 % more processor time than sevenn train",
        numbers,
        labels=LABELS,
        batch=BATCH,
        epochs=arguments.epochs,
        repeats=arguments.repeats,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
