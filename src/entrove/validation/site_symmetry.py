"""Force components that vanish by the symmetry of the site of an atom.

An error of such a component is zero for every model that keeps the symmetry, and says nothing of
it. In a cell that is strained isotropically no atom of diamond feels a force: counting its zeros
among the errors makes any model look better.
"""

import logging

import numpy as np
import spglib
from ase import Atoms
from jaxtyping import Bool, Float, Int

from entrove.symmetry import call_spglib

logger = logging.getLogger(__name__)

SYMMETRY_TOLERANCE_A = 1e-3
"""Atoms that are this far from symmetric places count as symmetric. With force constants of about
10 eV/A^2, they feel at most 10 meV/A, which is `LARGEST_FORBIDDEN_FORCE_eV_per_A`."""

LARGEST_FORBIDDEN_FORCE_eV_per_A = 0.01
"""Labelled forces above this contradict the symmetry of the structure, as magnetic order does."""

SMALLEST_PROJECTION = 0.01
"""An axis keeps less than this of its length in the invariant subspace when its component
vanishes: the rotations of a lattice that is symmetric to a tolerance of 1e-3 A are orthogonal to
1e-3, and a direction that is 0.6 degrees from such an axis has no symmetry in a crystal."""


def allowed_components(
    atoms: Atoms, tolerance_A: float = SYMMETRY_TOLERANCE_A
) -> Bool[np.ndarray, "atoms 3"]:
    """Tell which Cartesian components of the forces the symmetry of the structure allows.

    Args:
        atoms: One structure. Magnetic moments are not considered.
        tolerance_A: Distance in Angstrom up to which an atom is at a symmetric place.

    A force is left unchanged by every rotation R that maps its atom onto itself or an image of
    itself. The mean of these rotations projects on the vectors with this property; component i
    vanishes when the axis i has no projection.

    Returns True where a component may differ from zero, shape (atoms, 3): everywhere for
    structures that are not periodic along all three directions, whose symmetry is not determined.
    """
    if not atoms.pbc.all():
        return np.ones((len(atoms), 3), dtype=bool)
    primitive, of_primitive = _primitive_cell(atoms, tolerance_A)
    return _allowed_in_primitive(primitive, tolerance_A)[of_primitive]


def _allowed_in_primitive(atoms: Atoms, tolerance_A: float) -> Bool[np.ndarray, "atoms 3"]:
    rotations, translations = _operations(atoms, tolerance_A)
    cell, places = atoms.cell.array, atoms.get_scaled_positions()
    cartesian = cell.T @ rotations @ np.linalg.inv(cell.T)
    images = np.einsum("oij,aj->oai", rotations, places) + translations[:, None]
    apart = images - places
    apart = np.linalg.norm((apart - np.round(apart)) @ cell, axis=-1)
    # Twice the tolerance: both the atom and the operation may be off by it.
    stays = (apart < 2 * tolerance_A).astype(float)
    sums = np.einsum("oa,oij->aij", stays, cartesian)
    projections = sums / np.maximum(stays.sum(axis=0), 1.0)[:, None, None]
    return np.linalg.norm(projections, axis=2) > SMALLEST_PROJECTION


def counted_components(label: Atoms) -> Bool[np.ndarray, "atoms 3"]:
    """Tell which force components of a labelled structure count in force errors.

    Args:
        label: A structure with forces in eV/A.

    Returns what `allowed_components` does, or True everywhere when a labelled force contradicts
    the symmetry: then the symmetry of the structure is not that of its electrons.
    """
    allowed = allowed_components(label)
    forbidden = np.abs(label.get_forces(apply_constraint=False)[~allowed])
    if forbidden.size and forbidden.max() > LARGEST_FORBIDDEN_FORCE_eV_per_A:
        logger.warning(
            "%s: a labelled force of %.3f eV/A should vanish by symmetry of the structure; all "
            "its force components are counted (magnetic order, or forces that are not converged)",
            label.get_chemical_formula(),
            forbidden.max(),
        )
        return np.ones_like(allowed)
    return allowed


def _primitive_cell(atoms: Atoms, tolerance_A: float) -> tuple[Atoms, np.ndarray]:
    """The primitive cell in the same orientation, and the atom of it that each atom repeats.

    A supercell can have a lattice of lower symmetry than its crystal, and operations are only
    found in terms of the given lattice.
    """
    found = call_spglib(spglib.get_symmetry_dataset, atoms, symprec=tolerance_A)
    if found is None:
        return atoms, np.arange(len(atoms))
    _, first, of_primitive = np.unique(
        found.mapping_to_primitive, return_index=True, return_inverse=True
    )
    primitive = Atoms(
        atoms.numbers[first], atoms.positions[first], cell=found.primitive_lattice, pbc=True
    )
    return primitive, of_primitive


def _operations(
    atoms: Atoms, tolerance_A: float
) -> tuple[Int[np.ndarray, "operations 3 3"], Float[np.ndarray, "operations 3"]]:
    """Space group operations in fractional coordinates; the identity where none is found."""
    found = call_spglib(spglib.get_symmetry, atoms, symprec=tolerance_A)
    if found is None:
        return np.eye(3, dtype=int)[None], np.zeros((1, 3))
    return np.asarray(found["rotations"], dtype=int), np.asarray(found["translations"])
