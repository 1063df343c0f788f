"""Labels that cannot be right: not finite, of the wrong shape, or far too large."""

import numpy as np
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
    if too_large or end.stress_eV_per_A3 is None:
        return too_large
    stress = np.asarray(end.stress_eV_per_A3, dtype=float)
    if stress.shape != (3, 3):
        return f"the stress has shape {stress.shape}"
    return _find_large("stress", "eV/A^3", np.abs(stress), limits.max_stress_eV_per_A3)


def _find_large(what: str, unit: str, values: np.ndarray, limit: float) -> str:
    if not np.isfinite(values).all():
        return f"a {what} is not a finite number"
    largest = float(values.max())
    return (
        f"a {what} of {largest:.4g} {unit} is above the limit of {limit:g} {unit}"
        if largest > limit
        else ""
    )
