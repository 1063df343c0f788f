"""The hold-out stays out: no structure is both trained on and validated on."""

from collections.abc import Sequence

from ase import Atoms

from entrove.errors import StructureError
from entrove.structures import content_hash


def check_disjoint(training: Sequence[Atoms], validation: Sequence[Atoms]) -> None:
    """Raise `StructureError` when a structure is in both sets, by content hash.

    The hash does not see reordered atoms or shifts by lattice vectors: such copies count as equal.
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
            "set "
            f"({first}); remove them from one of the two"
        )


def without_hold_out(candidates: Sequence[Atoms], validation: Sequence[Atoms]) -> list[int]:
    """Indices of the candidates that are not in the hold-out, by content hash."""
    held_out = {content_hash(atoms) for atoms in validation}
    return [index for index, atoms in enumerate(candidates) if content_hash(atoms) not in held_out]
