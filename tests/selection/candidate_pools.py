"""Random pools of candidates as feature rows, and structures to select from."""

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from entrove.entropy.config import EntropyConfig
from entrove.entropy.moments import SpeciesMoments
from entrove.selection.gains import GrowingDataset, growing_dataset
from entrove.selection.pool import FeaturePool, PoolBlock

INFORMATION = EntropyConfig(kind="information")
PAPER = EntropyConfig(kind="paper")


def random_pool(
    seed: int, size: int, *, species=(14,), features=5, largest=6, dtype=torch.float64, **columns
) -> FeaturePool:
    """Candidates of 0 to `largest` rows per species, which scatter by widely different factors."""
    rng = np.random.default_rng(seed)
    blocks = {}
    spread = rng.uniform(0.1, 3.0, size=size)
    for number in species:
        counts = rng.integers(0 if len(species) > 1 else 1, largest + 1, size=size)
        rows = rng.normal(size=(counts.sum(), features)) * np.repeat(spread, counts)[:, None]
        first = np.concatenate([[0], np.cumsum(counts)])
        blocks[number] = PoolBlock(torch.as_tensor(rows, dtype=dtype), torch.as_tensor(first))
    return FeaturePool(size, blocks, **columns)


def dataset_for(pool: FeaturePool, config: EntropyConfig = INFORMATION) -> GrowingDataset:
    """An empty dataset that candidates of this pool can be added to."""
    return growing_dataset(config, SpeciesMoments(), pool)


def silicon(seed: int, rattle_A: float = 0.1, pool: str | None = None) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.rattle(rattle_A, seed=seed)
    if pool is not None:
        atoms.info["entrove_pool"] = pool
    return atoms
