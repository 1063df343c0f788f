"""Make the silicon labels that the training tests and the experiments of this folder use.

24 structures to train on and 12 to test with, all of 8 atoms: diamond and beta-tin silicon,
relaxed with SevenNet-0 at 0 and 10 GPa, then either strained (with a small rattle) or taken from
Langevin trajectories at 300 and 1000 K. The trajectories of the test set have other seeds. Labels
are PBE by GPAW: 300 eV plane waves, a k-point spacing of 0.35 1/A (2 pi included), Fermi-Dirac 0.1
eV.

Run it again after an interruption: finished labels are kept, one file each, in the work folder.

    python benchmarks/training/make_labels.py WORK_FOLDER tests/training/data
"""

import argparse
import gzip
import io
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS

from entrove.structures import attach_results, copy_structure
from entrove.units import gpa_to_ev_per_a3

PRESSURES_GPA = (0.0, 10.0)
TEMPERATURES_K = (300.0, 1000.0)
STRAINS = {"train": (0.96, 1.05), "test": (0.92, 1.08)}
SNAPSHOTS = {("train", 300.0): 2, ("train", 1000.0): 3, ("test", 300.0): 1, ("test", 1000.0): 1}
TIMESTEP_FS = 2.0
WARM_UP_STEPS = 60
STEPS_BETWEEN_SNAPSHOTS = 40


def seed_cells() -> dict[str, Atoms]:
    """Diamond and beta-tin silicon with 8 atoms each."""
    a, c = 4.69, 2.58
    beta_tin = Atoms(
        "Si4",
        scaled_positions=[(0, 0, 0), (0.5, 0, 0.25), (0.5, 0.5, 0.5), (0, 0.5, 0.75)],
        cell=[a, a, c],
        pbc=True,
    )
    return {
        "diamond": bulk("Si", "diamond", a=5.43, cubic=True),
        "beta-tin": beta_tin.repeat((1, 1, 2)),
    }


def relax(atoms: Atoms, pressure_GPa: float, calculator) -> Atoms:
    relaxed = copy_structure(atoms)
    relaxed.calc = calculator
    target = FrechetCellFilter(relaxed, scalar_pressure=gpa_to_ev_per_a3(pressure_GPa))
    BFGS(target, logfile=None).run(fmax=0.01, steps=200)
    return copy_structure(relaxed)


def snapshots(
    atoms: Atoms, temperature_K: float, count: int, seed: int, calculator
) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    walker = copy_structure(atoms)
    walker.calc = calculator
    # Half of the kinetic energy flows into the springs at once: start at twice the temperature.
    MaxwellBoltzmannDistribution(walker, temperature_K=2 * temperature_K, rng=rng)
    dynamics = Langevin(
        walker,
        TIMESTEP_FS * units.fs,
        temperature_K=temperature_K,
        friction=0.01 / units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(WARM_UP_STEPS)
    taken = []
    for _ in range(count):
        dynamics.run(STEPS_BETWEEN_SNAPSHOTS)
        taken.append(copy_structure(walker))
    return taken


def generate(calculator) -> list[Atoms]:
    """All 36 structures with their tags in `info`, in a fixed order."""
    structures = []
    for split in ("train", "test"):
        for phase, cell in seed_cells().items():
            for pressure in PRESSURES_GPA:
                relaxed = relax(cell, pressure, calculator)
                seed = 1000 * (split == "test") + 100 * (phase == "diamond") + int(pressure)
                strain = STRAINS[split][(int(pressure > 0) + (phase == "diamond")) % 2]
                strained = copy_structure(relaxed)
                strained.set_cell(strain * relaxed.cell.array, scale_atoms=True)
                strained.rattle(0.02, rng=np.random.default_rng(seed))
                members = [("strain", strained)]
                for temperature in TEMPERATURES_K:
                    count = SNAPSHOTS[split, temperature]
                    members += [
                        ("md", taken)
                        for taken in snapshots(
                            relaxed, temperature, count, seed + int(temperature), calculator
                        )
                    ]
                for kind, atoms in members:
                    atoms.info.update(
                        split=split,
                        entrove_phase=phase,
                        entrove_kind=kind,
                        entrove_pressure_GPa=pressure,
                    )
                    structures.append(atoms)
    return structures


def label(atoms: Atoms, log: Path) -> Atoms:
    from gpaw import GPAW, PW, FermiDirac

    spacing = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1) / 0.35
    labelled = atoms.copy()
    labelled.calc = GPAW(
        mode=PW(300),
        xc="PBE",
        kpts={"size": [int(n) for n in np.ceil(spacing - 1e-9)], "gamma": True},
        occupations=FermiDirac(0.1),
        convergence={"energy": 1e-4, "density": 1e-4},
        eigensolver={"name": "davidson", "niter": 1},
        symmetry={"point_group": False},  # time reversal halves the k-points, exactly
        txt=str(log),
    )
    # Forces derive from the electronic free energy, so that is the energy to learn.
    energy = labelled.get_potential_energy(force_consistent=True)
    return attach_results(atoms, energy, labelled.get_forces(), labelled.get_stress())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_folder", type=Path)
    parser.add_argument("data_folder", type=Path)
    folders = parser.parse_args()
    folders.work_folder.mkdir(parents=True, exist_ok=True)
    pool = folders.work_folder / "structures.xyz"
    if not pool.exists():
        from sevenn.calculator import SevenNetCalculator

        write(pool, generate(SevenNetCalculator("7net-0", device="cpu")), format="extxyz")
    labelled = []
    for index, atoms in enumerate(read(pool, index=":")):
        finished = folders.work_folder / f"label-{index:02d}.xyz"
        if not finished.exists():
            done = label(atoms, folders.work_folder / f"label-{index:02d}.txt")
            write(finished.with_suffix(".partial"), done, format="extxyz")
            finished.with_suffix(".partial").rename(finished)
        labelled.append(read(finished))
    for split in ("train", "test"):
        text = io.StringIO()
        write(text, [atoms for atoms in labelled if atoms.info["split"] == split], format="extxyz")
        target = folders.data_folder / f"silicon-pbe-{split}.xyz.gz"
        # A fixed time stamp: the same labels give the same file.
        target.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    main()
