import numpy as np
import pytest
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk
from trial_structures import rattled

from entrove.errors import ModelError
from entrove.features import FeatureMap, Features
from entrove.models.ase import from_calculator
from entrove.models.sevennet.features import SevenNetFeatures
from entrove.models.sevennet.model import SevenNetModel


def state_of(*structures: Atoms):
    return torch_sim.initialize_state(list(structures), torch.device("cpu"), torch.float64)


@pytest.fixture(scope="module")
def features(sevennet) -> FeatureMap:
    return sevennet.features()


@pytest.fixture(scope="module")
def features_in_float64(sevennet_in_float64: SevenNetModel) -> SevenNetFeatures:
    return SevenNetFeatures(sevennet_in_float64, name="7net-0 in float64")


def test_it_has_the_shape_that_entropies_take(features):
    atoms = rattled(bulk("NaCl", "rocksalt", a=5.6), 0)
    assert isinstance(features, FeatureMap)
    evaluated = features.evaluate(state_of(atoms, atoms))
    assert isinstance(evaluated, Features)
    assert evaluated.values.shape == (4, features.length)
    assert features.length == 128
    assert evaluated.values.dtype == torch.float64


def test_the_readout_turns_them_into_the_atomic_energies(sevennet, features):
    """The remaining modules of the network, fed with the features, give the model's own
    energies."""
    import sevenn._keys as key

    model = sevennet.model
    state = state_of(rattled(bulk("Si", "diamond", a=5.43, cubic=True), 1))
    values = features.evaluate(state).values.float()
    graph = model.graph(state, model.search(state))
    reached = False
    model.network._preprocess(graph)
    for name, module in model.network.named_children():
        if name == "onehot_idx_to_onehot":
            graph = module(graph)
        if name == "reduce_input_to_hidden":
            graph[key.NODE_FEATURE] = values
            reached = True
        if reached and name != "force_output":
            graph = module(graph)
    expected = float(model(state)["energy"][0])
    assert float(graph[key.PRED_TOTAL_ENERGY][0].detach()) == pytest.approx(expected, abs=2e-5)


def test_rotated_crystals_have_the_same_features(features):
    # Rotations only: SevenNet-0 has no parity, so a mirror image has slightly other features and
    # energy.
    atoms = rattled(bulk("Si", "diamond", a=5.43, cubic=True), 2)
    rotated = atoms.copy()
    rotated.rotate(37.0, (1.0, 2.0, 3.0), rotate_cell=True)
    values = features.evaluate(state_of(atoms)).values.numpy()
    # Features are of order 1 in float32, through five layers; 6e-6 was seen.
    np.testing.assert_allclose(
        features.evaluate(state_of(rotated)).values.numpy(), values, atol=1e-4
    )


def test_a_batch_is_its_systems(features):
    structures = [
        rattled(bulk("Si", "diamond", a=5.43), 3),
        rattled(bulk("Si", "diamond", a=5.43, cubic=True), 4),
    ]
    together = features.evaluate(state_of(*structures))
    gradient = torch.randn(
        together.values.shape, generator=torch.Generator().manual_seed(4)
    ).double()
    pulled = together.pull_back(gradient)
    first = 0
    for index, atoms in enumerate(structures):
        alone = features.evaluate(state_of(atoms))
        rows = slice(first, first + len(atoms))
        np.testing.assert_allclose(alone.values, together.values[rows], atol=1e-4)
        back = alone.pull_back(gradient[rows])
        scale = float(pulled.positions.abs().max())
        np.testing.assert_allclose(back.positions, pulled.positions[rows], atol=1e-4 * scale)
        np.testing.assert_allclose(
            back.strain[0], pulled.strain[index], atol=1e-4 * float(pulled.strain.abs().max())
        )
        first += len(atoms)


@pytest.mark.parametrize("name", ["Si", "NaCl"])
def test_pull_back_is_the_gradient(features_in_float64, name):
    crystal = bulk("Si", "diamond", a=5.43) if name == "Si" else bulk("NaCl", "rocksalt", a=5.6)
    atoms = rattled(crystal, 5)
    generator = np.random.default_rng(5)
    evaluated = features_in_float64.evaluate(state_of(atoms))
    gradient = torch.from_numpy(generator.normal(size=evaluated.values.shape))
    pulled = evaluated.pull_back(gradient)
    direction = generator.normal(size=atoms.positions.shape)
    strain = generator.normal(size=(3, 3))
    strain = (strain + strain.T) / 2

    def projected(changed: Atoms) -> float:
        return float(
            (
                features_in_float64.evaluate(state_of(changed), pull_back=False).values * gradient
            ).sum()
        )

    # In float64: the truncation was seen to fall as h^2, from 1e-2 at 1e-2 to 1e-8 at h = 1e-5;
    # round-off is 1e-15 / h = 1e-10.
    h = 1e-5
    ends = []
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        moved.positions += sign * h * direction
        ends.append(projected(moved))
    slope = (ends[0] - ends[1]) / (2 * h)
    assert float((pulled.positions * torch.from_numpy(direction)).sum()) == pytest.approx(
        slope, rel=2e-7
    )
    ends = []
    for sign in (1.0, -1.0):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * h * strain), scale_atoms=True)
        ends.append(projected(strained))
    slope = (ends[0] - ends[1]) / (2 * h)
    assert float((pulled.strain[0] * torch.from_numpy(strain)).sum()) == pytest.approx(
        slope, rel=2e-7
    )


def test_pulling_back_twice_gives_the_same(features):
    evaluated = features.evaluate(state_of(rattled(bulk("Si", "diamond", a=5.43), 6)))
    gradient = torch.ones_like(evaluated.values)
    first, second = evaluated.pull_back(gradient), evaluated.pull_back(gradient)
    torch.testing.assert_close(first.positions, second.positions)
    # Nothing outside pushes: the gradient of translations vanishes.
    assert float(first.positions.sum(dim=0).abs().max()) < 1e-4 * float(
        first.positions.abs().max()
    )


def test_values_alone_cannot_be_pulled_back(features):
    evaluated = features.evaluate(state_of(bulk("Si", "diamond", a=5.43)), pull_back=False)
    with pytest.raises(ModelError, match="pull_back=False"):
        evaluated.pull_back(torch.ones_like(evaluated.values))


def test_identity_tells_weights_apart(features, features_in_float64):
    assert features.describe() == features.describe()
    assert (
        features.describe()["weights_sha256"] != features_in_float64.describe()["weights_sha256"]
    )


def test_a_calculator_has_no_features():
    from ase.calculators.emt import EMT

    with pytest.raises(
        ModelError, match="EMT: this model gives no access to its per-atom features"
    ):
        from_calculator(EMT()).features()
