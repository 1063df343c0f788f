"""Strained and sheared cells of a relaxed phase: which are copies, and which have overlaps."""

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.errors import StructureError
from entrove.sampling.candidates import Candidate, Pool
from entrove.sampling.config import GuardSettings
from entrove.sampling.walkers.grid import Start
from entrove.structures import closest_atoms, copy_structure

logger = logging.getLogger(__name__)

SAME_LENGTH_FRACTION = 2e-3
"""Cell vectors that differ by less than this, relative to their length, are the same."""

SAME_PLACE_A = 1e-2
"""Atoms closer than this are at the same place."""

_SHEARED = ((1, 2), (0, 2), (0, 1))


def strain_volume(atoms: Atoms, ratio: float) -> Atoms:
    """Scale a cell isotropically to `ratio` times its volume, atoms with it."""
    strained = copy_structure(atoms)
    strained.set_cell(atoms.cell.array * ratio ** (1.0 / 3.0), scale_atoms=True)
    return strained


def shear(atoms: Atoms, strain: float, axes: tuple[int, int]) -> Atoms:
    """Shear a cell by the engineering strain `strain` in the plane of two axes, atoms with it.

    The deformation is symmetric, 1 + strain / 2 off the diagonal, so it does not rotate the cell.
    """
    deformation = np.eye(3)
    deformation[axes], deformation[axes[::-1]] = strain / 2, strain / 2
    sheared = copy_structure(atoms)
    sheared.set_cell(atoms.cell.array @ deformation.T, scale_atoms=True)
    return sheared


def deform(
    starts: Sequence[Start],
    volume_strains: Sequence[float],
    shears: Sequence[float],
    pool: Pool,
    planes: int = 3,
) -> list[Candidate]:
    """Strain and shear every relaxed phase; shears act in the first `planes` of yz, xz, xy."""
    candidates = []
    for start in starts:
        for ratio in volume_strains:
            atoms = strain_volume(start.atoms, ratio)
            candidates.append(Candidate(atoms, pool, "strain", start.phase, start.pressure_GPa))
        for strain in shears:
            for axes in _SHEARED[:planes]:
                atoms = shear(start.atoms, strain, axes)
                candidates.append(Candidate(atoms, pool, "shear", start.phase, start.pressure_GPa))
    return candidates


def refuse_overlaps(starts: Sequence[Start], limits: GuardSettings) -> None:
    """Raise `StructureError` for a start whose atoms are closer than the guards allow."""
    for start in starts:
        closest = closest_atoms(start.atoms)
        if closest is not None and closest.ratio < limits.shortest_distance:
            raise StructureError(
                f"phase {start.phase} at {start.pressure_GPa:g} GPa has {closest.describe()}, "
                f"{closest.ratio:.2f} times the sum of their covalent radii, and at least "
                f"{limits.shortest_distance:g} is allowed (guards.shortest_distance); check the "
                "seed, and whether the model knows these elements at this pressure"
            )


def without_overlaps(candidates: Sequence[Candidate], limits: GuardSettings) -> list[Candidate]:
    """Drop candidates whose atoms are closer than the guards of the walkers allow, and log it."""
    kept: list[Candidate] = []
    for candidate in candidates:
        closest = closest_atoms(candidate.atoms)
        if closest is not None and closest.ratio < limits.shortest_distance:
            logger.warning(
                "%s cell of %s at %g GPa left out: %s",
                candidate.kind,
                candidate.phase,
                candidate.pressure_GPa,
                closest.describe(),
            )
        else:
            kept.append(candidate)
    return kept


def without_copies(
    candidates: Sequence[Candidate], known: Sequence[Atoms] = ()
) -> list[Candidate]:
    """Drop candidates that copy an earlier one, or one of `known`.

    A phase compressed to 0.92 of its volume and the same phase relaxed at 10 GPa can be one
    structure; it must not be labelled twice.
    """
    kept: list[Candidate] = []
    seen = list(known)
    for candidate in candidates:
        if not any(is_copy(candidate.atoms, other) for other in seen):
            kept.append(candidate)
            seen.append(candidate.atoms)
    return kept


def is_copy(atoms: Atoms, other: Atoms) -> bool:
    """Whether two cells have the same species in order, and cell and positions within tolerance.

    Both must come from the same seed: other settings of the same crystal are not recognised.
    """
    if len(atoms) != len(other) or (atoms.numbers != other.numbers).any():
        return False
    lengths = atoms.cell.lengths()
    if (
        np.linalg.norm(atoms.cell.array - other.cell.array, axis=1)
        > SAME_LENGTH_FRACTION * lengths
    ).any():
        return False
    shift = atoms.get_scaled_positions(wrap=False) - other.get_scaled_positions(wrap=False)
    # A rigid translation changes nothing. It is taken off before images are chosen: half a cell
    # is as near to one as to the next, and atoms would choose differently.
    shift -= shift[:1]
    shift = np.where(atoms.pbc, shift - np.round(shift), shift) @ atoms.cell.array
    shift -= shift.mean(axis=0)
    return bool((np.linalg.norm(shift, axis=1) < SAME_PLACE_A).all())
