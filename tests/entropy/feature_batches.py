"""Random batches of features, with the statistics and functionals that the tests need."""

from dataclasses import replace

import numpy as np
import torch

from entrove.entropy.information import InformationGain
from entrove.entropy.moments import SpeciesMoments
from entrove.entropy.rows import split_rows
from entrove.entropy.whitening import Whitening
from entrove.features import AtomFeatures

FLOOR = 1e-2


def system_of(batch: AtomFeatures, index: int) -> AtomFeatures:
    """One system of a batch, on its own."""
    mine = batch.system_idx == index
    return AtomFeatures(
        batch.values[mine],
        batch.numbers[mine],
        torch.zeros(int(mine.sum()), dtype=torch.int64),
        1,
    )


def arrays_of(batch: AtomFeatures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, numbers and system indices, as the slow reference takes them."""
    return batch.values.numpy(), batch.numbers.numpy(), batch.system_idx.numpy()


def reordered(batch: AtomFeatures, order: torch.Tensor) -> AtomFeatures:
    """The same atoms in another order."""
    return AtomFeatures(
        batch.values[order], batch.numbers[order], batch.system_idx[order], batch.n_systems
    )


def random_batch(seed: int, sizes=(4, 7, 1, 12), species=(14,), features=6) -> AtomFeatures:
    """Correlated features whose spreads cover two orders of magnitude, as fingerprints' do."""
    rng = np.random.default_rng(seed)
    atoms = sum(sizes)
    mixing = rng.normal(size=(features, features)) * np.geomspace(1.0, 1e-2, features)
    values = rng.normal(size=(atoms, features)) @ mixing + np.linspace(2.0, 0.0, features)
    return AtomFeatures(
        torch.as_tensor(values),
        torch.as_tensor(rng.choice(species, size=atoms)),
        torch.as_tensor(np.repeat(np.arange(len(sizes)), sizes)),
        len(sizes),
    )


def raw_moments(batch: AtomFeatures, mode: str) -> SpeciesMoments:
    return SpeciesMoments.of(split_rows(batch, mode))


def whitened_moments(batch: AtomFeatures, whitening: Whitening, mode: str) -> SpeciesMoments:
    blocks = split_rows(batch, mode)
    return SpeciesMoments.of(
        replace(block, values=whitening[block.number].apply(block.values)) for block in blocks
    )


def information_gain(dataset, reference, mode: str, ridge: float = 1e-2) -> InformationGain:
    """Functional for a dataset (None: empty), whitened on a reference batch."""
    whitening = Whitening.of(raw_moments(reference, mode), FLOOR)
    moments = SpeciesMoments() if dataset is None else whitened_moments(dataset, whitening, mode)
    return InformationGain(moments, whitening, ridge=ridge, mode=mode)
