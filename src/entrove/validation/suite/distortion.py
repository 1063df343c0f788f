"""Whether a structure is a crystal whose atoms are displaced, whatever cells both are given in."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

LARGEST_STRAIN = 0.08
"""Relative difference of lengths, and difference of cosines, that counts as a strain."""

LARGEST_DISPLACEMENT = 0.2
"""Root mean square displacement over the shortest distance of a crystal; crystals melt at half."""

MOST_CELLS = 200
"""Supercells of a crystal that are compared; most of them are equivalent by symmetry."""


def is_distortion(atoms: Atoms, crystal: Atoms) -> bool:
    """Whether a structure is a supercell of a crystal, strained and with displaced atoms.

    Args:
        atoms: The structure, periodic in three dimensions.
        crystal: The crystal in its primitive cell; its volume per atom is that of the structure.

    The displacement is that of the best assignment of atoms, without a common translation.
    """
    copies, rest = divmod(len(atoms), len(crystal))
    if rest:
        return False
    cell = np.array(minkowski_reduce(atoms.cell.array)[0])
    ratio = atoms.get_volume() / (copies * crystal.get_volume())
    lattice = crystal.cell.array * np.cbrt(ratio)
    largest = LARGEST_DISPLACEMENT * _shortest_distance(crystal) * np.cbrt(ratio)
    inside = np.linalg.solve(cell.T, atoms.positions.T).T
    return any(
        _displacement_A(inside, atoms.numbers, _supercell(crystal, matrix), cell) < largest
        for matrix in _supercells_like(cell, lattice, copies)
    )


def _shortest_distance(crystal: Atoms) -> float:
    repeated = crystal.repeat(2)
    distances = repeated.get_all_distances(mic=True)
    return float(distances[~np.eye(len(repeated), dtype=bool)].min())


def _supercells_like(
    cell: Float[np.ndarray, "3 3"], lattice: Float[np.ndarray, "3 3"], copies: int
) -> Iterator[Int[np.ndarray, "3 3"]]:
    """Integer matrices whose product with the lattice has lengths and angles of the cell."""
    lengths = np.linalg.norm(cell, axis=1)
    cosines = cell @ cell.T / np.outer(lengths, lengths)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    ranges = [
        range(-most, most + 1) for most in np.ceil(1.1 * lengths.max() / heights).astype(int)
    ]
    points = np.array(list(product(*ranges)))
    vectors = points @ lattice
    sizes = np.linalg.norm(vectors, axis=1)
    first, second, third = (
        np.flatnonzero(abs(sizes - length) < LARGEST_STRAIN * length) for length in lengths
    )
    unit = vectors / np.maximum(sizes, 1e-9)[:, None]
    found = 0
    for a, b in product(first, second):
        if abs(unit[a] @ unit[b] - cosines[0, 1]) > LARGEST_STRAIN:
            continue
        near = (abs(unit[third] @ unit[a] - cosines[0, 2]) < LARGEST_STRAIN) & (
            abs(unit[third] @ unit[b] - cosines[1, 2]) < LARGEST_STRAIN
        )
        for c in third[near]:
            matrix = points[[a, b, c]]
            if round(abs(np.linalg.det(matrix))) == copies:
                yield matrix
                found += 1
                if found == MOST_CELLS:
                    return


def _supercell(
    crystal: Atoms, matrix: Int[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "atoms 3"], Int[np.ndarray, " atoms"]]:
    """Fractional positions and atomic numbers of the crystal in a supercell."""
    inverse = np.linalg.inv(matrix)
    corners = np.array(list(product((0, 1), repeat=3))) @ matrix
    ranges = [
        range(low, high + 1) for low, high in zip(corners.min(0), corners.max(0), strict=True)
    ]
    shifts = np.array(list(product(*ranges))) @ inverse
    shifts = shifts[((shifts > -1e-6) & (shifts < 1 - 1e-6)).all(axis=1)]
    basis = crystal.get_scaled_positions() @ inverse
    positions = (basis[:, None, :] + shifts[None, :, :]).reshape(-1, 3)
    return positions, np.repeat(crystal.numbers, len(shifts))


def _displacement_A(
    inside: Float[np.ndarray, "atoms 3"],
    numbers: Int[np.ndarray, " atoms"],
    ideal: tuple[Float[np.ndarray, "atoms 3"], Int[np.ndarray, " atoms"]],
    cell: Float[np.ndarray, "3 3"],
) -> float:
    """Root mean square displacement from ideal positions, which may be translated."""
    positions, ideal_numbers = ideal
    if sorted(numbers) != sorted(ideal_numbers):
        return np.inf
    others = numbers[:, None] != ideal_numbers[None, :]
    best = np.inf
    for start in np.flatnonzero(ideal_numbers == numbers[0]):
        shift = inside[0] - positions[start]
        for _ in range(2):  # the first atom is displaced, too: the mean of all is taken out
            apart = inside[:, None, :] - positions[None, :, :] - shift
            apart -= np.round(apart)
            squares = ((apart @ cell) ** 2).sum(axis=-1)
            rows, columns = linear_sum_assignment(np.where(others, 1e6, squares))
            shift = shift + apart[rows, columns].mean(axis=0)
        moved = apart[rows, columns] - apart[rows, columns].mean(axis=0)
        best = min(best, float(np.sqrt(((moved @ cell) ** 2).sum(axis=1).mean())))
    return best
