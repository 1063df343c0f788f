"""Check that no structure is used both in training and in validation."""

from collections.abc import Sequence

from ase import Atoms

from entrove.errors import StructureError
from entrove.structures import content_hash


def check_disjoint(training: Sequence[Atoms], validation: Sequence[Atoms]) -> None:
    """Check that no structure is in both sets.

    Args:
        training, validation: Structures; they are compared by content hash, so that copies with
            reordered atoms or atoms moved by lattice vectors count as equal.

    Raises `StructureError`, which lists the pairs, when a structure is in both sets.
    """
    trained = {content_hash(atoms): index for index, atoms in enumerate(training)}
    shared = [
        (trained[key], index)
        for index, atoms in enumerate(validation)
        if (key := content_hash(atoms)) in trained
    ]
    if shared:
        first = ", ".join(f"training {i} = validation {j}" for i, j in shared[:5])
        raise StructureError(
            f"{len(shared)} of {len(validation)} validation structures are also in the training "
            f"set ({first}); remove them from one of the two"
        )


def without_hold_out(candidates: Sequence[Atoms], validation: Sequence[Atoms]) -> list[int]:
    """Return the indices of the candidates that are not in the hold-out, by content hash."""
    held_out = {content_hash(atoms) for atoms in validation}
    return [index for index, atoms in enumerate(candidates) if content_hash(atoms) not in held_out]
