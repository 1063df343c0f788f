"""Structures whose labels are those of the untuned model: what it knows, to be kept.

Tuning on the labels of one system changes a foundation model everywhere else too, and labels of
crystals and MD say nothing about short distances. Structures that the untuned model labels itself
cost no DFT and hold it where the labels are silent.

Ref: replay in tuning of foundation models, arXiv:2606.12704.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from entrove.structures import content_hash, species_of

DIMER_OVER_RADII = (0.4, 1.6)
"""Shortest and longest distance of a dimer, over the sum of its atoms' covalent radii."""

DIMERS_PER_PAIR = 12


@dataclass(frozen=True)
class ReplayTurns:
    """Which replayed structures join the training labels of each step.

    They come in turn, all of them before the first again, in an order of their own in each pass.
    Steps differ by one structure at most, so that the share of all that is seen is the wanted one
    with batches of any size.

    Args:
        share: Share of what the steps see that is replayed, as `TrainingConfig.replay`.
        batch_size: Training labels of a step.
        count: Number of replayed structures.
        seed: Decides their orders.
    """

    share: float
    batch_size: int
    count: int
    seed: int

    @property
    def per_step(self) -> float:
        """Replayed structures of a step, on average; no more than there are."""
        return min(self.batch_size * self.share / (1.0 - self.share), float(self.count))

    def of_step(self, step: int) -> list[int]:
        """Return which structures a step replays; steps count from 0 over all epochs."""
        first, end = (math.floor(round(number * self.per_step, 6)) for number in (step, step + 1))
        places = range(first, end)
        orders = {
            turn: np.random.default_rng([self.seed, turn, 0x4E91]).permutation(self.count)
            for turn in {place // self.count for place in places}
        }
        return [int(orders[place // self.count][place % self.count]) for place in places]


def replay_structures(
    labels: Sequence[Atoms], snapshots: Sequence[Atoms], *, seed: int
) -> list[Atoms]:
    """Choose what is replayed: dimers of all pairs of species, and some of the snapshots.

    Args:
        labels: The training labels, whose species make the dimers.
        snapshots: Structures of the exploration that are not labelled; labels on them are ignored.
        seed: Decides which snapshots are taken, at most one for each training label.

    Returns structures of which only species, positions and cell count.
    """
    order = np.random.default_rng([seed, 0x4E91]).permutation(len(snapshots))[: len(labels)]
    return [*dimers_of(species_of(labels)), *(snapshots[i] for i in sorted(order.tolist()))]


def dimers_of(species: Sequence[str]) -> list[Atoms]:
    """Make two atoms alone, of every pair of species, at distances from repulsion to attraction.

    >>> [len(atoms) for atoms in dimers_of(["Si"])] == [2] * DIMERS_PER_PAIR
    True
    """
    dimers: list[Atoms] = []
    for first, second in combinations_with_replacement(sorted(species), 2):
        radii = covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]]
        shortest, longest = DIMER_OVER_RADII
        for distance in np.linspace(shortest * radii, longest * radii, DIMERS_PER_PAIR).tolist():
            dimers.append(
                Atoms([first, second], positions=[[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
            )
    return dimers


def replay_hash(structures: Sequence[Atoms]) -> str | None:
    """Hash of the structures, in their order; None for none."""
    if not structures:
        return None
    digest = hashlib.sha256()
    for atoms in structures:
        digest.update(content_hash(atoms).encode())
    return digest.hexdigest()
