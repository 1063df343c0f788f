"""How near structures are to each other, by their fingerprints: to find those nearly equal."""

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from entrove.features import LEAST_SPREAD
from entrove.fingerprints.from_structures import fingerprint
from entrove.fingerprints.radii import distinct_widths

NEAR = 0.01
"""Structures whose fingerprints differ by less than this fraction of their spread, root mean
square, are nearly equal: as near as two candidates of which only one is labelled
(`selection.duplicate_tolerance`). In the silicon demo the nearest training label of a validation
structure is at 0.09, and the nearest other strain or shear at 0.012. Cells of more than
`WHOLE_TOLERANCE_ATOMS` atoms have to be nearer, see `tolerance_of`."""

WHOLE_TOLERANCE_ATOMS = 8
"""Largest cells that are compared at the whole tolerance."""


def tolerance_of(tolerance: float, atoms: int) -> float:
    """Distance below which structures of a number of atoms are nearly equal.

    Features are compared sorted, so that those of independent snapshots of a large cell, which
    are two samples of one distribution, come nearer and nearer to each other, as 1/sqrt(atoms).
    """
    return tolerance * math.sqrt(min(1.0, WHOLE_TOLERANCE_ATOMS / atoms))


def spread_of(rows: Float[np.ndarray, "rows features"]) -> float:
    """Root mean square of the standard deviations of the features.

    Where they do not vary but for rounding it is that of the smallest variation, and 1 where all
    are zero: copies of a perfect crystal are at distance zero.
    """
    spread = math.sqrt(rows.var(axis=0).mean())
    return max(spread, LEAST_SPREAD * math.sqrt((rows**2).mean())) or 1.0


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
    # Widths that differ: the atoms of two elements may have changed places.
    symbols = {symbol for atoms in structures for symbol in atoms.symbols.species()}
    widths_A = distinct_widths(symbols)
    values = fingerprint(list(structures), length="auto", radii_A=widths_A).values
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    scaled = np.array(values, dtype=float)
    for number in np.unique(numbers):
        scaled[numbers == number] /= spread_of(values[numbers == number])
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
