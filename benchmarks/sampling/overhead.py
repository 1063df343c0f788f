"""What the bias and everything else that is not the model cost: SevenNet-0, silicon.

Hypotheses: a biased step costs at most 1.10 unbiased steps (1.25 on a GPU with 64 x 16 atoms), and
what is not the model takes less than 10 % of the time of an exploration: steps, guards, snapshots,
admission to the dataset, new entropies and files included.

Run: OMP_NUM_THREADS=2 python benchmarks/sampling/overhead.py [--device cuda --walkers 64 --atoms
16]

Biased and unbiased steps alternate, and the ratio is that of neighbours in time, so that a busy
machine slows both alike. The share of the model is timed inside the biased run itself.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from provenance import write_result
from silicon import bench_features, dataset, diamond

from entrove.models.registry import load
from entrove.sampling.candidates import write_candidates
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.pools.entropy_md import advance, begin
from entrove.sampling.walkers.checkpoint import save_walkers
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.stepping import Stepper
from entrove.selection.from_structures import select

ROUNDS = 30
CHUNKS, CHUNK_STEPS, SNAPSHOT_EVERY, ADMITTED = 2, 40, 20, 16
KEY = ("information", "per_atom")


class Clock:
    """A model whose time is taken."""

    def __init__(self, model):
        self.seconds = 0.0
        forward = model.forward

        def timed(*args, **kwargs):
            begin = now(model.device)
            result = forward(*args, **kwargs)
            self.seconds += now(model.device) - begin
            return result

        model.forward = timed


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def step_ratios(exploration, model, features, config) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of biased and unbiased steps of the same walkers, in turns."""
    biases = {KEY: dataset("information", features).bias()}
    biased = Stepper(exploration.walkers, model, biases, config)
    unbiased = Stepper(exploration.walkers, model, None, config)
    seconds = {biased: [], unbiased: []}
    for turn in range(ROUNDS + 1):
        order = (biased, unbiased) if turn % 2 else (unbiased, biased)
        for stepper in order:
            start = now(model.device)
            stepper.advance(check_distances=True)
            seconds[stepper].append(now(model.device) - start)
    return np.array(seconds[biased][1:]), np.array(seconds[unbiased][1:])


def model_share(exploration, model, features, config, clock) -> tuple[float, float]:
    """Seconds of an exploration after thermalisation, and those of them that the model took."""
    known = dataset("information", features)

    def admit(snapshots):
        count = min(ADMITTED, len(snapshots))
        chosen = select(
            [snapshot.atoms for snapshot in snapshots], count, given=known
        ).indices.tolist()
        known.add([snapshots[index].atoms for index in chosen])
        return chosen

    clock.seconds = 0.0
    start = now(model.device)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(CHUNKS):
            exploration = advance(exploration, model, {KEY: known.bias()}, config, admit)
            write_candidates(Path(folder) / "candidates.xyz", exploration.candidates)
            save_walkers(Path(folder) / "walkers.pt", exploration.walkers)
    return now(model.device) - start, clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--walkers", type=int, default=16)
    parser.add_argument("--atoms", type=int, default=8, choices=[8, 16])
    arguments = parser.parse_args()
    model, features = (
        load("7net-0", device=arguments.device).model,
        bench_features(arguments.device),
    )
    clock = Clock(model)
    config = SamplingConfig(
        thermalise_steps=20,
        chunk_steps=CHUNK_STEPS,
        chunks=CHUNKS,
        snapshot_every=SNAPSHOT_EVERY,
        biases=(BiasSettings(entropy="information", fractions=(0.5,)),),
    )
    starts = [
        Start("diamond", 0.0, diamond(0.05, seed, arguments.atoms))
        for seed in range(arguments.walkers)
    ]
    walkers, structures = plan_walkers(starts, [1000.0], config)
    exploration = begin(walkers, structures, model, config, 0)
    biased, unbiased = step_ratios(exploration, model, features, config)
    whole_s, model_s = model_share(exploration, model, features, config, clock)
    ratios = biased / unbiased
    write_result(
        "overhead" if arguments.device == "cpu" else "overhead_cuda",
        "a biased step costs at most 1.10 unbiased steps (1.25 on a GPU), and what is not the "
        "model less than 10 % of the time of an exploration",
        {
            "biased_over_unbiased_median": float(np.median(ratios)),
            "biased_over_unbiased_quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
            "biased_over_unbiased_of_the_fastest": float(biased.min() / unbiased.min()),
            "median_seconds": {
                "biased_step": float(np.median(biased)),
                "unbiased_step": float(np.median(unbiased)),
            },
            "exploration_seconds": whole_s,
            "share_that_is_not_the_model": 1 - model_s / whole_s,
        },
        device=str(model.device),
        walkers=arguments.walkers,
        atoms_per_walker=arguments.atoms,
        rounds=ROUNDS,
        chunks=CHUNKS,
        chunk_steps=CHUNK_STEPS,
        snapshots_per_walker=CHUNKS * CHUNK_STEPS // SNAPSHOT_EVERY,
        admitted_per_chunk=min(ADMITTED, arguments.walkers * CHUNK_STEPS // SNAPSHOT_EVERY),
        guards="every guard, distances included, at every step of the ratio",
        seed=0,
    )


if __name__ == "__main__":
    main()
