"""A student that takes a second: which picks of `public_silicon.py` are worth tuning a network to?

The student is linear in the last layer of SevenNet-0 and learns what DFT and SevenNet-0 differ by,
energies and forces together, with a ridge found by cross-validation on the picks. It is what
tuning the last layer alone would give. Ratios are random / arm for the energy (mean absolute) and
the forces (root mean square over a cell, mean over cells) of all test cells and of the lowest
quarter of energies.

It saturates early (128 weights), and for one pool its ratios scatter by 0.1 to 0.2: settings of
rows of labels are therefore compared on five random subsets of 350 candidates each, which leaves
0.03 to 0.05 (given behind each line). The picks of `public_silicon.py` are those of its one pool.

    python benchmarks/selection/public_silicon_screen.py pyxtal_Si8.xyz.gz WORK_FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from public_silicon import ARMS, RESULTS, Data, known_picks, means, read_data

from entrove.entropy.config import LabelsConfig
from entrove.entropy.labels.directions import NoiseOfRows, directions_of
from entrove.entropy.labels.posterior import LabelPosterior
from entrove.entropy.labels.rows import LabelRowMap, LabelRows
from entrove.files import replace_text, replacing
from entrove.models.prediction import predict
from entrove.selection.config import SelectionConfig
from entrove.selection.greedy import select_greedily
from entrove.selection.label_gains import as_pool, growing_labels
from entrove.selection.pool import FeaturePool
from entrove.structures import energy_of, forces_of

COUNTS = (25, 50, 100)
DRAWS = 8
SUBSETS, SUBSET_SIZE = 5, 350
RIDGES = (0.1, 1, 10, 100, 1000, 10_000)
SIGMA_E, SIGMA_F = 0.005, 0.1
UNIT = LabelsConfig(
    labels=("energy", "forces"),
    energy_noise_eV_per_atom=1.0,
    force_noise_eV_per_A=1.0,
    noise_doubles_at_eV_per_atom=None,
)


class Student:
    """Rows of pool and test cells with the noise of the student, and what they have to fit."""

    def __init__(self, data: Data, work: Path) -> None:
        self._data = data
        frames = [*data.pool, *data.test]
        self.rows, self._labels = self._computed(work, frames)
        self._pool = len(data.pool)
        noise = np.array([SIGMA_E, *[SIGMA_F] * (self.rows.shape[1] - 1)])
        offset = np.zeros((*self.rows.shape[:2], 1))
        offset[:, 0] = 1.0
        self._design = np.concatenate([self.rows, offset], axis=2) / noise[:, None]
        self._wanted = self._labels / noise
        self._noise = noise

    def _computed(self, work: Path, frames) -> tuple[np.ndarray, np.ndarray]:
        cache = work / "screen.npz"
        if not cache.is_file():
            rows_of = LabelRowMap.calibrated(self._data.features, self._data.pool, UNIT)
            rows = rows_of.of(frames).padded().numpy()
            untuned = predict(self._data.model, frames)
            labels = np.zeros(rows.shape[:2])
            for row, atoms, predicted in zip(labels, frames, untuned, strict=True):
                row[0] = (energy_of(atoms) - energy_of(predicted)) / len(atoms)
                moves = directions_of(atoms, NoiseOfRows(1.0, None), None).displacements.numpy()
                row[1:] = -np.einsum("knc,nc->k", moves, forces_of(atoms) - forces_of(predicted))
            labels[:, 0] -= np.median(labels[: len(self._data.pool), 0])
            with replacing(cache) as unfinished, unfinished.open("wb") as handle:
                np.savez(handle, rows=rows, labels=labels)
        known = np.load(cache)
        return known["rows"], known["labels"]

    def errors(self, picks: np.ndarray) -> np.ndarray:
        """Means over test cells, see `public_silicon.means`."""
        scores = []
        for ridge in RIDGES:
            score = 0.0
            for fold in range(4):
                held_out = picks[fold::4]
                weights = self._fit(np.setdiff1d(picks, held_out), ridge)
                score += np.square(self._misfit(weights, held_out)).sum()
            scores.append(score)
        weights = self._fit(picks, RIDGES[int(np.argmin(scores))])
        misfit = self._misfit(weights, np.arange(self._pool, len(self.rows))) * self._noise
        cells = np.stack([np.abs(misfit[:, 0]), np.sqrt(np.square(misfit[:, 1:]).mean(1))])
        return means(cells, self._data.low)

    def _fit(self, picks: np.ndarray, ridge: float) -> np.ndarray:
        design = self._design[picks].reshape(-1, self._design.shape[2])
        prior = np.full(design.shape[1], ridge)
        prior[-1] = 1e-8  # the offset is free
        normal = design.T @ design + np.diag(prior)
        return np.linalg.solve(normal, design.T @ self._wanted[picks].ravel())

    def _misfit(self, weights: np.ndarray, cells: np.ndarray) -> np.ndarray:
        return self._design[cells] @ weights - self._wanted[cells]


def greedy(
    student: Student, data: Data, subset: np.ndarray, objective: str, settings: LabelsConfig
) -> np.ndarray:
    energies = np.array(data.energies(data.pool)) / 8
    growth = settings.noise_doubles_at_eV_per_atom
    shrink = np.ones(len(energies))
    if growth is not None:
        shrink /= 1 + (energies - energies.min()) / growth
    rows = student.rows[subset] * shrink[subset, None, None]
    rows[:, 0] /= settings.energy_noise_eV_per_atom
    rows[:, 1:] /= settings.force_noise_eV_per_A
    if "energy" not in settings.labels:
        rows = rows[:, 1:]
    elif "forces" not in settings.labels:
        rows = rows[:, :1]
    flat = torch.as_tensor(rows).flatten(0, 1)
    pool = as_pool(LabelRows(flat, torch.full((len(rows),), rows.shape[1])), torch.float64)
    target = flat.mT @ flat / len(rows) if objective == "target" else None
    growing = growing_labels(LabelPosterior.prior(rows.shape[2]), pool, target)
    config = SelectionConfig(duplicate_tolerance=0.0)
    picks = select_greedily(FeaturePool(len(rows), {}), growing, COUNTS[-1], config)
    return subset[picks.indices]


VARIATIONS = (
    ("target", "even noise", {"noise_doubles_at_eV_per_atom": None}),
    ("target", "E_0 = 0.3 eV/atom", {"noise_doubles_at_eV_per_atom": 0.3}),
    ("target", "E_0 = 0.1 eV/atom", {"noise_doubles_at_eV_per_atom": 0.1}),
    (
        "target",
        "E_0 = 0.1, ten times the noise",
        {
            "noise_doubles_at_eV_per_atom": 0.1,
            "energy_noise_eV_per_atom": 0.1,
            "force_noise_eV_per_A": 1.0,
        },
    ),
    (
        "target",
        "E_0 = 0.1, energies only",
        {"noise_doubles_at_eV_per_atom": 0.1, "labels": ("energy",)},
    ),
    (
        "target",
        "E_0 = 0.1, forces only",
        {"noise_doubles_at_eV_per_atom": 0.1, "labels": ("forces",)},
    ),
    ("information", "even noise", {"noise_doubles_at_eV_per_atom": None}),
    ("information", "E_0 = 0.1 eV/atom", {"noise_doubles_at_eV_per_atom": 0.1}),
)


def _as_text(ratios: np.ndarray) -> str:
    return " | ".join(" ".join(f"{value:5.2f}" for value in row) for row in ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("work_folder", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work_folder.mkdir(parents=True, exist_ok=True)
    data = read_data(given.data, given.work_folder)
    student = Student(data, given.work_folder)
    rng = np.random.default_rng(0)
    draws = [rng.permutation(len(data.pool)) for _ in range(DRAWS)]
    base = {count: np.array([student.errors(draw[:count]) for draw in draws]) for count in COUNTS}
    lines = ["Random / arm at " + ", ".join(map(str, COUNTS)) + " labels: E, F; E, F of low cells"]
    for count in COUNTS:
        mean, spread = base[count].mean(0).round(1), base[count].std(0).round(1)
        lines.append(f"{count}, random: {mean} meV/atom and meV/A, draws scatter by {spread}")
    for name in ARMS:
        picks = np.array(known_picks(name, data, given.work_folder))
        if len(picks) >= COUNTS[-1]:
            found = np.array([student.errors(picks[:count]) for count in COUNTS])
            ratios = np.array([base[count].mean(0) for count in COUNTS]) / found
            lines.append(f"{name:48s} | {_as_text(ratios)}")
    lines.append(f"Settings of rows of labels, mean of {SUBSETS} subsets of {SUBSET_SIZE}")
    subsets = [rng.permutation(len(data.pool))[:SUBSET_SIZE] for _ in range(SUBSETS)]
    of_random = np.array(
        [
            [student.errors(rng.permutation(subset)[:count]) for count in COUNTS]
            for subset in subsets
            for _ in range(3)
        ]
    ).mean(0)
    for objective, name, settings in VARIATIONS:
        config = LabelsConfig.model_validate(settings)
        found = []
        for subset in subsets:
            picks = greedy(student, data, subset, objective, config)
            found.append([student.errors(picks[:count]) for count in COUNTS])
        ratios = of_random / np.mean(found, 0)
        scatter = np.std(of_random / np.array(found), 0).mean() / np.sqrt(SUBSETS)
        lines.append(f"{objective + ', ' + name:48s} | {_as_text(ratios)} | {scatter:.2f}")
        print(lines[-1], flush=True)
    replace_text(RESULTS / "public_silicon_screen.txt", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
