"""Labels that cannot be right: not finite, far too large, contradicting themselves.

And structures that can have no label: atoms at one place, elements that do not exist.
"""

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list
from pydantic import Field, PositiveFloat

from entrove.labelling.attempt import AttemptResult
from entrove.settings import Settings


class SanityLimits(Settings):
    """Beyond these a label is rejected and quarantined, never trained on."""

    max_force_eV_per_A: PositiveFloat = Field(
        default=100.0, description="Largest force on an atom in eV/A."
    )
    max_stress_eV_per_A3: PositiveFloat = Field(
        default=5.0, description="Largest stress component in eV/A^3 (1 eV/A^3 = 160.2 GPa)."
    )
    max_mean_force_eV_per_A: PositiveFloat = Field(
        default=0.02,
        description="Largest mean of all force vectors in eV/A; forces on all atoms sum to zero. "
        "Where forces are large, 1 % of their mean length is allowed.",
    )
    min_distance: PositiveFloat = Field(
        default=0.35,
        description="Shortest distance between two atoms over the sum of their covalent radii.",
    )


def find_implausible_value(end: AttemptResult, atom_count: int, limits: SanityLimits) -> str:
    """Why the numbers of a converged attempt cannot be right; an empty string when they can."""
    if end.energy_eV is None or not np.isfinite(end.energy_eV):
        return f"the energy is {end.energy_eV}"
    forces = np.asarray(end.forces_eV_per_A, dtype=float)
    if forces.shape != (atom_count, 3):
        return f"forces have shape {forces.shape} for {atom_count} atoms"
    too_large = _find_large(
        "force", "eV/A", np.linalg.norm(forces, axis=1), limits.max_force_eV_per_A
    )
    if too_large or (too_large := _find_net_force(forces, limits.max_mean_force_eV_per_A)):
        return too_large
    if end.stress_eV_per_A3 is None:
        return ""
    stress = np.asarray(end.stress_eV_per_A3, dtype=float)
    if stress.shape != (3, 3):
        return f"the stress has shape {stress.shape}"
    return _find_large("stress", "eV/A^3", np.abs(stress), limits.max_stress_eV_per_A3)


def find_uncomputable_structure(atoms: Atoms) -> str:
    """Why there is nothing to compute, whatever the engine; an empty string when there is."""
    if not len(atoms):
        return "it has no atoms"
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return "a position or a cell vector is not a finite number"
    unknown = sorted({int(number) for number in atoms.numbers if number < 1})
    if unknown or atoms.numbers.max() >= len(chemical_symbols):
        return (
            "it has an atom that is no chemical element (X, a dummy or virtual site); remove it "
            "and label what is left"
        )
    if (atoms.cell.lengths()[atoms.pbc] == 0).any() or (
        atoms.pbc.any() and abs(atoms.cell.complete().volume) < 1e-6
    ):
        return "its cell has no volume although it is periodic"
    return ""


def find_impossible_structure(atoms: Atoms, limits: SanityLimits) -> str:
    """Why this structure can have no label; an empty string when it can."""
    if cause := find_uncomputable_structure(atoms):
        return cause
    first, second, distances = neighbor_list(
        "ijd", atoms, (limits.min_distance * covalent_radii[atoms.numbers]).tolist()
    )
    if not len(distances):
        return ""
    closest = int(np.argmin(distances))
    return (
        f"atoms {first[closest]} and {second[closest]} are {distances[closest]:.3g} A apart, less "
        f"than {limits.min_distance:g} times the sum of their covalent radii"
    )


def _find_net_force(forces: np.ndarray, limit_eV_per_A: float) -> str:
    mean = float(np.linalg.norm(forces.mean(axis=0)))
    # Grids and truncated sums leave a little, in proportion to the forces themselves.
    limit = max(limit_eV_per_A, 0.01 * float(np.linalg.norm(forces, axis=1).mean()))
    return (
        f"the forces do not sum to zero: their mean is {mean:.3g} eV/A, more than {limit:.3g} "
        "eV/A; fixed atoms, an external field, or forces of another structure do that"
        if mean > limit
        else ""
    )


def _find_large(what: str, unit: str, values: np.ndarray, limit: float) -> str:
    if not np.isfinite(values).all():
        return f"a {what} is not a finite number"
    largest = float(values.max())
    return (
        f"a {what} of {largest:.4g} {unit} is above the limit of {limit:g} {unit}"
        if largest > limit
        else ""
    )
