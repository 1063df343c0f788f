"""The sketch of weight gradients: its kernel, its batches, and rows of labels made of it."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from trial_structures import rattled

import entrove
from entrove.entropy.config import LabelsConfig
from entrove.entropy.labels.rows import LabelRowMap
from entrove.errors import ModelError
from entrove.fingerprints.batching import to_state
from entrove.models.ase import from_calculator
from entrove.models.sevennet.weight_gradients import SevenNetWeightGradients

STRUCTURES = [
    *(rattled(bulk("Si", "diamond", a=5.43), seed, 0.15) for seed in range(4)),
    *(rattled(bulk("SiC", "zincblende", a=4.36), seed, 0.1) for seed in range(3)),
]


@pytest.fixture(scope="module")
def gradients(sevennet) -> SevenNetWeightGradients:
    return sevennet.weight_gradients()


def sums(features, structures) -> torch.Tensor:
    values = features.evaluate(to_state(structures)).values
    sizes = [len(atoms) for atoms in structures]
    return torch.stack([part.sum(0) for part in torch.split(values, sizes)])


def exact(gradients, model, atoms) -> torch.Tensor:
    state = to_state([atoms])
    return gradients.exact(model.graph(state, model.search(state))).double()


def test_scalar_products_are_those_of_all_weights(sevennet, gradients):
    full = torch.stack([exact(gradients, sevennet.model, atoms) for atoms in STRUCTURES])
    sketched = sums(gradients, STRUCTURES)
    kernel, wanted = sketched @ sketched.mT, full @ full.mT
    scale = wanted.diagonal().sqrt()
    # Of correlations, sqrt(2 / 512) = 0.06 is one standard deviation.
    assert float(((kernel - wanted) / torch.outer(scale, scale)).abs().max()) < 0.2


def test_a_gradient_is_the_change_of_the_energy(sevennet, gradients):
    """Along the gradient itself, the energy of the network with moved weights changes by its
    square."""
    atoms = STRUCTURES[0]
    slope = exact(gradients, sevennet.model, atoms)
    step = 1e-3 / float(slope.norm())
    energies = []
    for sign in (1, -1):
        first = 0
        with torch.no_grad():
            for weight in gradients._weights:
                piece = slope[first : first + weight.numel()].view(weight.shape)
                weight.add_(sign * step * piece.to(weight.dtype))
                first += weight.numel()
        import sevenn._keys as key

        state = to_state([atoms])
        graph = sevennet.model.graph(state, sevennet.model.search(state))
        energies.append(float(gradients._energy(graph)[key.ATOMIC_ENERGY].sum().detach()))
        first = 0
        with torch.no_grad():
            for weight in gradients._weights:
                piece = slope[first : first + weight.numel()].view(weight.shape)
                weight.sub_(sign * step * piece.to(weight.dtype))
                first += weight.numel()
    # The energies differ by 2e-3 |slope|, of the order of 0.1 eV, and are rounded at 1e-6.
    found = (energies[0] - energies[1]) / (2 * step)
    assert found == pytest.approx(float(slope.square().sum()), rel=0.02)


def test_a_batch_is_its_structures_and_the_model_keeps_its_weights(sevennet, gradients):
    together = sums(gradients, STRUCTURES)
    for index, atoms in enumerate(STRUCTURES):
        alone = sums(gradients, [atoms])[0]
        assert float((alone - together[index]).norm()) < 1e-4 * float(alone.norm())
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
