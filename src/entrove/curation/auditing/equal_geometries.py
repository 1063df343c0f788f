"""Frames of equal and nearly equal geometry."""

from collections.abc import Sequence
from dataclasses import dataclass

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

_NEIGHBOURS = 6
_LEAST_SCALE = 1e-5
"""Signatures are kept in single precision."""

_PAIRS_AT_A_TIME = 512


@dataclass(frozen=True)
class Repeats:
    """Pairs of frames of nearly equal geometry, and the displacement in A that sets them apart."""

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    apart_A: Float[np.ndarray, " pairs"]

    @classmethod
    def none(cls) -> "Repeats":
        """No pair."""
        return cls(np.zeros(0, int), np.zeros(0, int), np.zeros(0))


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
        found.append(Repeats(frames[leader[copies]], frames[copies], np.zeros(len(copies))))
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
            found.append(Repeats(np.minimum(one, other), np.maximum(one, other), apart))
    return _each_once(found)


def _confirm(spool: Spool, predicted: FramePredictions, pairs: Repeats) -> Repeats:
    """Those pairs whose distances between atoms are nearly equal, too.

    Signatures are sixteen numbers, in directions in which a sample varies: two geometries that
    differ in another direction have the same.
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
    kept = apart < NEAR_A
    return Repeats(pairs.first[kept], pairs.second[kept], apart[kept])


def _each_once(found: Sequence[Repeats]) -> Repeats:
    """All pairs in their order, each with the smallest displacement that was found for it."""
    first, second, apart = (
        np.concatenate([getattr(repeats, name) for repeats in found])
        for name in ("first", "second", "apart_A")
    )
    order = np.lexsort((apart, second, first))
    first, second, apart = first[order], second[order], apart[order]
    new = np.ones(len(first), dtype=bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Repeats(first[new], second[new], apart[new])


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
