"""Time of the wrapper around SevenNet-0's network per batch: ours and SevenNet's own, in one run.

Hypothesis: SevenNet's wrapper loops over the systems in Python, so its cost grows with their
number; ours does not. What the network itself takes is timed apart: its output is recorded
once and then replayed, so that the wrappers' milliseconds do not drown in its noise.

Run: OMP_NUM_THREADS=2 python benchmarks/models/wrapper_overhead.py [--device cuda]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk

from entrove.models.registry import load

RESULT = Path(__file__).parent / "results" / "wrapper_overhead.json"
SYSTEMS = (1, 4, 16, 64)
ROUNDS = 15
SEED = 0


def rattled_silicon(generator: np.random.Generator) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.positions += 0.1 * generator.normal(size=atoms.positions.shape)
    return atoms


class Replay(torch.nn.Module):
    """Stands where the network stood and returns what it returned."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, _graph):
        return self.output


def seconds(action: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def record(model: torch.nn.Module, attribute: str, state) -> tuple[Replay, list[float]]:
    """Time the network inside `model` and keep its output."""
    network = getattr(model, attribute)
    times, outputs = [], []

    class Timed(torch.nn.Module):
        def forward(self, graph):
            begin = time.perf_counter()
            outputs.append(network(graph))
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
            return outputs[-1]

    setattr(model, attribute, Timed())
    for _ in range(4):
        model(state)
    setattr(model, attribute, network)
    return Replay(outputs[-1]), times[1:]


def measure(ours, theirs, systems: int) -> dict[str, float]:
    """Milliseconds of network and wrappers for a batch of `systems` cells of 8 atoms, medians."""
    generator = np.random.default_rng(SEED)
    atoms = [rattled_silicon(generator) for _ in range(systems)]
    rows = {}
    samples: dict[str, list[float]] = {"ours": [], "sevenn": []}
    wrappers = {
        "ours": (ours, "network", torch_sim.initialize_state(atoms, ours.device, torch.float64)),
        "sevenn": (
            theirs,
            "model",
            torch_sim.initialize_state(atoms, theirs.device, torch.float32),
        ),
    }
    networks = {}
    for name, (model, attribute, state) in wrappers.items():
        networks[name] = getattr(model, attribute)
        replay, times = record(model, attribute, state)
        rows[f"network_ms_in_{name}"] = 1e3 * statistics.median(times)
        setattr(model, attribute, replay)
    for _ in range(ROUNDS):  # alternating: a busy machine slows both alike
        for name, (model, _attribute, state) in wrappers.items():
            samples[name].append(
                seconds(lambda model=model, state=state: model(state), model.device)
            )
    for name, (model, attribute, _state) in wrappers.items():
        setattr(model, attribute, networks[name])
        rows[f"{name}_wrapper_ms"] = 1e3 * statistics.median(samples[name])
    return {
        "systems": systems,
        **rows,
        "ratio": rows["sevenn_wrapper_ms"] / rows["ours_wrapper_ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    warnings.simplefilter("ignore")
    from sevenn.torchsim import SevenNetModel

    ours = load("7net-0", device=device).model
    theirs = SevenNetModel("7net-0", device=device)
    numbers = [measure(ours, theirs, systems) for systems in SYSTEMS]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    result = {
        "hypothesis": "sevenn's wrapper costs more per system; "
        "ours costs little more for 64 than for 1",
        "numbers": numbers,
        "seed": SEED,
        "device": device,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "load_average": os.getloadavg(),
        },
        "commit": commit.stdout.strip(),
        "versions": {
            name: version(name) for name in ("torch", "torch-sim-atomistic", "sevenn", "ase")
        },
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    for row in numbers:
        print({name: round(value, 2) for name, value in row.items()})


if __name__ == "__main__":
    main()
