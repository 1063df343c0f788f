"""Whether stress and forces of labels are the derivatives of their energies.

Two volumes of one crystal are enough. From pressures P = -tr(stress) / 3 at both, Murnaghan's
equation P(V) = a V^-B' + c gives the mean pressure between them, which is -(E2 - E1) / (V2 - V1)
if stress and energy belong together. A stress of the wrong sign or unit does not, nor does one
from a plane-wave basis that is too small: the basis grows with the cell, so that the energy falls
in a way that the stress at a fixed basis does not know (Pulay stress).

Ref.: F. D. Murnaghan, PNAS 30, 244 (1944); G. P. Francis and M. C. Payne, J. Phys.: Condens.
Matter 2, 4395 (1990).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat

from entrove.errors import LabelError
from entrove.formats.conventions import FramePairs, energy_slope, find_frame_pairs
from entrove.settings import Settings
from entrove.structures import stress_of
from entrove.units import EV_PER_A3_IN_GPA

_STIFFENING = 4.0
_STIFFENING_SPREAD = 1.5
"""dB/dP of nearly all crystals is 4 +- 1.5; it only bends the curve between the points."""
_LEAST_DIFFERENCE_GPA = 0.1
_OTHER_GRID_FACTOR = 5.0
"""Energies of two k-point grids differ by more than those of one."""
_STIFFEST_GPA = 2000.0
"""No crystal is four times as stiff as diamond; a stress in GPa that is taken as eV/A^3 is."""


class StressCheckSettings(Settings):
    """How the stress of the first labels of each phase is compared with -dE/dV."""

    on_mismatch: Literal["stop", "warn"] = Field(
        default="stop",
        description="What to do when the stress of the first labels contradicts their energies, "
        "or forces of the validation set theirs: stop before the others are computed, or go on "
        "with a warning.",
    )
    max_difference: PositiveFloat = Field(
        default=0.01,
        description="Largest difference between the pressure of the stress and -dE/dV, as a "
        "fraction of the bulk modulus: 0.01 shifts equilibrium volumes by 1 %.",
    )


_LEAST_CORRELATION = 0.95
_SLOPES = (0.7, 1.4)
"""Energies that change by less or more than the work of the forces contradict them."""
_LEAST_PAIRS = 3
_LEAST_WORK_EV = 1e-3


@dataclass(frozen=True)
class WorkOfForces:
    """How energies of close structures change, in units of the work of their forces.

    Attributes:
        pairs: Number of pairs that differ by displacements alone.
        slope: 1 where forces are those of the energies.
        correlation: Of energy differences and work.
    """

    pairs: int
    slope: float
    correlation: float

    @property
    def cause(self) -> str:
        """Why forces and energies contradict each other; an empty string when they do not."""
        if abs(self.correlation) <= _LEAST_CORRELATION or _SLOPES[0] < self.slope < _SLOPES[1]:
            return ""
        return (
            f"energies change by {self.slope:.3g} times the work of the forces (over {self.pairs} "
            f"pairs of structures, correlation {self.correlation:.2f}), and not by 1 times; "
            "energies per atom, forces of the wrong sign (gradients), or another unit do that"
        )


def compare_forces_with_energies(frames: Sequence[Atoms]) -> WorkOfForces | None:
    """Compare energy differences of close structures with the work of their forces.

    Args:
        frames: Labelled structures, such as snapshots of one cell.

    Returns None where no three pairs are close enough.
    """
    pairs = pairs_of(frames)
    # Only where displacements, and not strains, make the difference.
    still = np.abs(pairs.strains).max(axis=1, initial=0.0) < 1e-6
    moved = still & (np.abs(pairs.force_works_eV) > _LEAST_WORK_EV)
    if moved.sum() < _LEAST_PAIRS:
        return None
    slope, correlation = energy_slope(pairs.energies_eV[moved], pairs.force_works_eV[moved])
    return WorkOfForces(int(moved.sum()), slope, correlation)


def pairs_of(frames: Sequence[Atoms]) -> FramePairs:
    """Pairs of crystals that are small strains and displacements of each other."""
    frames = [atoms for atoms in frames if is_crystal(atoms)]
    return find_frame_pairs(
        np.array([atoms.cell.array for atoms in frames]).reshape(-1, 3, 3),
        [atoms.get_scaled_positions(wrap=False) for atoms in frames],
        [atoms.numbers for atoms in frames],
        np.array([energy_with_forces(atoms) for atoms in frames]),
        [np.asarray(results_of(atoms)["forces"], dtype=float) for atoms in frames],
    )


def energy_with_forces(atoms: Atoms) -> float:
    """Return the energy that forces are the derivative of: the free one where there is one."""
    results = results_of(atoms)
    return float(results["free_energy" if "free_energy" in results else "energy"])


def results_of(atoms: Atoms) -> dict[str, Any]:
    """Return the results that a structure carries, by name."""
    return getattr(atoms.calc, "results", {})


def is_crystal(atoms: Atoms) -> bool:
    """Whether a structure is periodic in three dimensions."""
    return bool(atoms.pbc.all() and atoms.cell.rank == 3)


@dataclass(frozen=True)
class StressComparison:
    """Pressure between two volumes, by energies and by stress.

    Attributes:
        from_energies_GPa: -(E2 - E1) / (V2 - V1).
        from_stress_GPa: The mean pressure that the stresses say.
        bulk_modulus_GPa: What the two pressures say.
        limit_GPa: How far the two pressures may be apart.
        cause: Why they contradict each other; an empty string when they agree.
    """

    from_energies_GPa: float
    from_stress_GPa: float
    bulk_modulus_GPa: float
    limit_GPa: float
    cause: str = ""


def compare_stress_with_energies(
    first: Atoms,
    second: Atoms,
    settings: StressCheckSettings | None = None,
    *,
    same_kpoints: bool = True,
) -> StressComparison:
    """Compare the stress of two volumes of one crystal with the derivative of their energies.

    Args:
        first, second: Labelled cells of which one is the other scaled in all directions, with the
            same fractional coordinates.
        settings: The limit; by default that of a configuration that sets none.
        same_kpoints: Whether both were computed with one grid of k-points. If not, five times the
            difference is allowed.

    Raises `LabelError` when the cells are not two volumes of one crystal.
    """
    settings = settings or StressCheckSettings()
    if not is_scaled(first, second):
        raise LabelError(
            f"{first.get_chemical_formula()} and {second.get_chemical_formula()} are not two "
            "volumes of one crystal; scale one cell with its atoms"
        )
    first, second = sorted((first, second), key=lambda atoms: atoms.get_volume())
    volumes = np.array([first.get_volume(), second.get_volume()])
    energies = np.array([atoms.get_potential_energy() for atoms in (first, second)], dtype=float)
    pressures = np.array([-stress_of(atoms)[:3].mean() for atoms in (first, second)])
    by_energies = -float(np.diff(energies)[0] / np.diff(volumes)[0]) * EV_PER_A3_IN_GPA
    means = [
        _mean_pressure(volumes, pressures, _STIFFENING + sign * _STIFFENING_SPREAD)
        * EV_PER_A3_IN_GPA
        for sign in (-1, 0, 1)
    ]
    modulus = -float(np.diff(pressures)[0] / np.diff(np.log(volumes))[0]) * EV_PER_A3_IN_GPA
    fraction = settings.max_difference * (1.0 if same_kpoints else _OTHER_GRID_FACTOR)
    limit = max(fraction * abs(modulus), _LEAST_DIFFERENCE_GPA) + abs(means[2] - means[0]) / 2
    comparison = StressComparison(by_energies, means[1], modulus, limit)
    cause = _find_cause(comparison, volumes, same_kpoints=same_kpoints)
    return StressComparison(by_energies, means[1], modulus, limit, cause)


def is_scaled(first: Atoms, second: Atoms) -> bool:
    """Whether two cells are one crystal at two volumes that differ by at least one percent."""
    if len(first) != len(second) or (first.numbers != second.numbers).any():
        return False
    if not (first.pbc.all() and second.pbc.all() and first.cell.rank == second.cell.rank == 3):
        return False
    ratio = second.get_volume() / first.get_volume()
    scaled = first.cell.array * ratio ** (1 / 3)
    apart = first.get_scaled_positions(wrap=False) - second.get_scaled_positions(wrap=False)
    return bool(
        abs(ratio - 1) > 0.01
        and np.allclose(scaled, second.cell.array, rtol=0, atol=1e-4)
        and np.abs(apart - np.round(apart)).max() < 1e-4
    )


def _mean_pressure(volumes: np.ndarray, pressures: np.ndarray, stiffening: float) -> float:
    """Mean of Murnaghan's P(V) = a V^-B' + c through two points, between them."""
    powers = volumes**-stiffening
    slope = float((pressures[0] - pressures[1]) / (powers[0] - powers[1]))
    constant = float(pressures[0] - slope * powers[0])
    integrals = volumes ** (1 - stiffening) / (1 - stiffening)
    return slope * float(np.diff(integrals)[0] / np.diff(volumes)[0]) + constant


def _find_cause(found: StressComparison, volumes: np.ndarray, *, same_kpoints: bool) -> str:
    by_energies, by_stress = found.from_energies_GPa, found.from_stress_GPa
    where = (
        f"between {volumes[0]:.4g} and {volumes[1]:.4g} A^3 the pressure is {by_energies:.4g} GPa "
        f"by -dE/dV and {by_stress:.4g} GPa by the stress"
    )
    if found.bulk_modulus_GPa <= 0:
        return (
            f"{where}, which rises when the cell grows: the stress has the opposite sign (tension "
            "is positive here, as in ASE)"
        )
    if found.bulk_modulus_GPa > _STIFFEST_GPA:
        return (
            f"{where}, with a bulk modulus of {found.bulk_modulus_GPa:.4g} GPa: the stress is in "
            "another unit than eV/A^3 (GPa are 160.2 times as large, kbar 1602 times)"
        )
    if abs(by_stress - by_energies) <= found.limit_GPa:
        return ""
    grids = "" if same_kpoints else "; the k-point grids differ: a smaller spacing may be needed"
    if by_stress < by_energies:
        return (
            f"{where}, a difference of {by_stress - by_energies:.3g} GPa: the stress is not the "
            "derivative of the energy. With plane waves this is the Pulay stress of a basis that "
            f"is too small: raise the cutoff{grids}"
        )
    return (
        f"{where}, a difference of {by_stress - by_energies:+.3g} GPa: the stress is not the "
        f"derivative of the energy{grids}"
    )
