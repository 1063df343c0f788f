"""Entropies on a model's own features: derivatives, files and selection, as on fingerprints."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from small_allegro import ALLEGRO, write_checkpoint
from trial_structures import rattled

import entrove
from entrove.entropy.dataset import EntropyDataset
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.fingerprints.batching import to_state
from entrove.models.nequip.loading import nequip_settings
from entrove.models.registry import load
from entrove.models.sevennet.features import SevenNetFeatures
from entrove.models.torch_settings import ignoring_known_warnings
from entrove.sampling.bias.entropy_gradient import entropy_gradient

DEFINITIONS = [
    (kind, mode) for kind in ("information", "paper") for mode in ("per_atom", "per_config")
]


def carbide(seed: int, amplitude_A: float = 0.1) -> Atoms:
    """Four atoms, two of each species: the smallest cell in which the modes differ."""
    return rattled(bulk("SiC", "zincblende", a=4.36).repeat((2, 1, 1)), seed, amplitude_A)


@pytest.fixture(scope="module")
def maps(sevennet, sevennet_in_float64, tmp_path_factory) -> dict[str, FeatureMap]:
    with nequip_settings(), ignoring_known_warnings():
        checkpoint = write_checkpoint(tmp_path_factory.mktemp("allegro") / "allegro.ckpt", ALLEGRO)
    return {
        "sevennet": sevennet.features(),
        "sevennet in float64": SevenNetFeatures(sevennet_in_float64, name="7net-0 in float64"),
        "allegro": load(str(checkpoint), device="cpu").features(),
    }


def dataset_on(
    features: FeatureMap, entropy: str = "information", mode: str = "per_atom"
) -> EntropyDataset:
    dataset = EntropyDataset(entropy, mode, features=features)
    dataset.calibrate([carbide(seed) for seed in range(6)])
    dataset.add([carbide(seed, 0.2) for seed in range(10, 13)])
    return dataset


@pytest.mark.parametrize("name", ["sevennet in float64", "allegro"])
@pytest.mark.parametrize(("entropy", "mode"), DEFINITIONS)
def test_forces_and_strain_are_central_differences(maps, name, entropy, mode):
    bias, atoms = dataset_on(maps[name], entropy, mode).bias(), carbide(30, 0.15)
    slopes = entropy_gradient(to_state([atoms]), [bias])
    generator = np.random.default_rng(0)
    direction, strain = generator.normal(size=atoms.positions.shape), generator.normal(size=(3, 3))
    strain = (strain + strain.T) / 2

    def slope(change, h: float) -> float:
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            change(moved, sign * h)
            ends.append(float(entropy_gradient(to_state([moved]), [bias]).entropy[0]))
        return (ends[0] - ends[1]) / (2 * h)

    def move(atoms, step):
        atoms.positions += step * direction

    def deform(atoms, step):
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)

    # The truncation was seen to fall as h^2 down to 1e-9 (positions, 1e-5 A) and 5e-7 (strain,
    # 1e-6); rounding of S, some 1000 in size, is 2e-13 / h.
    along = float((slopes.positions * torch.from_numpy(direction)).sum())
    assert along == pytest.approx(
        slope(move, 1e-5), rel=1e-5, abs=1e-6 * float(slopes.positions.norm())
    )
    along = float((slopes.strain[0] * torch.from_numpy(strain)).sum())
    assert along == pytest.approx(
        slope(deform, 1e-6), rel=1e-5, abs=2e-6 * float(slopes.strain.norm())
    )


@pytest.mark.parametrize(("entropy", "mode"), DEFINITIONS)
def test_single_precision_gives_the_slopes_of_double(maps, entropy, mode):
    """A central difference of float32 features is noise; the same weights in float64 are the
    oracle."""
    atoms = carbide(30, 0.15)
    single, double = (
        entropy_gradient(to_state([atoms]), [dataset_on(features, entropy, mode).bias()])
        for features in (maps["sevennet"], maps["sevennet in float64"])
    )
    # Features of order 1 with noise of 1e-6, whitened by scales down to 1e-2 of their spread; 6e-6
    # was seen.
    for got, expected in ((single.positions, double.positions), (single.strain, double.strain)):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    torch.testing.assert_close(single.entropy, double.entropy, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", ["sevennet", "allegro"])
def test_saved_and_loaded_is_the_same_dataset(maps, name, tmp_path):
    dataset, path = dataset_on(maps[name]), tmp_path / "dataset.npz"
    candidates = [carbide(seed, 0.3) for seed in range(40, 43)]
    dataset.save(path)
    loaded = EntropyDataset.load(path, features=maps[name])
    np.testing.assert_array_equal(loaded.gain(candidates), dataset.gain(candidates))
    with pytest.raises(SelectionError, match="pass the feature map as features="):
        EntropyDataset.load(path)
    with pytest.raises(SelectionError, match="made with other features"):
        EntropyDataset.load(path, features=maps["sevennet in float64"])


@pytest.mark.parametrize("name", ["sevennet", "allegro"])
@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
def test_selection_is_greedy_in_the_gains_of_the_dataset(maps, name, mode):
    dataset = dataset_on(maps[name], mode=mode)
    pool = [carbide(seed, 0.05 * (seed % 7 + 1)) for seed in range(50, 62)]
    selection = entrove.select(pool, 3, given=dataset)
    start = dataset.entropy()
    for index, gain in zip(selection.indices, selection.gains, strict=True):
        gains = dataset.gain(pool)
        gains[[i for i, atoms in enumerate(pool) if atoms in dataset]] = -np.inf
        assert gains.argmax() == index
        # Features depend on the batch by 1e-6 in float32.
        assert gains[index] == pytest.approx(gain, rel=1e-4)
        dataset.add(pool[index])
    assert dataset.entropy() - start == pytest.approx(selection.gains.sum(), rel=1e-4)
