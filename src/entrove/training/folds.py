"""Divide training labels into folds that have no trajectory and no near-duplicates in common.

A label that nearly equals one that was trained on says nothing about those that were not: a rate
that overfits would look best.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from entrove import provenance
from entrove.fingerprints.nearness import NEAR, composition_of, distances, signatures, tolerance_of
from entrove.provenance import trajectory_of
from entrove.structures import content_hash


def independent_groups(structures: Sequence[Atoms], *, near: float = NEAR) -> list[list[int]]:
    """Group structures that are equal, nearly equal, or snapshots of one trajectory.

    Args:
        structures: The structures; trajectories are known by `entrove.provenance.trajectory_of`.
        near: Largest distance of nearly equal structures, see `entrove.fingerprints.nearness`.

    Returns the indices of each group, as the connected components of these relations: no
    structure is related to one of another group.
    """
    pairs = [*_sharing_a_key(structures), *_nearly_equal(structures, near)]
    count = len(structures)
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    related = coo_array((np.ones(len(pairs)), (first, second)), shape=(count, count))
    _, group_of = connected_components(related, directed=False)
    groups: dict[int, list[int]] = {}
    for index, group in enumerate(group_of.tolist()):
        groups.setdefault(group, []).append(index)
    return list(groups.values())


def divide(
    structures: Sequence[Atoms], groups: Sequence[Sequence[int]], folds: int, seed: int
) -> list[list[int]]:
    """Divide groups of structures into folds of similar size and composition.

    Args:
        structures: The structures.
        groups: What `independent_groups` returns.
        folds: Number of folds, at most that of the groups.
        seed: Decides among equal ways.

    The largest group comes first. Each goes to the fold that has the fewest structures of its
    phase and kind, and of these to the smallest one.

    Returns the indices of each fold; each structure is in exactly one, and no fold is empty.
    """
    # By content: another order of the labels gives the same folds.
    names = [min(content_hash(structures[index]) for index in group) for group in groups]
    by_name = sorted(range(len(groups)), key=lambda number: names[number])
    shuffled = np.random.default_rng([seed, 0xF01D]).permutation(len(groups)).tolist()
    drawn = [by_name[place] for place in shuffled]
    parts: list[list[int]] = [[] for _ in range(folds)]
    kinds: list[Counter[tuple[str, str]]] = [Counter() for _ in range(folds)]
    for number in sorted(drawn, key=lambda number: -len(groups[number])):
        group = groups[number]
        part_kind = _part_of(structures[group[0]])
        empty = [fold for fold in range(folds) if not parts[fold]]
        fold = min(
            empty or range(folds),
            key=lambda fold: (kinds[fold][part_kind], len(parts[fold]), fold),
        )
        parts[fold] += group
        kinds[fold].update(_part_of(structures[index]) for index in group)
    return [sorted(part) for part in parts]


def leaving_every_element(structures: Sequence[Atoms], left_out: Sequence[int]) -> list[int]:
    """Return what may be left out of a training so that every element is still learnt.

    Args:
        structures: All training labels.
        left_out: Indices of those to be left out.

    Structures with an element that none of the others has are not left out: nothing of it would be
    learnt, not even its reference energy.
    """
    outside = set(range(len(structures))) - set(left_out)
    known = {symbol for index in outside for symbol in structures[index].symbols}
    return [index for index in left_out if known.issuperset(structures[index].symbols)]


def _part_of(atoms: Atoms) -> tuple[str, str]:
    """Phase and kind; two empty words for a structure without provenance."""
    info = provenance.provenance_of(atoms)
    return str(info.get(provenance.PHASE, "")), str(info.get(provenance.KIND, ""))


def _sharing_a_key(structures: Sequence[Atoms]) -> list[tuple[int, int]]:
    """Pairs of equal structures and of snapshots of one trajectory: each with the first one."""
    first: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    for index, atoms in enumerate(structures):
        for key in (content_hash(atoms), trajectory_of(atoms)):
            if key is not None:
                pairs.append((first.setdefault(key, index), index))
    return pairs


def _nearly_equal(structures: Sequence[Atoms], near: float) -> list[tuple[int, int]]:
    of_composition: dict[str, list[int]] = {}
    for index, atoms in enumerate(structures):
        of_composition.setdefault(composition_of(atoms), []).append(index)
    compared = [index for alike in of_composition.values() if len(alike) > 1 for index in alike]
    if near <= 0 or not compared:
        return []
    found = dict(zip(compared, signatures([structures[i] for i in compared]), strict=True))
    pairs: list[tuple[int, int]] = []
    for alike in of_composition.values():
        if len(alike) < 2:
            continue
        table = np.stack([found[index] for index in alike])
        for place, index in enumerate(alike[:-1]):
            apart = distances(table[place], table[place + 1 :])
            close = np.flatnonzero(apart < tolerance_of(near, len(structures[index])))
            pairs += [(index, alike[place + 1 + int(step)]) for step in close]
    return pairs
