"""How the paper's entropy and the information gain behave while a dataset grows.

Hypotheses (eight-atom diamond silicon, strained by up to 5 %, rattled by 0.02 to 0.3 A, added in
random order, per-atom and per-config rows):

- paper: most later gains are negative, a relaxed cell adds next to nothing, the bias force falls
  at least as 1/N, and epsilon = 1e-3 is larger than nearly all eigenvalues of the covariance;
- information: no gain is negative, and the force falls more slowly (it falls, since the walkers
  are of the same kind as the dataset; the adaptive strength makes up for that).

Writes the numbers that docs/entropies.md quotes. Under a minute on one core.

    OMP_NUM_THREADS=1 python benchmarks/selection/two_definitions.py
"""

import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from entrove import __version__
from entrove.entropy.dataset import EntropyDataset
from entrove.features import AtomFeatures
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.gom import GaussianOverlap

SEED = 7
STORED = (0, 10, 50, 200)
FEATURES = GaussianOverlap()


def silicon(rng: np.random.Generator, rattle_A: float | None = None) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.set_cell(atoms.cell * rng.uniform(0.95, 1.05), scale_atoms=True)
    atoms.positions += rng.normal(scale=rattle_A or rng.uniform(0.02, 0.3), size=(8, 3))
    return atoms


def rms_slope(dataset: EntropyDataset, structures: list[Atoms]) -> float:
    """Root mean square over atoms of |dS/dr| in 1/A, which kappa turns into a force."""
    state = to_state(structures)
    features = FEATURES.evaluate(state)
    entropy = dataset.bias().entropy
    _, gradient = entropy.value_and_gradient(AtomFeatures.of_state(features.values, state))
    return float(features.pull_back(gradient).positions.square().sum(1).mean().sqrt())


def grow(entropy: str, mode: str) -> dict:
    rng = np.random.default_rng(SEED)
    reference = [silicon(rng, rattle_A=0.1) for _ in range(50)]
    structures = [silicon(rng) for _ in range(STORED[-1])]
    walkers = [silicon(rng, rattle_A=0.15) for _ in range(8)]
    relaxed = bulk("Si", "diamond", a=5.43, cubic=True)
    dataset = EntropyDataset(entropy, mode, features=FEATURES)
    dataset.calibrate(reference)
    gains, slopes, relaxed_gain = [], {}, {}
    for number in range(STORED[-1] + 1):
        if number in STORED:
            slopes[number] = rms_slope(dataset, walkers)
            relaxed_gain[number] = float(dataset.gain([relaxed])[0])
        if number < STORED[-1]:
            gains.append(float(dataset.gain([structures[number]])[0]))
            dataset.add([structures[number]])
    scatter = dataset.moments[14].scatter() / dataset.moments[14].count
    later = np.array(gains[20:])
    return {
        "entropy": entropy,
        "mode": mode,
        "share_of_negative_gains_after_20": float((later < 0).mean()),
        "median_gain_after_20": float(np.median(later)),
        "rms_slope_per_A": slopes,
        "gain_of_the_relaxed_cell": relaxed_gain,
        "covariance_eigenvalues_above_1e-3": int((torch.linalg.eigvalsh(scatter) > 1e-3).sum())
        if entropy == "paper"
        else None,
    }


def sweep_ridge() -> list[dict]:
    """Slope at a nearly perfect cell (rattle 0.01 A), where small datasets push hardest."""
    rng = np.random.default_rng(SEED)
    reference = [silicon(rng, rattle_A=0.1) for _ in range(50)]
    walker = bulk("Si", "diamond", a=5.43, cubic=True)
    walker.positions += rng.normal(scale=0.01, size=(8, 3))
    results = []
    for ridge in (0.01, 0.1, 1.0):
        slopes = {}
        for number in (1, 10):
            dataset = EntropyDataset("information", features=FEATURES, ridge=ridge)
            dataset.calibrate(reference)
            dataset.add(reference[:number])
            slopes[number] = rms_slope(dataset, [walker])
        results.append({"ridge": ridge, "rms_slope_per_A": slopes})
    return results


def table(results: list[dict]) -> str:
    lines = [
        "| entropy | mode | negative gains after 20 | rms dS/dr in 1/A at N = "
        + ", ".join(map(str, STORED))
        + " | gain of the relaxed cell at N = 200 |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        slopes = ", ".join(f"{result['rms_slope_per_A'][number]:.3g}" for number in STORED)
        lines.append(
            f"| {result['entropy']} | {result['mode']} | "
            f"{result['share_of_negative_gains_after_20']:.0%} | {slopes} | "
            f"{result['gain_of_the_relaxed_cell'][STORED[-1]]:+.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    results = [
        grow(entropy, mode)
        for entropy in ("paper", "information")
        for mode in ("per_atom", "per_config")
    ]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "entrove": __version__,
        "seed": SEED,
        "results": results,
        "ridge": sweep_ridge(),
    }
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / "two_definitions.json").write_text(json.dumps(record, indent=2) + "\n")
    (folder / "two_definitions.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
