"""Which picks should `entrove.select` make when it is told nothing but the structures?

Public DFT silicon, crystals of 8 atoms that are all different: 600 are the pool, about 300 the
test, divided four times. Picks by fingerprints, without any model, are learnt by the linear SOAP
student of `benchmarks/curves/soap_student.py`. Ratios are random / arm of mean absolute errors of
energies and forces of all test cells, and of the lowest quarter of energies; the random error is
the mean of eight draws.

    PYTHONPATH=benchmarks/curves:benchmarks python benchmarks/selection/select_defaults.py DATA

DATA is a file of labelled silicon crystals, `pyxtal_Si8.xyz.gz` for the result beside it.
"""

import sys

import numpy as np
from ase import Atoms
from ase.io import read
from results_file import write_result
from soap_student import LINEAR_RIDGES, Soap, Summed, fit

import entrove
from entrove.structures import energy_of, forces_of

POOL_SIZE, SPLITS, DRAWS, COUNTS = 600, (5, 6, 7, 8), 8, (25, 50, 100)
ARMS = {"default": None, "information": "information", "labels": "labels"}
HYPOTHESIS = "the default has smaller errors than random picks at 25 labels, in every column"


def usable(path: str) -> list[Atoms]:
    """Cells of 8 atoms within 1 eV/atom of the lowest energy, without forces above 10 eV/A."""
    frames = [atoms for atoms in read(path, ":") if len(atoms) == 8]
    lowest = min(energy_of(atoms) / 8 for atoms in frames)
    return [
        atoms
        for atoms in frames
        if energy_of(atoms) / 8 < lowest + 1 and np.abs(forces_of(atoms)).max() < 10
    ]


class Test:
    """Test cells with their rows."""

    def __init__(self, cells: list[Atoms], features: Summed, described: list) -> None:
        rows = [features.rows(a, parts) for a, parts in zip(cells, described, strict=True)]
        self._energy_rows = np.array([row.energy for row in rows]) / 8
        self._force_rows = np.array([row.forces for row in rows])
        self._energies = np.array([energy_of(atoms) / 8 for atoms in cells])
        self._forces = np.array([forces_of(atoms).ravel() for atoms in cells])
        self._low = np.argsort(self._energies)[: len(cells) // 4]

    def errors(self, weights: np.ndarray, offset: float) -> np.ndarray:
        """Energies (meV/atom) and forces (meV/A) of all cells, then of the lowest quarter."""
        energy = 1000 * np.abs(self._energy_rows @ weights + offset - self._energies)
        force = 1000 * np.abs(self._force_rows @ weights - self._forces).mean(1)
        low = self._low
        return np.array([energy.mean(), force.mean(), energy[low].mean(), force[low].mean()])


def main() -> None:
    frames, soap = usable(sys.argv[1]), Soap(5, 6)
    described, features = [soap(atoms) for atoms in frames], Summed(soap)
    numbers: dict[str, object] = {}
    ratios: dict[str, list[np.ndarray]] = {}
    for split in SPLITS:
        order = np.random.default_rng(split).permutation(len(frames))
        pool, rest = order[:POOL_SIZE], order[POOL_SIZE:]
        test = Test([frames[i] for i in rest], features, [described[i] for i in rest])

        def learn(picks: np.ndarray, pool: np.ndarray = pool, test: Test = test) -> np.ndarray:
            chosen = pool[picks]
            fitted = fit(
                [frames[i] for i in chosen],
                features,
                LINEAR_RIDGES,
                described=[described[i] for i in chosen],
                scaled=True,
            )
            return test.errors(fitted.weights, fitted.offset)

        bare = [
            Atoms(a.numbers, positions=a.positions, cell=a.cell, pbc=True)
            for a in (frames[i] for i in pool)
        ]
        picked = {
            arm: entrove.select(bare, max(COUNTS), entropy=entropy).indices
            for arm, entropy in ARMS.items()
        }
        rng = np.random.default_rng(0)
        draws = [rng.permutation(POOL_SIZE)[: max(COUNTS)] for _ in range(DRAWS)]
        for count in COUNTS:
            random = np.mean([learn(draw[:count]) for draw in draws], 0)
            for arm, picks in picked.items():
                ratio = random / learn(picks[:count])
                ratios.setdefault(f"{arm}, {count} labels", []).append(ratio)
                print(split, count, arm, ratio.round(2), flush=True)
    for name, found in ratios.items():
        numbers[name] = {
            "mean": np.mean(found, 0).round(2).tolist(),
            "of each division": np.round(found, 2).tolist(),
        }
    write_result(
        __file__,
        "select_defaults",
        HYPOTHESIS,
        numbers,
        columns=["energy", "forces", "energy, lowest quarter", "forces, lowest quarter"],
        pool=POOL_SIZE,
        splits=SPLITS,
        draws=DRAWS,
    )


if __name__ == "__main__":
    main()
