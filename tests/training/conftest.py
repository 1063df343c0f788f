"""A SevenNet of 566 weights, and structures that a Lennard-Jones potential has labelled."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from entrove.structures import attach_results
from small_sevennet import write_small_sevennet


@pytest.fixture(autouse=True, scope="session")
def no_kernel_fusion() -> Iterator[None]:
    """As in the worker: compiling fused kernels costs seconds for every new graph size."""
    before = torch.jit.set_fusion_strategy([])
    yield
    torch.jit.set_fusion_strategy(before)


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights; it knows Na, Si and Cl."""
    return write_small_sevennet(tmp_path_factory.mktemp("small") / "small.pth")


def label_with_lennard_jones(atoms: Atoms, offset_eV: float = 0.0) -> Atoms:
    work = atoms.copy()
    work.calc = LennardJones(sigma=2.2, epsilon=0.3, rc=4.0, smooth=True)
    energy = work.get_potential_energy() + offset_eV * len(work)
    return attach_results(atoms, energy, work.get_forces(), work.get_stress())


@pytest.fixture(scope="session")
def labelled_silicon() -> list[Atoms]:
    """Eight rattled and strained two-atom cells of diamond silicon, 5 eV per atom below their
    potential."""
    rng = np.random.default_rng(7)
    structures = []
    for _ in range(8):
        atoms = bulk("Si", "diamond", a=5.43)
        atoms.set_cell(rng.uniform(0.95, 1.05) * atoms.cell.array, scale_atoms=True)
        atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
        structures.append(label_with_lennard_jones(atoms, offset_eV=-5.0))
    return structures
