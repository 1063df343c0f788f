"""Structures whose labels are those of the untuned model: what it knows, to be kept.

Tuning on the labels of one system changes a foundation model everywhere else too, and labels of
crystals and MD say nothing about short distances. Structures that the untuned model labels itself
cost no DFT and hold it where the labels are silent.

Ref: replay in tuning of foundation models, arXiv:2606.12704.
"""

import hashlib
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from entrove.structures import content_hash, species_of

DIMER_OVER_RADII = (0.4, 1.6)
"""Shortest and longest distance of a dimer, over the sum of its atoms' covalent radii."""

DIMERS_PER_PAIR = 12


def replay_structures(
    labels: Sequence[Atoms], snapshots: Sequence[Atoms], *, seed: int, per_label: float = 1.0
) -> list[Atoms]:
    """Choose what is replayed: dimers of all pairs of species, and some of the snapshots.

    Args:
        labels: The training labels, whose species make the dimers.
        snapshots: Structures of the exploration that are not labelled; labels on them are ignored.
        seed: Decides which snapshots are taken.
        per_label: Most snapshots for each training label.

    Returns structures of which only species, positions and cell count.
    """
    most = round(per_label * len(labels))
    order = np.random.default_rng([seed, 0x4E91]).permutation(len(snapshots))[:most]
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
