"""Small sets of few kinds of structures: does the audit call rare ones wrong, and wrong ones?

Hypothesis: of clean sets of 10 to 26 frames no frame is named as an outlier, and at least 90 % of
energies that are 0.5 eV/atom too high are named, also of the only strained cell beside snapshots.

    python benchmarks/curation/small_sets.py FOLDER

The sets are strained, sheared and moving cells of copper and aluminium with labels of EMT, and
random frames of the public sets in FOLDER (see README.md), within 1 eV/atom of the lowest and
with forces below 10 eV/A. Every third frame gets the wrong energy, one at a time.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from planted_mistakes import with_energy
from results_file import write_result

from entrove.curation import audit

WRONG_BY_EV_PER_ATOM = 0.5
PUBLIC_SIZES = (16, 24)


def labelled(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = EMT()
    results = {
        "energy": copy.get_potential_energy(),
        "forces": copy.get_forces(),
        "stress": copy.get_stress(),
    }
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def rattled(seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(24):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * rng.uniform(0.97, 1.03), scale_atoms=True)
        atoms.rattle(rng.uniform(0.03, 0.15), rng=rng)
        frames.append(labelled(atoms))
    return frames


def crystal_and_snapshots(symbol: str, seed: int, snapshots: int) -> list[Atoms]:
    crystal = bulk(symbol, cubic=True)
    shear = np.outer([1.0, 0, 0], [0, 1.0, 0])
    deformations = [np.eye(3) * (1 + strain) ** (1 / 3) for strain in (0, -0.06, 0.04, 0.08)]
    deformations += [np.eye(3) + 0.04 * shear, np.eye(3) - 0.08 * shear]
    frames = []
    for deformation in deformations:
        cell = crystal.copy()
        cell.set_cell(crystal.cell.array @ deformation, scale_atoms=True)
        frames.append(labelled(cell))
    crystal.calc = EMT()
    dynamics = Langevin(
        crystal,
        2 * units.fs,
        temperature_K=600,
        friction=0.02 / units.fs,
        rng=np.random.default_rng(seed),
        fixcm=False,
    )
    for _ in range(snapshots):
        dynamics.run(15)
        frames.append(labelled(crystal))
    return frames


def sets(folder: Path) -> Iterator[tuple[str, list[Atoms]]]:
    for seed in (1, 2, 3):
        yield f"rattled Cu, {seed}", rattled(seed)
    for seed in (1, 2, 3, 4):
        yield f"Cu and snapshots, {seed}", crystal_and_snapshots("Cu", seed, 10)
    for seed in (1, 2, 3):
        yield f"Al and snapshots, {seed}", crystal_and_snapshots("Al", seed, 20)
    for path in sorted(folder.glob("*.xyz*")):
        frames = [atoms for atoms in read(path, ":") if len(atoms) > 1]
        energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in frames])
        near = energies < energies.min() + 1
        weak = [np.abs(atoms.get_forces()).max() < 10 for atoms in frames]
        kept = np.flatnonzero(near & weak)
        for size in PUBLIC_SIZES:
            if len(kept) >= size:
                chosen = np.random.default_rng(size).choice(kept, size, replace=False)
                yield f"{path.name.split('.')[0]}, {size}", [frames[place] for place in chosen]


def outliers(frames: list[Atoms], file: Path) -> dict[str, set[int]]:
    write(file, frames, format="extxyz")
    return {
        finding.kind: {frame.index for frame in finding.frames}
        for finding in audit(file).findings
        if finding.kind.endswith("_outlier")
    }


def main(folder: Path) -> None:
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "set.xyz"
        for name, frames in sets(folder):
            named = set().union(*outliers(frames, file).values())
            found, places = 0, range(0, len(frames), 3)
            for place in places:
                wrong = list(frames)
                energy = frames[place].get_potential_energy()
                shift = WRONG_BY_EV_PER_ATOM * len(frames[place])
                wrong[place] = with_energy(frames[place], energy + shift)
                found += place in outliers(wrong, file).get("energy_outlier", set())
            rows[name] = {
                "frames": len(frames),
                "named_when_clean": len(named),
                "planted": len(places),
                "found": found,
            }
            print(name, rows[name], flush=True)
    total = {key: sum(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
    write_result(
        __file__,
        "small_sets",
        "no frame of clean small sets is named as an outlier, and 90 % of energies that are "
        "0.5 eV/atom too high are",
        {**total, "sets": rows},
        sizes_of_public_sets=PUBLIC_SIZES,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
