"""The sketch of weight gradients: its kernel, its batches, and rows of labels made of it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from small_allegro import ALLEGRO, NEQUIP, write_checkpoint
from trial_structures import rattled

import entrove
from entrove.entropy.config import LabelsConfig
from entrove.entropy.labels.rows import LabelRowMap
from entrove.errors import ModelError
from entrove.fingerprints.batching import to_state
from entrove.models.ase import from_calculator
from entrove.models.loaded import LoadedModel
from entrove.models.nequip.loading import nequip_settings
from entrove.models.nequip.weight_gradients import NequIPWeightGradients
from entrove.models.registry import load
from entrove.models.sevennet.weight_gradients import SevenNetWeightGradients
from entrove.models.torch_settings import ignoring_known_warnings

STRUCTURES = [
    *(rattled(bulk("Si", "diamond", a=5.43), seed, 0.15) for seed in range(4)),
    *(rattled(bulk("SiC", "zincblende", a=4.36), seed, 0.1) for seed in range(3)),
]


@dataclass(frozen=True)
class Network:
    """A model, its feature map, and what both say about one structure, without the sketch."""

    loaded: LoadedModel
    gradients: SevenNetWeightGradients | NequIPWeightGradients

    def exact(self, atoms: Atoms) -> torch.Tensor:
        state = to_state([atoms])
        if isinstance(self.gradients, NequIPWeightGradients):
            return self.gradients.exact(state)
        model = self.loaded.model
        return self.gradients.exact(model.graph(state, model.search(state))).double()

    def energy(self, atoms: Atoms) -> float:
        """Of the copy of the network whose weights the gradients are of."""
        state = to_state([atoms])
        if isinstance(self.gradients, NequIPWeightGradients):
            return float(self.gradients.energy(state).detach())
        import sevenn._keys as key

        model = self.loaded.model
        graph = model.graph(state, model.search(state))
        return float(self.gradients._energy(graph)[key.ATOMIC_ENERGY].sum().detach())


@pytest.fixture(scope="module")
def networks(sevennet, tmp_path_factory) -> dict[str, Network]:
    folder = tmp_path_factory.mktemp("nequip")
    loaded = {"sevennet": sevennet}
    for name, settings in (("allegro", ALLEGRO), ("nequip", NEQUIP)):
        with nequip_settings(), ignoring_known_warnings():
            path = write_checkpoint(folder / f"{name}.ckpt", settings)
        loaded[name] = load(str(path), device="cpu")
    return {name: Network(model, model.weight_gradients()) for name, model in loaded.items()}


@pytest.fixture(scope="module", params=["sevennet", "allegro", "nequip"])
def network(request, networks) -> Network:
    return networks[request.param]


@pytest.fixture(scope="module")
def gradients(networks) -> SevenNetWeightGradients:
    return networks["sevennet"].gradients


def sums(features, structures) -> torch.Tensor:
    values = features.evaluate(to_state(structures)).values
    sizes = [len(atoms) for atoms in structures]
    return torch.stack([part.sum(0) for part in torch.split(values, sizes)])


def test_scalar_products_are_those_of_all_weights(network):
    full = torch.stack([network.exact(atoms) for atoms in STRUCTURES])
    sketched = sums(network.gradients, STRUCTURES)
    kernel, wanted = sketched @ sketched.mT, full @ full.mT
    scale = wanted.diagonal().sqrt()
    # Of correlations, sqrt(2 / 512) = 0.06 is one standard deviation.
    assert float(((kernel - wanted) / torch.outer(scale, scale)).abs().max()) < 0.2


def test_a_gradient_is_the_change_of_the_energy(network):
    """Along the gradient itself, the energy of the network with moved weights changes by its
    square."""
    atoms = STRUCTURES[0]
    slope = network.exact(atoms)
    step = 1e-3 / float(slope.norm())
    energies = []
    for sign in (1, -2):  # one step up, then two down
        first = 0
        with torch.no_grad():
            for weight in network.gradients._sketch.weights:
                piece = slope[first : first + weight.numel()].view(weight.shape)
                weight.add_(sign * step * piece.to(weight.dtype))
                first += weight.numel()
        energies.append(network.energy(atoms))
    first = 0
    with torch.no_grad():
        for weight in network.gradients._sketch.weights:
            piece = slope[first : first + weight.numel()].view(weight.shape)
            weight.add_(step * piece.to(weight.dtype))
            first += weight.numel()
    # The energies differ by 2e-3 |slope|, of the order of 0.1 eV, and are rounded at 1e-6.
    found = (energies[0] - energies[1]) / (2 * step)
    assert found == pytest.approx(float(slope.square().sum()), rel=0.02)


def test_energies_of_the_copy_are_those_of_the_model(network):
    for atoms in STRUCTURES[-2:]:
        expected = network.loaded.calculator().get_potential_energy(atoms)
        assert network.energy(atoms) == pytest.approx(expected, abs=1e-3)


def test_a_batch_is_its_structures_and_the_model_keeps_its_weights(network):
    together = sums(network.gradients, STRUCTURES)
    for index, atoms in enumerate(STRUCTURES):
        alone = sums(network.gradients, [atoms])[0]
        assert float((alone - together[index]).norm()) < 1e-4 * float(alone.norm())


def test_the_model_itself_asks_for_no_gradients(sevennet, gradients):
    assert not any(weight.requires_grad for weight in sevennet.model.network.parameters())


def test_rows_of_labels_share_one_block(gradients):
    rows_of = LabelRowMap.calibrated(gradients, STRUCTURES, LabelsConfig(directions=2))
    assert rows_of.width == gradients.length  # whatever the number of species
    rows = rows_of.of(STRUCTURES[3:5])
    assert rows.count.tolist() == [3, 3]
    config = LabelsConfig(directions=2)
    selection = entrove.select(STRUCTURES, 3, entropy="labels", features=gradients, labels=config)
    assert len(selection) == 3


def test_what_has_no_gradients_says_so(gradients):
    with pytest.raises(ModelError, match="EMT: the gradients of this model's weights are not"):
        from_calculator(EMT()).weight_gradients()
    found = gradients.evaluate(to_state(STRUCTURES[:1]))
    with pytest.raises(ModelError, match="cannot bias walkers"):
        found.pull_back(torch.ones_like(found.values))
    assert gradients.describe()["length"] == 512
    assert np.isfinite(found.values.numpy()).all()
