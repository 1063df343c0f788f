"""How many unphysical cells the guards let through, 2000 K and 50 GPa, under the strongest biases.

Run: OMP_NUM_THREADS=1 python benchmarks/sampling/unphysical.py lennard_jones|sevennet
`lennard_jones`: copper-like (epsilon 0.4093 eV, sigma 2.338 A), 64 walkers x 1000 steps.
`sevennet`: silicon, SevenNet-0, fewer walkers and steps. What comes out is checked by ASE's
neighbour list and by the model, once more and from outside.
"""

import sys

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from provenance import write_result
from torch_sim.models.lennard_jones import LennardJonesModel

from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.functional import Bias
from entrove.entropy.local import LocalEntropy
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.models.registry import load
from entrove.sampling.batch import gather_batch, reduce_atoms
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.precision import in_double
from entrove.sampling.relax import relax_at_pressure
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.restarts import summarise_restarts
from entrove.sampling.walkers.run import init_walkers, run_chunk, thermalise

BIASES = (
    BiasSettings(entropy="paper", mode="per_atom", kappas_eV=(5.0, 50.0)),
    BiasSettings(entropy="paper", mode="per_config", kappas_eV=(5.0, 50.0)),
    BiasSettings(entropy="information", mode="per_atom", fractions=(1.0, 3.0)),
    BiasSettings(entropy="information", mode="per_config", fractions=(1.0,)),
    BiasSettings(entropy="local", kappas_eV=(1.0,)),
)


def copper() -> tuple[object, Atoms, SamplingConfig]:
    model = LennardJonesModel(
        sigma=2.338, epsilon=0.4093, cutoff=5.2, compute_stress=True, dtype=torch.float64
    )
    config = SamplingConfig(
        chunk_steps=100, chunks=10, snapshot_every=10, biases=BIASES, replicas=8
    )
    return model, bulk("Cu", "fcc", a=3.6, cubic=True).repeat((2, 1, 1)), config


def silicon() -> tuple[object, Atoms, SamplingConfig]:
    config = SamplingConfig(
        thermalise_steps=20, chunk_steps=50, chunks=3, snapshot_every=10, biases=BIASES, replicas=1
    )
    return load("7net-0", device="cpu").model, bulk("Si", "diamond", a=5.43, cubic=True), config


def main(name: str) -> None:
    model, seed, config = copper() if name == "lennard_jones" else silicon()
    relaxed = relax_at_pressure(model, [seed], [50.0])[0]
    walkers, structures = plan_walkers([Start("seed", 50.0, relaxed.atoms)], [2000.0], config)
    state = thermalise(init_walkers(walkers, structures, model, config, 0), model, config)
    features = GaussianOverlap(FingerprintConfig())
    keys = {(walker.entropy, walker.mode) for walker in walkers if walker.entropy != "local"}
    datasets = {key: EntropyDataset(*key, features=features) for key in sorted(keys)}
    rng = np.random.default_rng(0)
    first = [relaxed.atoms.copy() for _ in range(10)]
    for atoms in first:
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    for dataset in datasets.values():
        dataset.calibrate(first)
        dataset.add([relaxed.atoms])
    taken = []
    for _ in range(config.chunks):
        biases = {key: dataset.bias() for key, dataset in datasets.items()}
        biases["local", "per_atom"] = Bias(features, LocalEntropy())
        state, snapshots = run_chunk(state, model, biases, config)
        taken += snapshots
        for dataset in datasets.values():
            dataset.add([snapshot.atoms for snapshot in snapshots[::16]])
    report(name, model, config, state, taken, len(walkers), relaxed.atoms.get_volume())


def report(name, model, config, state, taken, walkers, relaxed_volume) -> None:
    shortest, largest_force, volumes = np.inf, 0.0, []
    for first in range(0, len(taken), 64):
        part = [snapshot.atoms for snapshot in taken[first : first + 64]]
        batch = gather_batch(part, model)
        force = reduce_atoms(in_double(model)(batch)["forces"].norm(dim=1), batch, reduce="amax")
        largest_force = max(largest_force, float(force.max()))
    unphysical = 0
    for snapshot in taken:
        i, j, distance = neighbor_list("ijd", snapshot.atoms, 3.0)
        numbers = snapshot.atoms.numbers
        ratio = distance / (covalent_radii[numbers[i]] + covalent_radii[numbers[j]])
        shortest = min(shortest, float(ratio.min(initial=np.inf)))
        volumes.append(snapshot.atoms.get_volume() / relaxed_volume)
        unphysical += bool(ratio.min(initial=np.inf) < config.guards.shortest_distance)
    unphysical += largest_force > config.guards.largest_force_eV_per_A * (1 + 1e-4)
    summaries = summarise_restarts(state.walkers, state.restarts)
    reasons: dict[str, int] = {}
    for summary in summaries:
        print(summary)
        for reason, count in summary.by_reason.items():
            reasons[str(reason)] = reasons.get(str(reason), 0) + count
    write_result(
        f"unphysical_{name}",
        "no unphysical cell is returned at 2000 K and 50 GPa under the strongest biases",
        {
            "unphysical_handed_on": int(unphysical),
            "handed_on": len(taken),
            "shortest_bond_over_covalent_sum": shortest,
            "largest_force_eV_per_A": largest_force,
            "volume_ratio_range": [min(volumes), max(volumes)],
            "restarts_by_reason": reasons,
            "walkers_ended": len(state.ended),
        },
        walkers=walkers,
        steps=config.chunks * config.chunk_steps,
        guards=config.guards.model_dump(),
        seed=0,
    )


if __name__ == "__main__":
    main(sys.argv[1])
