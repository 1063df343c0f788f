"""The part of the training labels that decides when to stop."""

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.training.config import TrainingConfig

logger = logging.getLogger(__name__)


def split_for_stopping(
    structures: Sequence[Atoms], config: TrainingConfig, seed: int
) -> tuple[list[int], list[int]]:
    """Indices to train on and indices to watch, drawn from the training labels alone.

    Below `stop_at_least_labels` nothing is watched. Structures that are equal, nearly equal or of
    one trajectory stay on one side, so that what is watched is new to the model. Groups are drawn
    until the share is reached; one that would exceed it is left out, and so is one with the last
    labels of an element, of which nothing would be learnt, not even its reference energy.
    """
    everything = list(range(len(structures)))
    wanted = round(config.set_aside * len(structures))
    if len(structures) < config.stop_at_least_labels or wanted == 0:
        return everything, []
    from entrove.training.folds import independent_groups  # torch-sim, which few trainings need

    groups = independent_groups(structures)
    species = [set(atoms.symbols) for atoms in structures]
    labels_left = Counter(symbol for symbols in species for symbol in symbols)
    watched: list[int] = []
    for number in np.random.default_rng([seed, 0x5717]).permutation(len(groups)).tolist():
        group = groups[number]
        if len(watched) + len(group) > wanted:
            continue
        taken = Counter(symbol for index in group for symbol in species[index])
        if all(labels_left[symbol] > count for symbol, count in taken.items()):
            labels_left -= taken
            watched += group
    if not watched:
        logger.warning(
            "no label is set aside for early stopping: all %d belong to trajectories with more "
            "than %d of them, or hold the only labels of an element",
            len(structures),
            wanted,
        )
    return sorted(set(everything) - set(watched)), sorted(watched)
