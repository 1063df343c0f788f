"""Space groups of crystals: the one place that prepares structures for spglib."""

import warnings
from collections.abc import Callable
from typing import Concatenate

import numpy as np
import spglib
from ase import Atoms
from jaxtyping import Float

type SpglibCell = tuple[list[list[float]], list[list[float]], list[int]]
"""Cell vectors in Angstrom, fractional coordinates and atomic numbers."""


def call_spglib[**Options, Found](
    function: Callable[Concatenate[SpglibCell, Options], Found],
    atoms: Atoms,
    *args: Options.args,
    **options: Options.kwargs,
) -> Found | None:
    """Call a function of spglib for a structure.

    Args:
        function: A function such as `spglib.get_symmetry`, whose first argument is a cell.
        atoms: The structure; magnetic moments are not considered.
        args, options: Further arguments of the function, such as `symprec` in Angstrom.

    Returns what the function returns, and None where spglib finds nothing.
    """
    cell = (
        atoms.cell.array.tolist(),
        atoms.get_scaled_positions().tolist(),
        atoms.numbers.tolist(),
    )
    with warnings.catch_warnings():
        # spglib 2.7 warns that it will raise where it now returns None; both are handled here.
        # It also asks for a process-wide setting, which belongs to the application.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            return function(cell, *args, **options)
        except spglib.SpglibError:
            return None


def space_group(atoms: Atoms, tolerance_A: float) -> str | None:
    """Name the space group of a crystal, such as "Fd-3m (227)".

    Args:
        atoms: A crystal. spglib is not called for one that is not finite, which makes it crash
            together with Python.
        tolerance_A: Distance in Angstrom up to which an atom is at a symmetric place.

    Returns None where none is found.
    """
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return None
    return call_spglib(spglib.get_spacegroup, atoms, symprec=tolerance_A)


def cartesian_rotations(atoms: Atoms, tolerance_A: float) -> Float[np.ndarray, "operations 3 3"]:
    """Return the rotations of the space group in Cartesian axes; none where no group is found.

    Args:
        atoms: A crystal.
        tolerance_A: Distance in Angstrom up to which an atom is at a symmetric place.
    """
    found = call_spglib(spglib.get_symmetry, atoms, symprec=tolerance_A)
    if found is None:
        return np.zeros((0, 3, 3))
    lattice = atoms.cell.array.T
    return lattice @ found["rotations"] @ np.linalg.inv(lattice)
