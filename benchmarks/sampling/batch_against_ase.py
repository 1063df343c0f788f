"""All walkers in one batch against the same walkers one by one in ASE with a libfp bias.

Run: OMP_NUM_THREADS=2 python benchmarks/sampling/batch_against_ase.py [--device cuda --walkers 256
--atoms 16] (needs `pip install libfp==4.0.1`; on a CPU both sides may use as many threads as
OMP_NUM_THREADS says). Both sides: 32 walkers x 8 silicon atoms (or what is asked for), SevenNet-0,
the paper's entropy of 20 stored cells, k = 2 eV, 50 eigenvalues within 5 A, Langevin NVT. Ours
also adapts, guards and copies snapshots; ASE does not.
"""

import argparse
import os
import time
from typing import ClassVar

import libfp
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from provenance import write_result
from silicon import bench_features, dataset, diamond, stored_cells

from entrove.models.registry import load
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.run import init_walkers
from entrove.sampling.walkers.stepping import Stepper

KAPPA_EV, ROUNDS, STEPS, EPSILON = 2.0, 7, 1, 1e-3


def libfp_cell(atoms):
    return (atoms.cell.array, atoms.positions, [1] * len(atoms), [14])


class LibfpBias(Calculator):
    """The paper's bias as written with libfp: dense Jacobian, one configuration at a time."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, base, stored):
        super().__init__()
        self.base = base
        rows = np.concatenate(
            [libfp.get_lfp(libfp_cell(atoms), cutoff=5.0, log=False, natx=50) for atoms in stored]
        )
        self.count, self.total, self.outer = len(rows), rows.sum(axis=0), rows.T @ rows

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        rows, jacobian = libfp.get_dfp(libfp_cell(self.atoms), cutoff=5.0, log=False, natx=50)
        count = self.count + len(rows)
        mean = (self.total + rows.sum(axis=0)) / count
        sigma = (
            (self.outer + rows.T @ rows) / count
            - np.outer(mean, mean)
            + EPSILON * np.eye(len(mean))
        )
        entropy = np.linalg.slogdet(sigma)[1]
        slope = 2.0 / count * np.linalg.solve(sigma, (rows - mean).T).T
        self.results = {
            "energy": self.base.get_potential_energy(self.atoms) - KAPPA_EV * entropy,
            "forces": self.base.get_forces(self.atoms)
            + KAPPA_EV * np.einsum("ik,ijck->jc", slope, jacobian),
        }


def ours(model, walker_count, atoms):
    config = SamplingConfig(
        thermalise_steps=0,
        friction_per_fs=0.01,
        biases=(BiasSettings(entropy="paper", kappas_eV=(KAPPA_EV,)),),
    )
    starts = [Start("diamond", 0.0, diamond(0.05, seed, atoms)) for seed in range(walker_count)]
    walkers, structures = plan_walkers(starts, [1000.0], config)
    state = init_walkers(walkers, structures, model, config, 0)
    features = bench_features(str(model.device))
    biases = {("paper", "per_atom"): dataset("paper", features).bias()}
    return Stepper(state, model, biases, config)


def theirs(calculator, walker_count, atom_count):
    runs = []
    for seed in range(walker_count):
        atoms = diamond(0.05, seed, atom_count)
        atoms.calc = LibfpBias(calculator, stored_cells())
        rng = np.random.default_rng(seed)
        MaxwellBoltzmannDistribution(atoms, temperature_K=1000.0, rng=rng)
        runs.append(
            Langevin(
                atoms, 1.0 * units.fs, temperature_K=1000.0, friction=0.01 / units.fs, rng=rng
            )
        )
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--walkers", type=int, default=32)
    parser.add_argument("--atoms", type=int, default=8, choices=[8, 16])
    arguments = parser.parse_args()
    size = arguments.walkers, arguments.atoms
    loaded = load("7net-0", device=arguments.device)
    batch, alone = ours(loaded.model, *size), theirs(loaded.calculator(), *size)
    # Same physics first: forces of the same structures from both sides.
    expected = np.concatenate([run.atoms.get_forces() for run in alone])
    difference = float(np.abs(batch.md.forces.cpu().numpy() - expected).max())

    batch.advance(check_distances=False)
    for run in alone:
        run.run(1)
    seconds_batch, seconds_alone = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(STEPS):
            batch.advance(check_distances=False)
        batch.take_snapshots("entropy_md", "md")
        middle = time.perf_counter()
        for run in alone:
            run.run(STEPS)
        seconds_batch.append((middle - begin) / STEPS)
        seconds_alone.append((time.perf_counter() - middle) / STEPS)
    ratios = np.array(seconds_alone) / np.array(seconds_batch)
    write_result(
        f"batch_against_ase_{arguments.device}_{os.environ.get('OMP_NUM_THREADS', 'all')}_threads",
        "one batched step is at least 1.5 times faster (30 times on a GPU with 256 x 16 atoms) "
        "than ASE steps of the same walkers one by one, with a libfp bias",
        {
            "seconds_per_step_batch": seconds_batch,
            "seconds_per_step_ase": seconds_alone,
            "times_faster_median": float(np.median(ratios)),
            "times_faster_lowest": float(ratios.min()),
            "largest_force_difference_eV_per_A": difference,
        },
        device=arguments.device,
        walkers=arguments.walkers,
        atoms_per_walker=arguments.atoms,
        kappa_eV=KAPPA_EV,
        rounds=ROUNDS,
        steps_per_round=STEPS,
        seed=0,
        libfp="4.0.1",
    )


if __name__ == "__main__":
    main()
