"""Structures of the fingerprint tests: no symmetry left, seeded."""

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule


def skewed_salt(seed: int = 0) -> Atoms:
    """Two species in a triclinic cell that is smaller than the cutoff."""
    return deform(bulk("NaCl", "rocksalt", a=5.4).repeat((1, 1, 2)), seed)


def skewed_silicon(seed: int = 1) -> Atoms:
    return deform(bulk("Si", cubic=True), seed)


def rattled_slab(seed: int = 2) -> Atoms:
    slab = fcc111("Al", (2, 2, 2), vacuum=6.0)
    slab.rattle(0.15, seed=seed)
    return slab


def rattled_wire(seed: int = 3) -> Atoms:
    wire = Atoms(
        "CSiC",
        positions=[[0, 0, 0], [0.4, 0.3, 1.8], [-0.5, 0.1, 3.5]],
        cell=[0, 0, 5.3],
        pbc=[0, 0, 1],
    )
    wire.rattle(0.1, seed=seed)
    return wire


def rattled_molecule(seed: int = 4) -> Atoms:
    ethanol = molecule("CH3CH2OH")
    ethanol.rattle(0.05, seed=seed)
    return ethanol


ALL = [skewed_salt, skewed_silicon, rattled_slab, rattled_wire, rattled_molecule]


def deform(atoms: Atoms, seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.06, size=(3, 3))), scale_atoms=True
    )
    atoms.rattle(0.12, seed=seed)
    return atoms


def random_rotation(seed: int) -> np.ndarray:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return rotation * np.sign(np.linalg.det(rotation))
