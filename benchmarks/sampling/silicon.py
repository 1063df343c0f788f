"""Walkers of silicon, and the dataset that they are biased away from."""

import numpy as np
from ase import Atoms
from ase.build import bulk

from entrove.entropy.dataset import EntropyDataset
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap

LIBFP_RADIUS_A = 1.11
FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=50, radii_A={"Si": LIBFP_RADIUS_A}))


def diamond(rattle_A: float, seed: int) -> Atoms:
    """The cubic cell of 8 atoms, rattled."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.positions += rattle_A * np.random.default_rng(seed).normal(size=(8, 3))
    return atoms


def stored_cells(count: int = 20) -> list[Atoms]:
    return [diamond(0.1, seed) for seed in range(1000, 1000 + count)]


def dataset(entropy: str, mode: str = "per_atom") -> EntropyDataset:
    """20 thermal cells."""
    made = EntropyDataset(entropy, mode, features=FEATURES)
    made.calibrate(stored_cells())
    made.add(stored_cells())
    return made
