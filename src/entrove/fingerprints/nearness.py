"""How near structures are to each other, by their fingerprints: to find those nearly equal."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from entrove.fingerprints.from_structures import fingerprint

NEAR = 0.01
"""Structures whose fingerprints differ by less than this fraction of their spread, root mean
square, are nearly equal: as near as two candidates of which only one is labelled
(`selection.duplicate_tolerance`). In the silicon demo the nearest training label of a validation
structure is at 0.09, and the nearest other strain or shear at 0.012."""


def composition_of(atoms: Atoms) -> str:
    """Return the chemical formula; structures of different formulas are never near."""
    return atoms.get_chemical_formula(mode="hill")


def signatures(structures: Sequence[Atoms]) -> list[Float[np.ndarray, " entries"]]:
    """Fingerprints of each structure, over the spread of their species, sorted feature by feature.

    Args:
        structures: At least one structure; the spread is that over all of them.

    Sorted, they depend neither on the order of the atoms nor on rotations and images. Those of one
    composition have the same length.
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
        ).ravel()
        for rows, atoms in zip(np.split(scaled, ends[:-1]), structures, strict=True)
    ]


def distances(
    signature: Float[np.ndarray, " entries"], others: Float[np.ndarray, "others entries"]
) -> Float[np.ndarray, " others"]:
    """Root mean square differences of a signature and others of the same composition."""
    return np.sqrt(((others - signature) ** 2).mean(axis=1))
