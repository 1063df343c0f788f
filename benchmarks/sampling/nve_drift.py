"""Drift of the total energy in batched NVE with SevenNet-0, without and with the entropy bias.

Run: OMP_NUM_THREADS=1 python benchmarks/sampling/nve_drift.py      (4 minutes on one core) and
with `--timestep-fs 0.5`, which tells the integrator's error (it falls with the step) from one of
the forces. The biased energy is conserved only while kappa and the dataset are frozen, so both
are: 20 thermal cells, and the kappa that makes the rms bias force half the rms model force at the
start (information), or 5 eV (paper). Every arm starts from the same cells with the same
velocities.
"""

import argparse
from itertools import product

import numpy as np
import torch
from provenance import write_result
from silicon import bench_features, dataset, diamond
from torch_sim.integrators.nve import nve_init, nve_step
from torch_sim.units import MetalUnits

from entrove.models.registry import load
from entrove.sampling.batch import gather_batch, reduce_atoms
from entrove.sampling.bias.entropy_bias import EntropyBias
from entrove.units import BOLTZMANN_EV_PER_K

ARMS = ("unbiased", "information", "paper")
TEMPERATURES_K = (300.0, 1000.0)
FRACTION, PAPER_KAPPA_EV = 0.5, 5.0
FEATURES = bench_features()


def rms_force(forces: torch.Tensor, state) -> torch.Tensor:
    return reduce_atoms(forces.square().sum(dim=1), state, reduce="mean").sqrt()


def biased_model(base, state, runs) -> EntropyBias:
    """The arms side by side, each with its entropy and its frozen strength."""
    of_arm = {name: dataset(name, FEATURES).bias() for name in ("information", "paper")}
    biases = [of_arm.get(arm) for arm, _ in runs]
    probe = EntropyBias(base, biases, torch.full((len(runs),), 1e-6, dtype=torch.float64))
    first = probe(state)
    adapted = FRACTION * rms_force(first["base_forces"], state) / first["entropy_slope"]
    kappa = [
        {"unbiased": 0.0, "information": float(adapted[row]), "paper": PAPER_KAPPA_EV}[arm]
        for row, (arm, _) in enumerate(runs)
    ]
    return EntropyBias(base, biases, torch.tensor(kappa, dtype=torch.float64))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--timestep-fs", type=float, default=1.0)
    arguments = parser.parse_args()
    steps, timestep_fs = arguments.steps, arguments.timestep_fs
    runs = list(product(ARMS, TEMPERATURES_K))
    base = load("7net-0", device="cpu").model
    state = gather_batch([diamond(0.05, TEMPERATURES_K.index(kelvin)) for _, kelvin in runs], base)
    model = biased_model(base, state, runs)
    state.rng = torch.Generator().manual_seed(0)
    kT = torch.tensor([kelvin for _, kelvin in runs], dtype=torch.float64) * BOLTZMANN_EV_PER_K
    md = nve_init(state, model, kT=kT)
    atoms = len(md.positions) // len(ARMS)
    md.momenta = md.momenta[:atoms].repeat(len(ARMS), 1)
    totals, bias_forces = [], []
    for _ in range(steps):
        md = nve_step(md, model, dt=timestep_fs * 1e-3 * MetalUnits.time)
        kinetic = md.momenta.square().sum(dim=1) / (2 * md.masses)
        totals.append((md.energy + reduce_atoms(kinetic, md, reduce="sum")).numpy())
        bias_forces.append(rms_force(md.forces - md.base_forces, md).numpy())
    series = np.array(totals) * 1000 / 8
    time_ps = np.arange(steps) * timestep_fs * 1e-3

    def by_arm(values) -> dict:
        columns = {arm: {} for arm in ARMS}
        for (arm, kelvin), value in zip(runs, values, strict=True):
            columns[arm][str(kelvin)] = float(value)
        return columns

    write_result(
        "nve_drift" if timestep_fs == 1.0 else f"nve_drift_{timestep_fs:g}_fs",
        "the total energy drifts by less than 1 meV/atom/ps at 1 fs without bias; with a bias of "
        "half the model force drift and fluctuation are larger and fall with the time step, as "
        "those of an integrator do",
        {
            "drift_meV_per_atom_per_ps": by_arm(np.polyfit(time_ps, series, 1)[0]),
            "rms_fluctuation_meV_per_atom": by_arm(series.std(axis=0)),
            "kappa_eV": by_arm(model.kappa_eV),
            "rms_bias_force_eV_per_A": by_arm(np.mean(bias_forces, axis=0)),
        },
        steps=steps,
        timestep_fs=timestep_fs,
        temperatures_K=TEMPERATURES_K,
        atoms_per_walker=8,
        stored_cells=20,
        seed=0,
    )


if __name__ == "__main__":
    main()
