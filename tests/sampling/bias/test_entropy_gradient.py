"""The gradient of a bias is that of its dataset, and each system of a batch has its own."""

import pytest
import torch
from argon_datasets import FEATURES, dataset_of
from cheap_models import argon

from entrove.entropy.functional import Bias
from entrove.entropy.local import LocalEntropy
from entrove.fingerprints.batching import to_state
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.bias.entropy_gradient import entropy_gradient

STEP_A = 1e-5


@pytest.mark.parametrize("entropy", ["information", "paper"])
@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
def test_a_bias_of_a_dataset_has_the_gradient_of_its_gain(entropy, mode):
    """Through another path: the gains of moved structures, streamed through the dataset."""
    dataset, atoms = dataset_of(entropy, mode), argon(5.1, rattle_A=0.2, skew=0.05, seed=1)
    slope = entropy_gradient(to_state([atoms]), [dataset.bias()]).positions
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        ends = [atoms.copy(), atoms.copy()]
        ends[0].positions[atom, axis] += STEP_A
        ends[1].positions[atom, axis] -= STEP_A
        plus, minus = dataset.gain(ends)
        # Gains are of order 10: rounding is 1e-15 / h = 1e-9 / A, and the truncation
        # h^2 S''' / 6 is 2e-7 / A for third derivatives of 1e4 / A^3.
        assert float(slope[atom, axis]) == pytest.approx(
            (plus - minus) / (2 * STEP_A), rel=1e-5, abs=1e-6
        )


def test_a_bias_does_not_change_with_its_dataset():
    dataset, state = dataset_of("paper", "per_atom"), to_state([argon(5.1, rattle_A=0.2, seed=1)])
    before = dataset.bias()
    slope = entropy_gradient(state, [before])
    dataset.add([argon(5.2, rattle_A=0.3, seed=50)])
    assert torch.equal(entropy_gradient(state, [before]).positions, slope.positions)
    assert not torch.equal(entropy_gradient(state, [dataset.bias()]).positions, slope.positions)


def test_systems_of_one_batch_may_have_features_of_their_own():
    """Two feature maps, two entropies on one of them, and an unbiased system in between."""
    short = GaussianOverlap(FingerprintConfig(cutoff_A=4.5, length=16))
    biases = [
        Bias(short, LocalEntropy()),
        None,
        dataset_of("information", "per_atom").bias(),
        Bias(FEATURES, LocalEntropy()),
    ]
    structures = [argon(5.1, rattle_A=0.2, seed=seed) for seed in range(4)]
    together = entropy_gradient(to_state(structures), biases)
    assert together.entropy.isnan().tolist() == [False, True, False, False]
    for row, (atoms, bias) in enumerate(zip(structures, biases, strict=True)):
        alone = entropy_gradient(to_state([atoms]), [bias])
        rows = slice(4 * row, 4 * row + 4)
        for one_batch, single in (
            (together.positions[rows], alone.positions),
            (together.strain[row], alone.strain[0]),
            (together.entropy[row], alone.entropy[0]),
        ):
            torch.testing.assert_close(one_batch, single, rtol=1e-9, atol=1e-11, equal_nan=True)
