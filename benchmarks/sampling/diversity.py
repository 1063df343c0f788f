"""Diversity at equal labels: entropy MD against plain MD, and selections, for three materials.

Run: python benchmarks/sampling/diversity.py measure, then the same with `plot`; what is measured
is kept. Hypothesis: of 100 structures, those picked by information gain from entropy MD span more
of fingerprint space (ln det of the paper's covariance, information content) than as many from
plain MD, picked at random or by farthest-point sampling. Both arms have the same walkers,
temperatures, steps and snapshots; the entropy arm alone has a bias and admits snapshots after each
chunk, as a campaign does.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from provenance import write_result

from entrove.entropy.dataset import EntropyDataset
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.models.registry import load
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.sampling.pools.entropy_md import advance, begin
from entrove.sampling.pools.random_md import run_plain_md
from entrove.sampling.relax import relax_at_pressure
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.selection.farthest_point import select_farthest
from entrove.selection.from_structures import select

HERE = Path(__file__).parent
IMAGE = HERE.parents[1] / "docs/images/diversity.png"
MATERIALS = {
    "carbon": (bulk("C", "diamond", a=3.567, cubic=True), (1000.0, 3000.0)),
    "silicon": (bulk("Si", "diamond", a=5.431, cubic=True), (300.0, 1000.0)),
    "sodium chloride": (bulk("NaCl", "rocksalt", a=5.640, cubic=True), (300.0, 900.0)),
}
SEEDS = (0, 1, 2)
PICKS = 100
BIASED = SamplingConfig(
    thermalise_steps=50,
    chunk_steps=80,
    chunks=3,
    snapshot_every=8,
    biases=(
        BiasSettings(entropy="information", mode="per_atom", fractions=(0.3, 0.6)),
        BiasSettings(entropy="information", mode="per_config", fractions=(0.3,)),
        BiasSettings(entropy="none"),
    ),
)
PLAIN = BIASED.model_copy(update={"biases": (BiasSettings(entropy="none"),), "replicas": 4})
ARMS = {
    "entropy MD, information gain": ("entropy", "gain"),
    "entropy MD, farthest points": ("entropy", "farthest"),
    "plain MD, information gain": ("plain", "gain"),
    "plain MD, farthest points": ("plain", "farthest"),
    "plain MD, at random": ("plain", "random"),
}
RANDOM = "plain MD, at random"
MEASURES = ("paper_per_atom", "paper_per_config", "information_per_atom")


def features() -> GaussianOverlap:
    return GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=64))


def empty_datasets(reference: list[Atoms]) -> dict[str, EntropyDataset]:
    """One dataset per measure, on the scale of an unbiased run, which is the same for all arms."""
    made = {name: EntropyDataset(*name.split("_", 1), features=features()) for name in MEASURES}
    for dataset in made.values():
        dataset.calibrate(reference)
    return made


def explore(
    start: Start, temperatures_K, model, config: SamplingConfig, reference, seed: int
) -> list[Atoms]:
    """The snapshots of one arm, as a campaign makes them."""
    modes = {(bias.entropy, bias.mode) for bias in config.biases if bias.entropy != "none"}
    datasets = {key: EntropyDataset(*key, features=features()) for key in modes}
    for dataset in datasets.values():
        dataset.calibrate(reference)
        dataset.add([start.atoms])

    def admit(snapshots) -> list[int]:
        if not datasets:
            return []
        chosen = select(
            [snapshot.atoms for snapshot in snapshots],
            2 * PICKS // config.chunks,
            datasets["information", "per_atom"],
        )
        for dataset in datasets.values():
            dataset.add([snapshots[index].atoms for index in chosen.indices])
        return chosen.indices.tolist()

    walkers, structures = plan_walkers([start], temperatures_K, config)
    exploration = begin(walkers, structures, model, config, seed)
    for _ in range(config.chunks):
        biases = {key: dataset.bias() for key, dataset in datasets.items()}
        exploration = advance(exploration, model, biases, config, admit)
    return [candidate.atoms for candidate in exploration.candidates]


def pick(pool: list[Atoms], how: str, reference: list[Atoms], seed: int) -> list[Atoms]:
    match how:
        case "gain":
            dataset = empty_datasets(reference)["information_per_atom"]
            indices = select(pool, PICKS, dataset).indices
        case "farthest":
            indices = select_farthest(pool, PICKS, features=features()).indices
        case _:
            indices = np.random.default_rng(seed).permutation(len(pool))[:PICKS]
    assert len(indices) == PICKS, f"{len(indices)} picks of {len(pool)}"
    return [pool[index] for index in indices]


def measure(material: str, seed: int, model) -> dict[str, dict[str, float]]:
    seed_atoms, temperatures_K = MATERIALS[material]
    relaxed = relax_at_pressure(model, [seed_atoms], [0.0])[0]
    assert relaxed.converged
    start = Start(material, 0.0, relaxed.atoms)
    reference = [
        candidate.atoms
        for candidate in run_plain_md(
            [start], temperatures_K, model, BIASED, 1000 + seed, steps=100, snapshots=10
        )
    ]
    pools = {
        "entropy": explore(start, temperatures_K, model, BIASED, reference, seed),
        "plain": explore(start, temperatures_K, model, PLAIN, reference, seed),
    }
    found: dict[str, dict[str, float]] = {}
    for arm, (pool, how) in ARMS.items():
        picks = pick(pools[pool], how, reference, seed)
        datasets = empty_datasets(reference)
        for dataset in datasets.values():
            dataset.add(picks)
        found[arm] = {name: float(dataset.entropy()) for name, dataset in datasets.items()}
        found[arm]["snapshots"] = len(pools[pool])
    return found


def measure_all(results: dict) -> None:
    torch.set_num_threads(2)
    model = load("7net-0", device="cpu").model
    for seed in SEEDS:
        for material in MATERIALS:
            if seed_key(material, seed) in results:
                continue
            results[seed_key(material, seed)] = measure(material, seed, model)
            write_result(
                "diversity",
                "100 picks from entropy MD span more of fingerprint space than 100 from plain MD",
                results,
                picks=PICKS,
                features="Gaussian overlap, s, 5 A, 64 eigenvalues",
                temperatures_K={
                    name: temperatures for name, (_, temperatures) in MATERIALS.items()
                },
                sampling=BIASED.model_dump(mode="json"),
            )


def seed_key(material: str, seed: int) -> str:
    return f"{material}, seed {seed}"


def values(results: dict, material: str, arm: str, name: str) -> np.ndarray:
    return np.array([results[seed_key(material, seed)][arm][name] for seed in SEEDS])


def table(results: dict) -> str:
    """Information of each arm, and ln det above that of plain MD at random, seed by seed."""
    lines = [
        "| material | 100 picks | information, per atom (nats) | ln det, per atom, above random "
        "| ln det, per configuration, above random |",
        "|---|---|---|---|---|",
    ]
    for material in MATERIALS:
        for arm in ARMS:
            information = values(results, material, arm, "information_per_atom")
            cells = [f"{information.mean():.0f} ± {information.std(ddof=1):.0f}"]
            for name in ("paper_per_atom", "paper_per_config"):
                above = values(results, material, arm, name) - values(
                    results, material, RANDOM, name
                )
                cells.append(
                    "0" if arm == RANDOM else f"{above.mean():+.2f} ± {above.std(ddof=1):.2f}"
                )
            lines.append(f"| {material} | {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: dict) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(MATERIALS), figsize=(10, 2.9), sharey=True, constrained_layout=True
    )
    places = np.arange(len(ARMS))[::-1]
    for axis, material in zip(axes, MATERIALS, strict=True):
        found = np.array([values(results, material, arm, "information_per_atom") for arm in ARMS])
        axis.barh(
            places,
            found.mean(axis=1),
            color=["#1f6f8b" if arm.startswith("entropy") else "#b8c4cc" for arm in ARMS],
        )
        axis.plot(found, places, ".", color="#222222", markersize=4)
        axis.set_title(material)
        axis.set_xlabel("information in 100 picks (nats)")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, list(ARMS))
    figure.savefig(IMAGE, dpi=110)


if __name__ == "__main__":
    stored = HERE / "results/diversity.json"
    known = json.loads(stored.read_text())["numbers"] if stored.exists() else {}
    if sys.argv[1] == "measure":
        measure_all(known)
    else:
        print(table(known))
        plot(known)
