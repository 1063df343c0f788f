"""Small networks, and structures that a Lennard-Jones potential has labelled."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from entrove.models.nequip.loading import nequip_settings
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


@pytest.fixture(scope="session")
def write_small_nequip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a checkpoint of an untrained Allegro or NequIP for Si and C, by NequIP's own code.

    The function takes the name of the network, and settings of it that differ.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "models"))
        from small_allegro import ALLEGRO, NEQUIP, write_checkpoint  # stays importable

    def write(name: str, **changes: Any) -> Path:
        network = {"allegro": ALLEGRO, "nequip": NEQUIP}[name]
        with nequip_settings():
            return write_checkpoint(
                tmp_path_factory.mktemp(name) / f"{name}.ckpt", network | changes
            )

    return write


@pytest.fixture(scope="session")
def small_allegro(write_small_nequip: Callable[..., Path]) -> Path:
    """A checkpoint of an untrained Allegro for Si and C."""
    return write_small_nequip("allegro")


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
