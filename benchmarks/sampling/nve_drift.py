"""Drift of the total energy in batched NVE with SevenNet-0 at 1 fs.

Run: OMP_NUM_THREADS=1 python benchmarks/sampling/nve_drift.py
"""

import numpy as np
import torch
from provenance import write_result
from silicon import diamond
from torch_sim.integrators.nve import nve_init, nve_step
from torch_sim.units import MetalUnits

from entrove.models.registry import load
from entrove.sampling.batch import gather_batch, reduce_atoms
from entrove.sampling.precision import in_double
from entrove.units import BOLTZMANN_EV_PER_K

TEMPERATURES_K, STEPS, TIMESTEP_FS = (300.0, 1000.0), 500, 1.0


def main():
    model = in_double(load("7net-0", device="cpu").model)
    state = gather_batch([diamond(0.05, seed) for seed in range(len(TEMPERATURES_K))], model)
    state.rng = torch.Generator().manual_seed(0)
    kT = torch.tensor(TEMPERATURES_K, dtype=torch.float64) * BOLTZMANN_EV_PER_K
    md = nve_init(state, model, kT=kT)
    totals = []
    for _ in range(STEPS):
        md = nve_step(md, model, dt=TIMESTEP_FS * 1e-3 * MetalUnits.time)
        kinetic = md.momenta.square().sum(dim=1) / (2 * md.masses)
        totals.append((md.energy + reduce_atoms(kinetic, md, reduce="sum")).numpy())
    series = np.array(totals) * 1000 / 8
    time_ps = np.arange(STEPS) * TIMESTEP_FS * 1e-3
    slopes = np.polyfit(time_ps, series, 1)[0]
    write_result(
        "nve_drift",
        "the total energy drifts by less than 1 meV/atom/ps",
        {
            "drift_meV_per_atom_per_ps": dict(zip(map(str, TEMPERATURES_K), slopes.tolist(), strict=True)),
            "rms_fluctuation_meV_per_atom": dict(
                zip(map(str, TEMPERATURES_K), series.std(axis=0).tolist(), strict=True)
            ),
        },
        steps=STEPS,
        timestep_fs=TIMESTEP_FS,
        atoms_per_walker=8,
        seed=0,
    )


if __name__ == "__main__":
    main()
