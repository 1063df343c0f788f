"""Check that nothing is used both in training and in validation: no structure, copy or trajectory.

Equal structures are found by content hash, snapshots of one trajectory by their provenance, and
structures that are nearly equal by fingerprints: a validation cell that was trained on but for a
hundredth of an Angstrom says nothing about cells that were not.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.errors import StructureError
from entrove.fingerprints.from_structures import fingerprint
from entrove.provenance import trajectory_of
from entrove.structures import content_hash

NEAR = 0.01
"""Structures whose fingerprints differ by less than this fraction of their spread, root mean
square, are nearly equal: as near as two candidates of which only one is labelled
(`selection.duplicate_tolerance`). In the silicon demo the nearest training label of a validation
structure is at 0.09, and the nearest other strain or shear at 0.012."""


def check_disjoint(
    training: Sequence[Atoms], validation: Sequence[Atoms], *, near: float = NEAR
) -> None:
    """Check that the two sets have nothing in common.

    Args:
        training, validation: Structures. Copies with reordered atoms or atoms moved by lattice
            vectors count as equal; snapshots of one trajectory are known by
            `entrove.provenance.trajectory_of`.
        near: Largest distance of nearly equal structures, see `NEAR`; 0 compares hashes and
            trajectories only.

    Raises `StructureError`, which lists the pairs, when a structure is in both sets, when both
    have snapshots of one trajectory, or when structures are nearly equal.
    """
    trained = {content_hash(atoms): index for index, atoms in enumerate(training)}
    _refuse(
        "are also in the training set",
        [
            (trained[key], index)
            for index, atoms in enumerate(validation)
            if (key := content_hash(atoms)) in trained
        ],
        validation,
    )
    runs = {run: index for index, atoms in enumerate(training) if (run := trajectory_of(atoms))}
    _refuse(
        "are snapshots of a trajectory that is also in the training set",
        [
            (runs[run], index)
            for index, atoms in enumerate(validation)
            if (run := trajectory_of(atoms)) in runs
        ],
        validation,
    )
    _refuse(
        "are nearly equal to a training structure",
        list(_nearly_equal(training, validation, near).items()),
        validation,
    )


def without_hold_out(
    candidates: Sequence[Atoms], held_out: Sequence[Atoms], *, near: float = NEAR
) -> list[int]:
    """Return the indices of the candidates that are not held out, and not nearly equal to any."""
    hashes = {content_hash(atoms) for atoms in held_out}
    close = _nearly_equal(candidates, held_out, near)
    return [
        index
        for index, atoms in enumerate(candidates)
        if index not in close and content_hash(atoms) not in hashes
    ]


def _refuse(what: str, pairs: Sequence[tuple[int, int]], validation: Sequence[Atoms]) -> None:
    if not pairs:
        return
    first = ", ".join(f"training {i} = validation {j}" for i, j in pairs[:5])
    raise StructureError(
        f"{len({index for _, index in pairs})} of {len(validation)} validation structures {what} "
        f"({first}); remove them from one of the two"
    )


def _nearly_equal(
    structures: Sequence[Atoms], others: Sequence[Atoms], near: float
) -> dict[int, int]:
    """For each structure that is nearly equal to one of the others, the index of the nearest."""
    compositions = {_composition(atoms) for atoms in others}
    chosen = [
        index for index, atoms in enumerate(structures) if _composition(atoms) in compositions
    ]
    if near <= 0 or not chosen:
        return {}
    signatures = _signatures([structures[index] for index in chosen] + list(others))
    found: dict[int, int] = {}
    for position, index in enumerate(chosen):
        distances = [
            _distance(signatures[position], signatures[len(chosen) + other])
            if _composition(atoms) == _composition(structures[index])
            else np.inf
            for other, atoms in enumerate(others)
        ]
        nearest = int(np.argmin(distances))
        if distances[nearest] < near:
            found[index] = nearest
    return found


def _composition(atoms: Atoms) -> str:
    return atoms.get_chemical_formula(mode="hill")


def _signatures(structures: Sequence[Atoms]) -> list[np.ndarray]:
    """Fingerprints of each structure, over the spread of their species, sorted feature by feature.

    Sorted, they depend neither on the order of the atoms nor on rotations and images.
    """
    values = fingerprint(list(structures), length="auto").values
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    scaled = np.array(values, dtype=float)
    for number in np.unique(numbers):
        spread = float(np.sqrt(values[numbers == number].var(axis=0).mean()))
        scaled[numbers == number] /= spread or 1.0
    ends = np.cumsum([len(atoms) for atoms in structures])
    return [
        np.concatenate(
            [np.sort(rows[atoms.numbers == number], axis=0) for number in np.unique(atoms.numbers)]
        )
        for rows, atoms in zip(np.split(scaled, ends[:-1]), structures, strict=True)
    ]


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one - other) ** 2).mean()))
