"""Walkers of silicon, and the dataset that they are biased away from."""

import numpy as np
from ase import Atoms
from ase.build import bulk

from entrove.entropy.dataset import EntropyDataset
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap

LIBFP_RADIUS_A = 1.11


def bench_features(device: str = "cpu") -> GaussianOverlap:
    """50 eigenvalues within 5 A, with libfp's width."""
    config = FingerprintConfig(cutoff_A=5.0, length=50, radii_A={"Si": LIBFP_RADIUS_A})
    return GaussianOverlap(config, device)


def diamond(rattle_A: float, seed: int, atoms: int = 8) -> Atoms:
    """The cubic cell of 8 atoms of diamond, or two of them, rattled."""
    made = bulk("Si", "diamond", a=5.43, cubic=True).repeat((atoms // 8, 1, 1))
    made.positions += rattle_A * np.random.default_rng(seed).normal(size=(atoms, 3))
    return made


def stored_cells(count: int = 20) -> list[Atoms]:
    return [diamond(0.1, seed) for seed in range(1000, 1000 + count)]


def dataset(entropy: str, features: GaussianOverlap, mode: str = "per_atom") -> EntropyDataset:
    """20 thermal cells."""
    made = EntropyDataset(entropy, mode, features=features)
    made.calibrate(stored_cells())
    made.add(stored_cells())
    return made
