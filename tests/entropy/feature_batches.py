"""Random batches of features, with the statistics and functionals that the tests need."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from entrove.entropy.information import InformationGain
from entrove.entropy.moments import SpeciesMoments
from entrove.entropy.rows import split_rows
from entrove.entropy.whitening import Whitening

FLOOR = 1e-2


@dataclass(frozen=True)
class FeatureBatchOfTest:
    values: torch.Tensor
    numbers: torch.Tensor
    system_idx: torch.Tensor
    n_systems: int

    @property
    def arguments(self):
        return self.values, self.numbers, self.system_idx, self.n_systems

    def system(self, index: int) -> "FeatureBatchOfTest":
        mine = self.system_idx == index
        return FeatureBatchOfTest(
            self.values[mine],
            self.numbers[mine],
            torch.zeros(int(mine.sum()), dtype=torch.int64),
            1,
        )


def random_batch(seed: int, sizes=(4, 7, 1, 12), species=(14,), features=6) -> FeatureBatchOfTest:
    """Correlated features whose spreads cover two orders of magnitude, as fingerprints' do."""
    rng = np.random.default_rng(seed)
    atoms = sum(sizes)
    mixing = rng.normal(size=(features, features)) * np.geomspace(1.0, 1e-2, features)
    values = rng.normal(size=(atoms, features)) @ mixing + np.linspace(2.0, 0.0, features)
    return FeatureBatchOfTest(
        torch.as_tensor(values),
        torch.as_tensor(rng.choice(species, size=atoms)),
        torch.as_tensor(np.repeat(np.arange(len(sizes)), sizes)),
        len(sizes),
    )


def raw_moments(batch: FeatureBatchOfTest, mode: str) -> SpeciesMoments:
    return SpeciesMoments.of(split_rows(*batch.arguments, mode))


def whitened_moments(batch: FeatureBatchOfTest, whitening: Whitening, mode: str) -> SpeciesMoments:
    blocks = split_rows(*batch.arguments, mode)
    return SpeciesMoments.of(
        replace(block, values=whitening[block.number].apply(block.values)) for block in blocks
    )


def information_gain(dataset, reference, mode: str, ridge: float = 1e-2) -> InformationGain:
    """Functional for a dataset (None: empty), whitened on a reference batch."""
    whitening = Whitening.of(raw_moments(reference, mode), FLOOR)
    moments = SpeciesMoments() if dataset is None else whitened_moments(dataset, whitening, mode)
    return InformationGain(moments, whitening, ridge=ridge, mode=mode)
