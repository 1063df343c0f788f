"""Models that several tests share, and the structures to try them on."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from trial_structures import rattled

from entrove.models.loaded import LoadedModel
from entrove.models.registry import load
from entrove.models.sevennet.loading import build_network
from entrove.models.sevennet.model import SevenNetModel


@pytest.fixture(scope="session")
def sevennet() -> LoadedModel:
    return load("7net-0", device="cpu")


@pytest.fixture(scope="session")
def sevennet_in_float64() -> SevenNetModel:
    """The same weights, every operation in double precision: differences can be trusted to many
    digits."""
    network = build_network("7net-0").double()

    def to_float64(module, inputs, graph):
        return {
            name: value.double() if value.is_floating_point() else value
            for name, value in graph.items()
        }

    # SevenNet's one-hot embedding is float32 whatever the weights are.
    network.onehot_idx_to_onehot.register_forward_hook(to_float64)
    return SevenNetModel(network, None, torch.device("cpu"))


@pytest.fixture
def mixed_structures() -> list[Atoms]:
    """Images matter (2 atoms), unlike sizes, two species, strongly compressed, left-handed, far
    outside."""
    primitive = bulk("Si", "diamond", a=5.43)
    cubic = bulk("Si", "diamond", a=5.43, cubic=True)
    compressed = bulk("C", "diamond", a=3.57 * 0.9, cubic=True)
    left_handed = cubic.copy()
    left_handed.set_cell(cubic.cell.array[[1, 0, 2]])
    outside = cubic.copy()
    outside.positions += 3.0 * cubic.cell.array[0] - 2.0 * cubic.cell.array[2]
    salt = bulk("NaCl", "rocksalt", a=5.6)
    structures = [
        primitive,
        cubic,
        compressed,
        left_handed,
        outside,
        salt,
        cubic.repeat((2, 1, 1)),
    ]
    return [rattled(atoms, seed) for seed, atoms in enumerate(structures)]
