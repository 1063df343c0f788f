"""A SevenNet of 566 weights, and structures that a Lennard-Jones potential has labelled."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from entrove.models.torch_settings import ignoring_known_warnings
from entrove.structures import attach_results


@pytest.fixture(autouse=True, scope="session")
def no_kernel_fusion() -> Iterator[None]:
    """As in the worker: compiling fused kernels costs seconds for every new graph size."""
    before = torch.jit.set_fusion_strategy([])
    yield
    torch.jit.set_fusion_strategy(before)


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights that SevenNet's own code builds; it knows Na, Si and Cl."""
    with ignoring_known_warnings():
        import sevenn
        from sevenn._const import DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG
        from sevenn.model_build import build_E3_equivariant_model
        from sevenn.util import chemical_species_preprocess

        config = copy.deepcopy(DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG)
        config.update(chemical_species_preprocess(["Na", "Si", "Cl"]))
        config.update(
            version=sevenn.__version__,
            cutoff=4.0,
            channel=4,
            lmax=1,
            num_convolution_layer=2,
            weight_nn_hidden_neurons=[8],
            conv_denominator=[10.0, 10.0],
            shift=[0.0, 0.0, 0.0],
            scale=1.0,
        )
        torch.manual_seed(0)
        model = build_E3_equivariant_model(config)
    path = tmp_path_factory.mktemp("small") / "small.pth"
    torch.save({"config": config, "model_state_dict": model.state_dict(), "epoch": 0}, path)
    return path


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
