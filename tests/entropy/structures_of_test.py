"""Rattled cells whose fingerprints have distinct eigenvalues, so that gradients are unique."""

import numpy as np
from ase import Atoms
from ase.build import bulk


def silicon(seed: int, rattle_A: float = 0.1, strain: float = 0.0) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
    atoms.rattle(rattle_A, seed=seed)
    return atoms


def salt(seed: int, rattle_A: float = 0.1) -> Atoms:
    """Eight atoms of NaCl in a skewed cell."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    skew = np.array([[1.0, 0.05, 0.0], [0.0, 1.0, 0.1], [0.02, 0.0, 0.95]])
    atoms.set_cell(atoms.cell.array @ skew, scale_atoms=True)
    atoms.rattle(rattle_A, seed=seed)
    return atoms
