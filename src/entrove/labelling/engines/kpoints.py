"""k-point grids from a spacing, so that cells of many shapes share one level of theory."""

import math

import numpy as np
from ase import Atoms


def kpoint_grid(atoms: Atoms, spacing_per_A: float) -> tuple[int, int, int]:
    """Smallest grid whose spacing along each reciprocal vector is at most `spacing_per_A` (1/A).

    The reciprocal vectors include the factor 2 pi. Directions without periodicity get one point.
    """
    lengths = 2 * math.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    # The tolerance keeps float noise of a relaxed cell from adding a point.
    grid = [
        max(1, math.ceil(length / spacing_per_A - 1e-6)) if periodic else 1
        for length, periodic in zip(lengths, atoms.pbc, strict=True)
    ]
    return grid[0], grid[1], grid[2]
