"""Structures to try models on."""

import numpy as np
from ase import Atoms


def rattled(atoms: Atoms, seed: int, amplitude_A: float = 0.1) -> Atoms:
    """Copy `atoms` and move each coordinate by a normal deviate."""
    atoms = atoms.copy()
    atoms.positions += amplitude_A * np.random.default_rng(seed).normal(size=atoms.positions.shape)
    return atoms
