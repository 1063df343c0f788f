"""Run libfp and store its output for the tests: values and contracted derivatives.

Needs only libfp 4.0.1, ASE and NumPy, in an environment of their own:

    python -m pip install libfp==4.0.1 ase && python
    benchmarks/fingerprints/make_libfp_reference.py

libfp's derivative arrays are dense, so what is stored is their contraction with a fixed array g[i,
k] = cos(1 + 3 i + 7 k). Strain derivatives are libfp's own six numbers (xx, yy, zz, yz, xz, xy).
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import libfp
import numpy as np
from ase import Atoms
from ase.build import bulk

CUTOFF_A = 5.0
LENGTH = 120
DATA = Path(__file__).parents[2] / "tests" / "fingerprints" / "data"


def structures() -> dict[str, Atoms]:
    """Rattled, strained cells of 8 and 64 atoms."""
    primitive = {
        "Si": bulk("Si", "diamond", a=5.431, cubic=True),
        "C": bulk("C", "diamond", a=3.567, cubic=True),
        "NaCl": bulk("NaCl", "rocksalt", a=5.640, cubic=True),
    }
    made = {}
    for seed, (name, cell) in enumerate(primitive.items()):
        for repeats in (1, 2):
            atoms = cell.repeat(repeats)
            atoms.rattle(0.1, seed=seed)
            strain = np.random.default_rng(seed).normal(scale=0.03, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            made[f"{name}{len(atoms)}"] = atoms
    return made


def run_libfp(atoms: Atoms) -> dict[str, np.ndarray]:
    """Values for s and s+p, and the contracted derivatives for s."""
    species = sorted(set(atoms.numbers.tolist()))
    types = [species.index(number) + 1 for number in atoms.numbers]
    cell = (atoms.cell.array, atoms.positions, types, species)
    values, on_positions, on_strain = libfp.get_dfp(
        cell, cutoff=CUTOFF_A, log=False, natx=LENGTH, include_stress=True
    )
    with_p = libfp.get_lfp(cell, cutoff=CUTOFF_A, log=False, natx=LENGTH, orbital="sp")
    atom, feature = np.indices(values.shape)
    g = np.cos(1 + 3 * atom + 7 * feature)
    return {
        "values": values,
        "values_sp": with_p[:8],
        "positions_pull_back": np.einsum("ijxk,ik->jx", on_positions, g),
        "strain_pull_back": np.einsum("ivk,ik->v", on_strain, g),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DATA)
    output = parser.parse_args().output
    for name, atoms in structures().items():
        np.savez_compressed(
            output / f"libfp_{name}.npz",
            cell=atoms.cell.array,
            positions=atoms.positions,
            numbers=atoms.numbers,
            cutoff_A=CUTOFF_A,
            libfp_version=version("libfp"),
            **run_libfp(atoms),
        )


if __name__ == "__main__":
    main()
