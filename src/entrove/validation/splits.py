"""Check that nothing is used both in training and in validation: no structure, copy or trajectory.

Equal structures are found by content hash, snapshots of one trajectory by their provenance, and
structures that are nearly equal by fingerprints: a validation cell that was trained on but for a
hundredth of an Angstrom says nothing about cells that were not.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.errors import StructureError
from entrove.fingerprints.nearness import NEAR, composition_of, distances, signatures, tolerance_of
from entrove.provenance import trajectory_of
from entrove.structures import content_hash


def check_disjoint(
    training: Sequence[Atoms], validation: Sequence[Atoms], *, near: float = NEAR
) -> None:
    """Check that the two sets have nothing in common.

    Args:
        training, validation: Structures. Copies with reordered atoms or atoms moved by lattice
            vectors count as equal; snapshots of one trajectory are known by
            `entrove.provenance.trajectory_of`.
        near: Largest distance of nearly equal structures, by default
            `entrove.fingerprints.nearness.NEAR`; 0 compares hashes and trajectories only.

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
    of_composition: dict[str, list[int]] = {}
    for number, atoms in enumerate(others):
        of_composition.setdefault(composition_of(atoms), []).append(number)
    chosen = [
        index for index, atoms in enumerate(structures) if composition_of(atoms) in of_composition
    ]
    if near <= 0 or not chosen:
        return {}
    found = signatures([structures[index] for index in chosen] + list(others))
    tables = {
        composition: np.stack([found[len(chosen) + number] for number in numbers])
        for composition, numbers in of_composition.items()
    }
    near_ones: dict[int, int] = {}
    for signature, index in zip(found, chosen, strict=False):
        composition = composition_of(structures[index])
        apart = distances(signature, tables[composition])
        nearest = int(np.argmin(apart))
        if apart[nearest] < tolerance_of(near, len(structures[index])):
            near_ones[index] = of_composition[composition][nearest]
    return near_ones
