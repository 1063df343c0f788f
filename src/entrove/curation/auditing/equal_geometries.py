"""Frames of equal and nearly equal geometry."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from entrove.curation.auditing.predictions.distances import pair_distances
from entrove.curation.auditing.predictions.frames import FramePredictions
from entrove.curation.auditing.predictions.sample import Sample
from entrove.curation.auditing.predictions.whitening import Whitening
from entrove.curation.auditing.spool import Spool

EQUAL_A = 0.002
"""Displacements below which two geometries are the same."""

NEAR_A = 0.01
"""Displacements below which two geometries are nearly the same."""

_LEAST_EQUAL_A = 1e-4
"""Files round positions by up to this: geometries that are as near are equal in any set."""

_MOST_OF_TYPICAL = 0.2
"""Of the typical displacement between frames of one cell, as a limit of near ones."""

_SAME_CELL_A = 1e-4
_LEAST_OF_CELL = 5
_FRAMES_OF_CELL = 24
_NEIGHBOURS = 6
_LEAST_SCALE = 1e-5
"""Signatures are kept in single precision."""

_PAIRS_AT_A_TIME = 512


@dataclass(frozen=True)
class Repeats:
    """Pairs of frames of nearly equal geometry, and the displacement in A that sets them apart.

    `limit_A` is what it is below for equal ones.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    apart_A: Float[np.ndarray, " pairs"]
    limit_A: Float[np.ndarray, " pairs"]

    @property
    def equal(self) -> np.ndarray:
        """Which pairs are of one geometry, and not only near."""
        return self.apart_A < self.limit_A

    @classmethod
    def none(cls) -> "Repeats":
        """No pair."""
        return cls(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0))

    def where(self, chosen: np.ndarray) -> "Repeats":
        """Some of the pairs, by their places or by whether they are chosen."""
        return Repeats(
            self.first[chosen], self.second[chosen], self.apart_A[chosen], self.limit_A[chosen]
        )


def displacement_scale(whiten: Whitening, sample: Sample, seed: int) -> float:
    """How far a signature moves when every atom is displaced at random by about 0.01 A.

    One atom in its cell has nothing to be displaced against: its nearest distances are changed by
    as much.
    """
    generator = np.random.default_rng(seed)
    structures = sample.structures[:60]
    moved = [atoms.copy() for atoms in structures]
    for atoms in moved:
        if len(atoms) == 1 and atoms.pbc.any():
            lengths = atoms.cell.lengths()
            stretched = 1 + 0.01 / float(lengths[lengths > 0].min())
            atoms.set_cell(stretched * atoms.cell.array, scale_atoms=True)
        atoms.positions += generator.normal(scale=0.01 / np.sqrt(3), size=atoms.positions.shape)
    apart = np.linalg.norm(whiten.of_structures(moved) - whiten.of_structures(structures), axis=1)
    return max(float(np.quantile(apart, 0.25)) if len(apart) else 0.0, _LEAST_SCALE)


def find_repeats(
    spool: Spool, predicted: FramePredictions, frames: np.ndarray, scale: float
) -> Repeats:
    """Find frames whose geometries are nearly equal.

    Frames of equal content are found by its hash. Of the others, those with near signatures are
    compared by all distances between their atoms. These do not change with rotation, translation,
    order of the atoms or choice of the cell, so that supercells are found, too.

    Args:
        spool: The frames.
        predicted: Their signatures.
        frames: Which of them are compared, in their order.
        scale: From `displacement_scale`.
    """
    file, against = (np.asarray(spool.records[name])[frames] for name in ("file", "against"))
    content = _numbers_of_contents(np.asarray(spool.records["content"])[frames])
    found = [Repeats.none()]
    # Each frame repeats the first of its content, and the first of it within its own file.
    for groups in (content, _numbers_of(content, file, against)):
        leader = np.unique(groups, return_index=True)[1][groups]
        copies = np.flatnonzero(leader != np.arange(len(frames)))
        exact, limit = np.zeros(len(copies)), np.full(len(copies), EQUAL_A)
        found.append(Repeats(frames[leader[copies]], frames[copies], exact, limit))
    # One frame stands for all of its content: equal frames would hide others that are near.
    groups = _numbers_of(content, against)
    leaders = np.unique(groups, return_index=True)[1]
    near = _confirm(spool, predicted, _near_signatures(spool, predicted, frames[leaders], scale))
    group_of = groups[np.searchsorted(frames, near.second)]
    order = np.argsort(groups, kind="stable")
    for k, members in enumerate(_slices(groups[order], group_of)):
        second = frames[order[members]]
        same = np.full(len(second), near.first[k])
        found.append(
            Repeats(
                np.minimum(same, second),
                np.maximum(same, second),
                np.full(len(second), near.apart_A[k]),
                np.full(len(second), near.limit_A[k]),
            )
        )
    return _each_once(found)


def _near_signatures(
    spool: Spool, predicted: FramePredictions, frames: np.ndarray, scale: float
) -> Repeats:
    """Pairs of frames of one reduced composition with near signatures, by nearest neighbours.

    The nearest ones of another set are looked for by themselves: many frames of one geometry in a
    test set must not hide the one among the others.
    """
    found = [Repeats.none()]
    formulas, against = (
        np.asarray(spool.records[name])[frames] for name in ("formula", "against")
    )
    for formula in np.unique(formulas):
        train, test = (frames[(formulas == formula) & (against == side)] for side in (False, True))
        for members, others in ((train, train), (test, train), (test, test)):
            if not len(members) or not len(others):
                continue
            count = min(_NEIGHBOURS, len(others))
            found_lengths, found_near = KDTree(
                np.asarray(predicted.signatures[others], dtype=float)
            ).query(
                np.asarray(predicted.signatures[members], dtype=float),
                k=count,
                distance_upper_bound=scale * NEAR_A / 0.01,
            )
            # One neighbour only comes without its axis.
            lengths = np.reshape(found_lengths, (len(members), count))
            near = np.reshape(found_near, (len(members), count))
            row, _ = np.nonzero(np.isfinite(lengths))
            one, other = members[row], others[near[np.isfinite(lengths)]]
            apart = lengths[np.isfinite(lengths)] * 0.01 / scale
            pair = one != other
            one, other, apart = one[pair], other[pair], apart[pair]
            limit = np.full(len(apart), EQUAL_A)
            found.append(Repeats(np.minimum(one, other), np.maximum(one, other), apart, limit))
    return _each_once(found)


def _confirm(spool: Spool, predicted: FramePredictions, pairs: Repeats) -> Repeats:
    """Those pairs whose distances between atoms are nearly equal, too.

    Signatures are sixteen numbers, in directions in which a sample varies: two geometries that
    differ in another direction have the same. Sorted distances of small displacements about one
    crystal differ little, too: within a cell that other frames have, what is near is small
    against the typical displacement of these.
    """
    apart = pairs.apart_A.copy()
    for start in range(0, len(apart), _PAIRS_AT_A_TIME):
        part = slice(start, start + _PAIRS_AT_A_TIME)
        members = np.unique([pairs.first[part], pairs.second[part]])
        distances = dict(
            zip(
                members.tolist(),
                pair_distances(predicted.basis, spool.structures(members)),
                strict=True,
            )
        )
        apart[part] = [
            max(length, distances[one].apart_A(distances[other]))
            for one, other, length in zip(
                pairs.first[part].tolist(),
                pairs.second[part].tolist(),
                apart[part].tolist(),
                strict=True,
            )
        ]
    typical = _typical_displacements(spool, predicted, pairs)
    near = np.minimum(NEAR_A, np.maximum(_MOST_OF_TYPICAL * typical, _LEAST_EQUAL_A))
    equal = np.minimum(near, np.maximum(near * EQUAL_A / NEAR_A, _LEAST_EQUAL_A))
    return replace(pairs, apart_A=apart, limit_A=equal).where(apart < near)


def _typical_displacements(
    spool: Spool, predicted: FramePredictions, pairs: Repeats
) -> Float[np.ndarray, " pairs"]:
    """Median displacement in A between frames of the cell of each pair.

    Infinite where the two cells differ, or only a few frames have the cell.
    """
    records = spool.records
    typical = np.full(len(pairs.first), np.inf)
    one, other = (np.asarray(records["cell"])[frames] for frames in (pairs.first, pairs.second))
    same = np.abs(one - other).max(axis=(1, 2), initial=0.0) < _SAME_CELL_A
    same &= records["atoms"][pairs.first] == records["atoms"][pairs.second]
    usable = np.asarray(records["usable"]) & ~np.asarray(records["isolated"])
    while same.any():
        # Pairs of one composition and cell are judged together, by some of its frames.
        cell = records[pairs.first[np.flatnonzero(same)[0]]]
        alike = (
            (np.abs(records["cell"] - cell["cell"]).max(axis=(1, 2)) < _SAME_CELL_A)
            & (records["atoms"] == cell["atoms"])
            & (records["formula"] == cell["formula"])
        )
        own = same & alike[pairs.first]
        same &= ~own
        members = np.flatnonzero(alike & usable)
        members = members[np.unique(records["content"][members], return_index=True)[1]]
        if len(members) < _LEAST_OF_CELL:
            continue
        spaced = np.linspace(0, len(members) - 1, min(len(members), _FRAMES_OF_CELL)).astype(int)
        lengths = pair_distances(predicted.basis, spool.structures(members[spaced]))
        apart = np.array([a.apart_A(b) for a, b in combinations(lengths, 2)])
        apart = apart[apart > _LEAST_EQUAL_A]
        if len(apart):
            typical[own] = np.median(apart)
    return typical


def _each_once(found: Sequence[Repeats]) -> Repeats:
    """All pairs in their order, each with the smallest displacement that was found for it."""
    together = Repeats(
        *(
            np.concatenate([getattr(repeats, field.name) for repeats in found])
            for field in fields(Repeats)
        )
    )
    together = together.where(np.lexsort((together.apart_A, together.second, together.first)))
    first, second = together.first, together.second
    new = np.ones(len(first), dtype=bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return together.where(new)


def _numbers_of_contents(contents: np.ndarray) -> np.ndarray:
    """A number for each content; a frame without a hash has one of its own."""
    known, numbers = np.unique(contents, return_inverse=True)
    unknown = np.flatnonzero(contents == b"")
    numbers[unknown] = len(known) + unknown
    return np.unique(numbers, return_inverse=True)[1]


def _numbers_of(*columns: np.ndarray) -> np.ndarray:
    """A number for each combination of values."""
    return np.unique(np.stack(columns), axis=1, return_inverse=True)[1].ravel()


def _slices(ordered: np.ndarray, values: np.ndarray) -> list[slice]:
    """Where each of some values is found in an ordered array."""
    starts, ends = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
