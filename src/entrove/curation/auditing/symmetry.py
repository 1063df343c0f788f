"""Space groups and rotations of structures, by spglib."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
from ase import Atoms
from jaxtyping import Float


def space_group(atoms: Atoms, tolerance_A: float) -> str:
    """The space group to a tolerance, such as "Fd-3m (227)"; "unknown" where none is found."""
    import spglib

    with _quietly():
        return spglib.get_spacegroup(_cell(atoms), symprec=tolerance_A) or "unknown"


def cartesian_rotations(atoms: Atoms, tolerance_A: float) -> Float[np.ndarray, "operations 3 3"]:
    """Rotations of the space group in Cartesian axes; none where no group is found."""
    import spglib

    with _quietly():
        found = spglib.get_symmetry(_cell(atoms), symprec=tolerance_A)
    if found is None:
        return np.zeros((0, 3, 3))
    lattice = atoms.cell.array.T
    return lattice @ found["rotations"] @ np.linalg.inv(lattice)


def _cell(
    atoms: Atoms,
) -> tuple[list[list[float]], list[list[float]], list[int]]:
    return (
        atoms.cell.array.tolist(),
        atoms.get_scaled_positions().tolist(),
        atoms.numbers.tolist(),
    )


@contextmanager
def _quietly() -> Generator[None]:
    """Without the advice of spglib to change a setting of the whole process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        yield
