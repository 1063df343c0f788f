"""A student that takes a second: which picks of `public_silicon.py` are worth tuning a network to?

The student is linear in the gradients of SevenNet-0's energy by all its weights (a count sketch of
4096 places), and learns what DFT and SevenNet-0 differ by, energies and forces together: to first
order, it is the tuned network. Gradient descent stops early, so small directions are learned less
than large ones: the student has a ridge, and its directions are scaled by the power `TEMPER` of
their size. Both were chosen to give the errors of the networks that `public_silicon.py` has tuned;
how well they do is the first table of the result.

Ratios are random / arm for the energy and the forces (mean absolute errors) of all test cells, and
of the lowest quarter of energies. For one pool they scatter by 0.1 to 0.2, so settings of rows of
labels are compared on random subsets of the pool.

    python benchmarks/selection/public_silicon_screen.py pyxtal_Si8.xyz.gz WORK_FOLDER
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from public_silicon import ARMS, RESULTS, SPLITS, Data, known_picks, means, read_data

from entrove.entropy.labels.derivatives import derivatives, sum_over_species
from entrove.entropy.labels.directions import NoiseOfRows, directions_of
from entrove.entropy.labels.posterior import LabelPosterior
from entrove.entropy.labels.rows import LabelRows
from entrove.entropy.rows import SHARED
from entrove.features import AtomFeatures
from entrove.files import replace_text, replacing
from entrove.fingerprints.batching import to_state
from entrove.models.prediction import predict
from entrove.models.sevennet.weight_gradients import SevenNetWeightGradients
from entrove.selection.config import SelectionConfig
from entrove.selection.greedy import select_greedily
from entrove.selection.label_gains import as_pool, growing_labels
from entrove.selection.pool import FeaturePool
from entrove.structures import energy_of, forces_of

COUNTS = (25, 50, 100)
DRAWS, SUBSETS, SUBSET_SIZE = 10, 5, 400
SKETCH, KEPT = 4096, 384
BATCH, STEP_A = 16, 1e-3
TEMPER = 0.75
"""Directions of the student are as large as those of the network to this power."""
RIDGE, SIGMA_E, SIGMA_F = 300.0, 0.005, 0.05
"""Of the student: its ridge, and the errors that it expects in eV/atom and eV/A."""
ENERGY_WEIGHT = 20.0
"""Energies count as much as all forces of a cell when its directions are chosen."""


class Student:
    """Ridge regression on rows of shape (cells, labels, directions), with a free offset."""

    def __init__(self, data: Data, work: Path) -> None:
        self._low, self._pool = data.low, len(data.pool)
        self.rows, self._labels = _tempered(*_known_rows(data, work), len(data.pool))
        self._noise = np.array([SIGMA_E, *[SIGMA_F] * (self.rows.shape[1] - 1)])
        offset = np.zeros((*self.rows.shape[:2], 1))
        offset[:, 0] = 100.0
        self._design = np.concatenate([self.rows, offset], axis=2) / self._noise[:, None]
        self._wanted = self._labels / self._noise

    def errors(self, picks: np.ndarray) -> np.ndarray:
        """Means over test cells, see `public_silicon.means`."""
        design = self._design[picks].reshape(-1, self._design.shape[2])
        normal = design.T @ design + RIDGE * np.eye(design.shape[1])
        weights = np.linalg.solve(normal, design.T @ self._wanted[picks].ravel())
        test = slice(self._pool, None)
        misfit = (self._design[test] @ weights - self._wanted[test]) * self._noise
        # Of 24 force components, 3 are fixed by the zero sum of the forces.
        forces = np.abs(misfit[:, 1:]).mean(1) * np.sqrt(21 / 24)
        return means(np.stack([np.abs(misfit[:, 0]), forces]), self._low)


def _known_rows(data: Data, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of every label of pool and test cells, and DFT minus SevenNet-0."""
    frames, file = [*data.pool, *data.test], work / "tangent_rows.npz"
    if not file.is_file():
        model = data.model.model
        features = SevenNetWeightGradients(model, name=data.model.name, length=SKETCH)
        noise = NoiseOfRows(1.0, None)
        directions = [directions_of(atoms, noise, None) for atoms in frames]
        rows = np.zeros((len(frames), 22, SKETCH), dtype=np.float32)
        for first in range(0, len(frames), BATCH):
            part = slice(first, min(first + BATCH, len(frames)))
            state = to_state(frames[part])
            found = AtomFeatures(
                features.evaluate(state).values.double(),
                state.atomic_numbers,
                state.system_idx,
                state.n_systems,
            )
            sums = sum_over_species(found, (SHARED,))
            slopes = derivatives(
                features, state, directions[part], (SHARED,), sums=sums, step_A=STEP_A
            )
            rows[part, 0] = sums / state.n_atoms_per_system[:, None]
            rows[part, 1:] = torch.stack(slopes)
            print(f"rows of {part.stop} of {len(frames)} cells", flush=True)
        labels = np.zeros(rows.shape[:2])
        for row, atoms, predicted, moves in zip(
            labels, frames, predict(data.model, frames), directions, strict=True
        ):
            row[0] = (energy_of(atoms) - energy_of(predicted)) / len(atoms)
            missing = forces_of(atoms) - forces_of(predicted)
            row[1:] = -np.einsum("knc,nc->k", moves.displacements.numpy(), missing)
        with replacing(file) as unfinished, unfinished.open("wb") as handle:
            np.savez(handle, rows=rows, labels=labels)
    known = np.load(file)
    return known["rows"], known["labels"]


def _tempered(rows: np.ndarray, labels: np.ndarray, pool: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest directions of the pool, each scaled by a power of its size."""
    weighted = rows[:pool].astype(np.float64)
    weighted[:, 0] *= ENERGY_WEIGHT
    flat = weighted.reshape(-1, rows.shape[2])
    sizes, axes = np.linalg.eigh(flat.T @ flat)
    sizes, axes = sizes[::-1][:KEPT], axes[:, ::-1][:, :KEPT]
    scaled = (rows @ axes) * (sizes / sizes[0]) ** ((TEMPER - 1) / 2)
    scaled /= np.sqrt(np.square(scaled[:pool, 1:]).sum(2).mean())
    centred = labels.copy()
    centred[:, 0] -= np.median(labels[:pool, 0])
    return scaled, centred


def greedy(
    student: Student,
    data: Data,
    subset: np.ndarray,
    objective: str = "target",
    *,
    growth: float | None = 0.3,
    ridge: float = RIDGE,
) -> np.ndarray:
    """Pick from a subset by the objective as Entrove computes it, from the student's rows."""
    energies = np.array(data.energies(data.pool)) / 8
    noise = np.array([SIGMA_E, *[SIGMA_F] * (student.rows.shape[1] - 1)]) * np.sqrt(ridge)
    rows = student.rows[subset] / noise[:, None]
    rows[:, 0] -= rows[:, 0].mean(0)
    if growth is not None:
        excess = energies[subset] - energies[subset].min()
        rows /= (1 + excess / growth)[:, None, None]
    flat = torch.as_tensor(rows).flatten(0, 1)
    count = torch.full((len(rows),), rows.shape[1])
    pool = as_pool(LabelRows(flat, count, count), torch.float64)
    target = flat.mT @ flat / len(rows) if objective == "target" else None
    growing = growing_labels(LabelPosterior.prior(rows.shape[2]), pool, target)
    config = SelectionConfig(duplicate_tolerance=0.0)
    picks = select_greedily(FeaturePool(len(rows), {}), growing, COUNTS[-1], config)
    return subset[picks.indices]


Picker = Callable[[Student, Data, np.ndarray], np.ndarray]
VARIATIONS: dict[str, Picker] = {
    "target, even noise": lambda *given: greedy(*given, growth=None),
    "target, E_0 = 0.6 eV/atom": lambda *given: greedy(*given, growth=0.6),
    "target, E_0 = 0.3 eV/atom": greedy,
    "target, E_0 = 0.1 eV/atom": lambda *given: greedy(*given, growth=0.1),
    "target, E_0 = 0.3, a tenth of the ridge": lambda *given: greedy(*given, ridge=RIDGE / 10),
    "target, E_0 = 0.3, ten times the ridge": lambda *given: greedy(*given, ridge=RIDGE * 10),
    "information, even noise": lambda *given: greedy(*given, "information", growth=None),
    "information, E_0 = 0.3 eV/atom": lambda *given: greedy(*given, "information"),
}


def compare_with_networks(student: Student, data: Data, work: Path) -> list[str]:
    """Errors of the tuned networks of `public_silicon.py`, and what the student says of them."""
    tuned = json.loads((RESULTS / "public_silicon.json").read_text())["rows"]
    lines, logs = ["Tuned network and student: E, F; E, F of low cells (meV/atom, meV/A)"], []
    for row in tuned:
        picks = np.array(known_picks(row["arm"], data, work))
        if len(picks) < row["labels"]:
            continue
        says = student.errors(picks[: row["labels"]])
        logs.append(np.log(says / np.array(row["errors"])))
        lines.append(
            f"{row['labels']:3d}, {row['arm']:46s} | {_as_text(row['errors'], 1)} | "
            f"{_as_text(says, 1)}"
        )
    if logs:
        spread = np.sqrt(np.square(logs).mean(0))
        lines.append(f"Relative differences, root mean square: {_as_text(spread, 3)}")
    return lines


def compare_arms(student: Student, data: Data, work: Path) -> list[str]:
    """Errors of random picks, of all labels together, and ratios of the arms that have picks."""
    rng = np.random.default_rng(0)
    draws = [rng.permutation(len(data.pool)) for _ in range(DRAWS)]
    base = {count: np.array([student.errors(draw[:count]) for draw in draws]) for count in COUNTS}
    everything = student.errors(draws[0])
    lines = [f"All {len(data.pool)} labels: {_as_text(everything, 1)}"]
    for count in COUNTS:
        mean, spread = base[count].mean(0), base[count].std(0)
        lines.append(
            f"{count:3d} random labels: {_as_text(mean, 1)}, draws scatter by "
            f"{_as_text(spread, 1)}; {_as_text(mean / everything, 2)} times the errors of all"
        )
    lines.append("Random / arm at " + ", ".join(map(str, COUNTS)) + " labels, the pool of 600")
    for name in ARMS:
        picks = np.array(known_picks(name, data, work))
        counts = [count for count in COUNTS if count <= len(picks)]
        if counts and not name.startswith("random"):
            ratios = [base[count].mean(0) / student.errors(picks[:count]) for count in counts]
            lines.append(f"{name:48s} | " + " | ".join(_as_text(ratio, 2) for ratio in ratios))
    return lines


def compare_settings(student: Student, data: Data) -> list[str]:
    """Ratios of settings of the greedy selection, means over subsets of the pool."""
    rng = np.random.default_rng(1)
    subsets = [rng.permutation(len(data.pool))[:SUBSET_SIZE] for _ in range(SUBSETS)]
    of_random = np.array(
        [
            [
                np.mean([student.errors(rng.permutation(s)[:n]) for _ in range(DRAWS)], axis=0)
                for n in COUNTS
            ]
            for s in subsets
        ]
    )
    lines = [f"Random / setting, mean of {SUBSETS} subsets of {SUBSET_SIZE}, and its deviation"]
    for name, picker in VARIATIONS.items():
        picked = [picker(student, data, subset) for subset in subsets]
        found = np.array([[student.errors(picks[:n]) for n in COUNTS] for picks in picked])
        ratios = of_random / found
        scatter = ratios.std(0).mean() / np.sqrt(SUBSETS)
        by_count = " | ".join(_as_text(ratio, 2) for ratio in ratios.mean(0))
        lines.append(f"{name:48s} | {by_count} | {scatter:.2f}")
        print(lines[-1], flush=True)
    return lines


def _as_text(values: np.ndarray, digits: int) -> str:
    return " ".join(f"{value:6.{digits}f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("work_folder", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work_folder.mkdir(parents=True, exist_ok=True)
    [data] = read_data(given.data, given.work_folder, SPLITS)
    student = Student(data, given.work_folder)
    parts = [
        compare_with_networks(student, data, given.work_folder),
        compare_arms(student, data, given.work_folder),
    ]
    print("\n\n".join("\n".join(part) for part in parts), flush=True)
    parts.append(compare_settings(student, data))
    text = "\n\n".join("\n".join(part) for part in parts)
    replace_text(RESULTS / "public_silicon_screen.txt", text + "\n")


if __name__ == "__main__":
    main()
