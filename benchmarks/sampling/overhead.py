"""What the bias and everything else that is not the model cost, SevenNet-0, 16 x 8 silicon atoms.

Run: OMP_NUM_THREADS=1 python benchmarks/sampling/overhead.py
Biased and unbiased steps alternate, so that a busy machine slows both alike.
"""

import time
from functools import partial

import numpy as np
from provenance import write_result
from silicon import FEATURES, dataset, diamond

from entrove.models.registry import load
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.grid import Start, plan_walkers
from entrove.sampling.precision import plain_state
from entrove.sampling.stepping import Stepper
from entrove.sampling.walkers import init_walkers, thermalise

WALKERS, ROUNDS = 16, 12


class Clock:
    """A model whose time is taken."""

    def __init__(self, model):
        self.seconds = 0.0
        forward = model.forward

        def timed(*args, **kwargs):
            begin = time.perf_counter()
            result = forward(*args, **kwargs)
            self.seconds += time.perf_counter() - begin
            return result

        model.forward = timed


def timed(action):
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def main():
    model = load("7net-0", device="cpu").model
    clock = Clock(model)
    config = SamplingConfig(
        thermalise_steps=20, biases=(BiasSettings(entropy="information", fractions=(0.5,)),)
    )
    starts = [Start("diamond", 0.0, diamond(0.05, seed)) for seed in range(WALKERS)]
    walkers, structures = plan_walkers(starts, [1000.0], config)
    state = thermalise(init_walkers(walkers, structures, model, config, 0), model, config)
    functionals = {("information", "per_atom"): dataset("information").functional()}
    biased = Stepper(state, model, FEATURES, functionals, config)
    unbiased = Stepper(state, model, None, None, config)
    for stepper in (biased, unbiased):
        stepper.advance(look_closely=True)
    seconds = {"biased": [], "unbiased": [], "model_in_biased": [], "bare_model": []}
    for _ in range(ROUNDS):
        clock.seconds = 0.0
        seconds["biased"].append(timed(lambda: biased.advance(look_closely=True)))
        seconds["model_in_biased"].append(clock.seconds)
        seconds["unbiased"].append(timed(lambda: unbiased.advance(look_closely=True)))
        bare = plain_state(biased.md, model.dtype)
        seconds["bare_model"].append(timed(partial(model, bare)))
    share = 1 - np.array(seconds["model_in_biased"]) / np.array(seconds["biased"])
    write_result(
        "overhead",
        "a biased step costs at most 1.10 unbiased steps, and what is not the model less than 10 % of the wall time",
        {
            "biased_over_unbiased": float(np.median(seconds["biased"]) / np.median(seconds["unbiased"])),
            "share_that_is_not_the_model": float(np.median(share)),
            "unbiased_step_over_bare_model": float(
                np.median(seconds["unbiased"]) / np.median(seconds["bare_model"])
            ),
            "median_seconds": {key: float(np.median(value)) for key, value in seconds.items()},
            "fastest_seconds": {key: float(np.min(value)) for key, value in seconds.items()},
        },
        walkers=WALKERS,
        atoms_per_walker=8,
        rounds=ROUNDS,
        guards="every guard, distances included, at every step",
        seed=0,
    )


if __name__ == "__main__":
    main()
