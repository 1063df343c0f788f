"""The part of the training labels that decides when to stop."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.structures import content_hash
from entrove.training.config import TrainingConfig


def split_for_stopping(
    structures: Sequence[Atoms], config: TrainingConfig, seed: int
) -> tuple[list[int], list[int]]:
    """Indices to train on and indices to watch, drawn from the training labels alone.

    Below `stop_at_least_labels` nothing is watched. Structures of equal content hash stay on one
    side.
    """
    by_hash: dict[str, list[int]] = {}
    for index, atoms in enumerate(structures):
        by_hash.setdefault(content_hash(atoms), []).append(index)
    groups = list(by_hash.values())
    count = round(config.set_aside * len(groups))
    if len(structures) < config.stop_at_least_labels or count == 0:
        return list(range(len(structures))), []
    order = np.random.default_rng([seed, 0x5717]).permutation(len(groups))
    watched = sorted(index for group in order[:count] for index in groups[group])
    trained = sorted(index for group in order[count:] for index in groups[group])
    return trained, watched
