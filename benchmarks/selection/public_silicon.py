"""Which picks teach SevenNet-0 most? Public DFT silicon, crystals of eight atoms, equal cost.

Hypothesis: picks by the labels they bring, in features of the model that learns and for a target,
beat random ones: errors of energy and forces on 301 other cells, and on the lowest quarter of
their energies, are at least 1.2 times smaller at 25, 50 and 100 labels.

The data is the set of 8-atom silicon crystals of MaterSim/PyXtal_FF (PBE, energies and forces) as
extended XYZ, with total energies in eV; it is not part of this repository. Cells more than 1
eV/atom above the lowest or with forces above 10 eV/A are left out, 600 of the others are the pool,
the rest tests. `--splits` draws other pools: what one pool says of a method that has no random
draws of its own is one number.

An arm picks up to the largest count at once; fewer labels are its first picks. Every arm knows the
energies of SevenNet-0 only, never a label of the pool. Picks, trained models and predictions are
kept in WORK_FOLDER by content, so that a stopped run continues, and other arms or counts may be
added at any time. Each run writes the results so far, also while others are missing.

    python benchmarks/selection/public_silicon.py pyxtal_Si8.xyz.gz WORK_FOLDER --counts 25 50 100
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
from ase import Atoms
from ase.io import read, write
from torch import Tensor
from torch_sim.state import SimState

from entrove.curation import curate
from entrove.entropy.config import LabelsConfig
from entrove.features import FeatureMap, Features, PullBack
from entrove.files import replace_text, replacing
from entrove.fingerprints.gom import GaussianOverlap
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.selection import representative
from entrove.selection.config import SelectionConfig
from entrove.selection.from_structures import select
from entrove.structures import content_hash, energy_of, forces_of
from entrove.training.config import TrainingConfig
from entrove.training.tuning import fine_tune

MODEL = "7net-0"
RANDOM_DRAWS = 4
RESULTS = Path(__file__).parent / "results"
POOL_SIZE, SPLITS = 600, (5,)
BOOTSTRAPS = 2000
COUNTS = (25, 50, 100, 200)
COLUMNS = ("E all", "F all", "E low", "F low")


class RememberedFeatures:
    """Features of a model, evaluated once per batch: all arms move the same cells alike."""

    def __init__(self, features: FeatureMap) -> None:
        self._features = features
        self._known: dict[bytes, Tensor] = {}

    @property
    def length(self) -> int:
        return self._features.length

    def describe(self) -> dict[str, object]:
        return self._features.describe()

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> Features:
        if pull_back:
            return self._features.evaluate(state)
        arrays = (state.positions, state.cell, state.atomic_numbers, state.system_idx)
        digest = hashlib.sha256(b"".join(array.numpy().tobytes() for array in arrays)).digest()
        if digest not in self._known:
            values = self._features.evaluate(state, pull_back=False).values
            self._known[digest] = values.float()  # of a network in single precision
        return Values(self._known[digest].double())


@dataclass(frozen=True)
class Values:
    values: Tensor

    def pull_back(self, gradient: Tensor) -> PullBack:
        raise NotImplementedError("only values were asked for")


@dataclass(frozen=True)
class Data:
    split: int
    pool: list[Atoms]
    test: list[Atoms]
    model: LoadedModel
    features: FeatureMap
    energies_eV: dict[str, float]
    """Energies of the untuned model, by content hash."""

    def energies(self, structures: Sequence[Atoms]) -> list[float]:
        return [self.energies_eV[content_hash(atoms)] for atoms in structures]

    @property
    def low(self) -> np.ndarray:
        """The test cells in the lowest quarter of energies."""
        return np.argsort([energy_of(atoms) / len(atoms) for atoms in self.test])[
            : len(self.test) // 4
        ]


def read_data(path: str, work: Path, splits: Sequence[int]) -> list[Data]:
    """One division into pool and tests for each seed in `splits`."""
    frames = [atoms for atoms in read(path, ":") if len(atoms) == 8]
    energies = np.array([energy_of(atoms) / len(atoms) for atoms in frames])
    frames = [
        atoms
        for atoms, energy in zip(frames, energies, strict=True)
        if energy < energies.min() + 1 and np.abs(forces_of(atoms)).max() < 10
    ]
    model = load(MODEL, device="cpu")
    cache = work / "untuned.json"
    if not cache.is_file():
        predicted = predict(model, frames)
        known = {content_hash(atoms): energy_of(atoms) for atoms in predicted}
        replace_text(cache, json.dumps(known))
    features = RememberedFeatures(model.features())
    energies_eV = json.loads(cache.read_text())
    found = []
    for split in splits:
        order = np.random.default_rng(split).permutation(len(frames))
        pool = [frames[i] for i in order[:POOL_SIZE]]
        test = [frames[i] for i in order[POOL_SIZE:]]
        found.append(Data(split, pool, test, model, features, energies_eV))
    return found


Arm = Callable[[Data, int], Sequence[int]]


def random(seed: int) -> Arm:
    return lambda data, count: np.random.default_rng(seed).permutation(len(data.pool))[:count]


def by_labels(objective: str, features: str = "model", **settings: object) -> Arm:
    labels = LabelsConfig.model_validate(
        {"labels": ("energy", "forces"), "noise_doubles_at_eV_per_atom": 0.3} | settings
    )
    config = SelectionConfig.model_validate({"objective": objective})

    def arm(data: Data, count: int) -> Sequence[int]:
        maps = {
            "model": lambda: data.features,
            "gradients": data.model.weight_gradients,
            "fingerprints": GaussianOverlap,
        }
        return select(
            data.pool,
            count,
            entropy="labels",
            features=maps[features](),
            config=config,
            labels=labels,
            energies_eV=data.energies,
        ).indices

    return arm


def control(method: str, features: Callable[[], FeatureMap] | None = None) -> Arm:
    config = SelectionConfig.model_validate({"method": method})
    return lambda data, count: (
        select(
            data.pool, count, features=features() if features else data.features, config=config
        ).indices
    )


def by_one_length(data: Data, count: int) -> Sequence[int]:
    """Representative picks by the shortest of the three lengths of the kernel alone."""
    with patch.object(representative, "LENGTHS", representative.LENGTHS[:1]):
        return control("representative")(data, count)


def curate_for_a_target(data: Data, count: int) -> Sequence[int]:
    """Pick as `entrove curate --method target` does from a file of the pool: all directions."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "pool.extxyz"
        write(file, data.pool)
        return [pick.index for pick in curate(file, count, method="target").picks]


def quests_compress(data: Data, count: int) -> Sequence[int]:
    """Pick as `quests compress` does by default; the package quests is not among ours."""
    from quests.compression.compress import DatasetCompressor  # pip install quests

    np.random.seed(0)
    return DatasetCompressor(data.pool).get_indices("msc", count)


ARMS: dict[str, Arm] = {
    **{f"random {draw}": random(draw) for draw in range(RANDOM_DRAWS)},
    "information, fingerprints of atoms (default)": lambda data, count: (
        select(data.pool, count, entropy="information").indices
    ),
    "labels, target, model features": by_labels("target"),
    "labels, target, model features, E_0 = 0.1": by_labels(
        "target", noise_doubles_at_eV_per_atom=0.1
    ),
    "labels, information, model features": by_labels("information"),
    "labels, target, model features, even noise": by_labels(
        "target", noise_doubles_at_eV_per_atom=None
    ),
    "labels, target, model features, energies only": by_labels("target", labels=("energy",)),
    "labels, target, fingerprints": by_labels("target", "fingerprints"),
    "labels, target, weight gradients": by_labels("target", "gradients", directions=6),
    "entrove curate --method target": curate_for_a_target,
    "representative, model features": control("representative"),
    "representative, model features, one length": by_one_length,
    "representative, fingerprints": control("representative", GaussianOverlap),
    "lcmd, model features": control("lcmd"),
    "farthest points, model features": control("farthest_point"),
    **({"quests compress": quests_compress} if find_spec("quests") else {}),
}


def picks_of(name: str, data: Data, count: int, work: Path) -> list[int]:
    known = known_picks(name, data, work)
    if len(known) < count:
        start = time.perf_counter()
        known = [int(index) for index in ARMS[name](data, count)]
        seconds = time.perf_counter() - start
        print(f"split {data.split}, {name}: picked {len(known)} in {seconds:.0f} s", flush=True)
        cache = _picks_file(name, data, work)
        cache.parent.mkdir(parents=True, exist_ok=True)
        replace_text(cache, json.dumps({"arm": name, "picks": known}))
    return known[:count]


def known_picks(name: str, data: Data, work: Path) -> list[int]:
    cache = _picks_file(name, data, work)
    return json.loads(cache.read_text())["picks"] if cache.is_file() else []


def _picks_file(name: str, data: Data, work: Path) -> Path:
    return work / "picks" / f"{_digest(name, str(len(data.pool)), str(data.split))}.json"


@dataclass(frozen=True)
class Student:
    """SevenNet-0, tuned to some labels of the pool in a folder of their own."""

    data: Data
    config: TrainingConfig
    work: Path
    threads: int

    def errors(self, picks: Sequence[int]) -> np.ndarray:
        """Absolute errors on the test cells, shape (2, cells): eV/atom, and mean over forces."""
        known = self.known_errors(picks)
        if known is not None:
            return known
        start = time.perf_counter()
        key = self._key(picks)
        trained = fine_tune(
            self._labels(picks),
            MODEL,
            self.work / "models" / key,
            self.config,
            threads=self.threads,
        )
        errors = errors_of(load(str(trained.checkpoint), device="cpu"), self.data.test)
        print(f"   {len(picks)} labels: {time.perf_counter() - start:.0f} s", flush=True)
        cache = self.work / "errors" / f"{key}.npy"
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache) as unfinished, unfinished.open("wb") as handle:
            np.save(handle, errors)
        return errors

    def known_errors(self, picks: Sequence[int]) -> np.ndarray | None:
        cache = self.work / "errors" / f"{self._key(picks)}.npy"
        return np.load(cache) if cache.is_file() else None

    def _labels(self, picks: Sequence[int]) -> list[Atoms]:
        return [self.data.pool[index] for index in sorted(picks)]

    def _key(self, picks: Sequence[int]) -> str:
        hashes = (content_hash(atoms) for atoms in self._labels(picks))
        return _digest(*hashes, self.config.model_dump_json(), MODEL, str(self.data.split))


Found = dict[tuple[str, int], dict[int, np.ndarray]]
"""Errors by arm, number of labels, and split."""


def all_known(students: Sequence[Student]) -> Found:
    """Errors of all arms and counts that this or an earlier run has trained."""
    found: Found = defaultdict(dict)
    for student in students:
        for name in ARMS:
            picks = known_picks(name, student.data, student.work)
            for count in COUNTS:
                errors = student.known_errors(picks[:count]) if len(picks) >= count else None
                if errors is not None:
                    found[name, count][student.data.split] = errors
    return found


def errors_of(model: LoadedModel, test: Sequence[Atoms], shift: float = 0.0) -> np.ndarray:
    predicted = predict(model, test)
    pairs = list(zip(predicted, test, strict=True))
    energy = [abs((energy_of(p) - energy_of(t)) / len(t) - shift) for p, t in pairs]
    forces = [np.abs(forces_of(p) - forces_of(t)).mean() for p, t in pairs]
    return np.array([energy, forces])


def untuned_errors(data: Data) -> np.ndarray:
    """Mean errors of the model that is tuned, after a shift of energies fitted to the pool."""
    offsets = [
        (energy - energy_of(atoms)) / len(atoms)
        for atoms, energy in zip(data.pool, data.energies(data.pool), strict=True)
    ]
    return means(errors_of(data.model, data.test, float(np.median(offsets))), data.low)


def means(errors: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Mean errors in meV/atom and meV/A: all cells, then the lowest quarter."""
    return 1e3 * np.concatenate([errors.mean(1), errors[:, low].mean(1)])


def ratios(
    of_random: dict[int, np.ndarray], of_arm: dict[int, np.ndarray], low: dict[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Random over arm, means over splits, and its 5 to 95 % interval.

    Splits, test cells of each and random draws are resampled. `of_random` has an axis of draws
    before those of `of_arm`.
    """
    rng, found, splits = np.random.default_rng(0), [], list(of_arm)
    for _ in range(BOOTSTRAPS):
        pairs = []
        for split in rng.choice(splits, len(splits)).tolist():
            base, errors = of_random[split], of_arm[split]
            cells = errors.shape[1]
            chosen = rng.integers(cells, size=cells)
            draws = rng.integers(len(base), size=len(base))
            kept = np.flatnonzero(np.isin(chosen, low[split]))
            pairs.append(
                (means(base[draws].mean(0)[:, chosen], kept), means(errors[:, chosen], kept))
            )
        found.append(np.divide(*np.mean(pairs, axis=0)))
    of_means = [(means(of_random[s].mean(0), low[s]), means(of_arm[s], low[s])) for s in splits]
    return np.divide(*np.mean(of_means, axis=0)), np.quantile(found, [0.05, 0.95], axis=0)


def summarise(data: Sequence[Data], found: Found, untuned: np.ndarray) -> dict[str, object]:
    """Mean errors of each arm and count, and ratios on the splits that have random draws, too."""
    low, table = {one.split: one.low for one in data}, []
    for count in sorted({count for _, count in found}):
        draws: dict[int, list[np.ndarray]] = defaultdict(list)
        for (name, of), errors in found.items():
            if of == count and name.startswith("random"):
                for split, of_split in errors.items():
                    draws[split].append(of_split)
        of_random = {split: np.array(several) for split, several in draws.items()}
        for (name, of), errors in found.items():
            if of != count:
                continue
            of_splits = [means(of_split, low[split]) for split, of_split in errors.items()]
            row = {
                "labels": count,
                "arm": name,
                "errors": np.mean(of_splits, axis=0).round(1).tolist(),
                "by split": {
                    split: of_split.round(1).tolist()
                    for split, of_split in zip(errors, of_splits, strict=True)
                },
            }
            both = {split: errors[split] for split in errors if split in of_random}
            if both and not name.startswith("random"):
                ratio, interval = ratios(of_random, both, low)
                row |= {
                    "random / arm": ratio.round(2).tolist(),
                    "5 to 95 %": interval.T.round(2).tolist(),
                    "random draws": sum(len(of_random[split]) for split in both),
                }
            table.append(row)
    return {"columns": COLUMNS, "untuned": untuned.round(1).tolist(), "rows": table}


def as_markdown(results: dict) -> str:
    lines = [
        "# Public silicon: errors of SevenNet-0 after tuning to picked labels",
        "",
        "meV/atom and meV/A on 301 cells (all) and on the lowest quarter of their energies (low), "
        "means over the splits into pool and tests; ratios are random / arm with 5 to 95 % "
        "intervals, above 1 is better than random. "
        f"Untuned: {', '.join(map(str, results['untuned']))}. Written by `public_silicon.py`; "
        "what is not in the table was not run.",
        "",
        "| labels | arm | splits | " + " | ".join(COLUMNS) + " |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        cells = []
        for column in range(4):
            text = f"{row['errors'][column]:.1f}"
            if "random / arm" in row:
                least, most = row["5 to 95 %"][column]
                text += f" (**{row['random / arm'][column]:.2f}**, {least:.2f}-{most:.2f})"
            cells.append(text)
        lines.append(
            f"| {row['labels']} | {row['arm']} | {len(row['by split'])} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines) + "\n"


def write_results(results: dict) -> None:
    RESULTS.mkdir(exist_ok=True)
    replace_text(RESULTS / "public_silicon.json", json.dumps(results, indent=1) + "\n")
    replace_text(RESULTS / "public_silicon.md", as_markdown(results))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("work_folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", choices=COUNTS, default=[25, 50, 100])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--splits", type=int, nargs="+", default=SPLITS, help="seeds")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-pick", action="store_true", help="pick, and train nothing")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.work_folder.mkdir(parents=True, exist_ok=True)
    splits = read_data(given.data, given.work_folder, given.splits)
    for data in splits:
        print(f"{len(data.pool)} candidates, {len(data.test)} test cells", flush=True)
        for name in given.arms:
            picks_of(name, data, max(given.counts), given.work_folder)
    if given.only_pick:
        return
    untuned = np.mean([untuned_errors(data) for data in splits], axis=0)
    config = TrainingConfig(epochs=given.epochs)
    students = [Student(data, config, given.work_folder, given.threads) for data in splits]
    provenance = {
        "model": MODEL,
        "training": config.model_dump(mode="json"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("entrove", "torch", "sevenn")},
        "date": datetime.now(UTC).date().isoformat(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip(),
    }
    for count in given.counts:
        for student in students:
            data = student.data
            for name in given.arms:
                picks = picks_of(name, data, max(given.counts), given.work_folder)[:count]
                errors = means(student.errors(picks), data.low)
                print(f"split {data.split}, {count} labels, {name}:", errors.round(1), flush=True)
                write_results(summarise(splits, all_known(students), untuned) | provenance)


if __name__ == "__main__":
    main()
