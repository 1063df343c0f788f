"""Energy against volume, and the equation of state fitted to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.eos import EquationOfState as AseFit

from entrove.errors import ModelError
from entrove.units import ev_per_a3_to_gpa, gpa_to_ev_per_a3
from entrove.validation.strained_cell import Source, in_cells

DEFAULT_SCALES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)

FEWEST_VOLUMES = 5
"""Different volumes that four parameters need, so that one point tells how well they fit."""

SAME_VOLUME = 1e-6
"""Relative difference below which two volumes are one."""


@dataclass(frozen=True)
class EquationOfState:
    """A third-order Birch-Murnaghan equation of state, and the points that it was fitted to.

    Attributes:
        volumes_A3_per_atom, energies_eV_per_atom: The points, each of shape (points,), in A^3/atom
            and eV/atom.
        volume_A3_per_atom, energy_eV_per_atom: Volume and energy of the minimum, at zero pressure.
        bulk_modulus_GPa: Bulk modulus B at zero pressure, in GPa.
        bulk_modulus_derivative: dB/dP at zero pressure, without unit.

    Ref: Birch, Phys. Rev. 71, 809 (1947).
    """

    volumes_A3_per_atom: np.ndarray
    energies_eV_per_atom: np.ndarray
    volume_A3_per_atom: float
    energy_eV_per_atom: float
    bulk_modulus_GPa: float
    bulk_modulus_derivative: float

    def energy_at(self, volume_A3_per_atom: np.ndarray | float) -> np.ndarray:
        """Energy of the fitted curve in eV/atom at volumes in A^3/atom, of the same shape."""
        squeezed = (self.volume_A3_per_atom / np.asarray(volume_A3_per_atom)) ** (2.0 / 3.0) - 1.0
        modulus = gpa_to_ev_per_a3(self.bulk_modulus_GPa)
        return self.energy_eV_per_atom + 9.0 / 16.0 * modulus * self.volume_A3_per_atom * (
            self.bulk_modulus_derivative * squeezed**3 + squeezed**2 * (2.0 - 4.0 * squeezed)
        )

    @property
    def residual_meV_per_atom(self) -> float:
        """Root-mean-square distance of the points from the fitted curve, in meV/atom."""
        misses = self.energies_eV_per_atom - self.energy_at(self.volumes_A3_per_atom)
        return 1000.0 * float(np.sqrt((misses**2).mean()))


def equation_of_state(
    atoms: Atoms,
    source: Source,
    *,
    scales: Sequence[float] = DEFAULT_SCALES,
    force_tolerance_eV_per_A: float | None = 0.005,
) -> EquationOfState:
    """Scale a cell isotropically, and fit a Birch-Murnaghan equation of state.

    Args:
        atoms: A crystal near its equilibrium volume.
        source: Any ASE calculator, or a model from `entrove.models.load`, which evaluates all
            volumes in one batch.
        scales: Factors of the lattice vectors, at least 5 different ones in any order.
        force_tolerance_eV_per_A: At each volume the atoms are relaxed until no force exceeds this,
            in eV/A, nor 1 % of the largest force just after scaling, see `elastic_constants`; the
            shape of the cell stays. None keeps their fractional positions.

    Raises `ModelError` when there are too few points, the lowest energy is at the first or last of
    them, or no curve fits them.
    """
    _require_different(np.array(scales), "add scales")
    cells = in_cells(
        atoms, [scale * atoms.cell.array for scale in scales], source, force_tolerance_eV_per_A
    )
    volumes = np.array([cell.get_volume() / len(cell) for cell in cells])
    energies = np.array([cell.get_potential_energy() / len(cell) for cell in cells])
    return fit_birch_murnaghan(volumes, energies)


def fit_birch_murnaghan(
    volumes_A3_per_atom: np.ndarray, energies_eV_per_atom: np.ndarray
) -> EquationOfState:
    """Fit the four parameters of the third-order Birch-Murnaghan equation of state.

    Args:
        volumes_A3_per_atom: Volumes in A^3/atom in any order, at least 5 different ones, shape
            (points,).
        energies_eV_per_atom: Energies in eV/atom in the same order, shape (points,).

    Returns the curve, with the points in the order of increasing volume.

    Raises `ModelError` when there are too few different volumes, the lowest energy is at the
    smallest or largest of them, or no curve fits.
    """
    _require_different(volumes_A3_per_atom, "add volumes")
    order = np.argsort(volumes_A3_per_atom, kind="stable")
    volumes_A3_per_atom = volumes_A3_per_atom[order]
    energies_eV_per_atom = energies_eV_per_atom[order]
    lowest = int(np.argmin(energies_eV_per_atom))
    if lowest in (0, len(energies_eV_per_atom) - 1):
        raise ModelError(
            f"the lowest energy is at the {'smallest' if lowest == 0 else 'largest'} volume "
            f"({volumes_A3_per_atom[lowest]:.3f} A^3/atom), so that there is no minimum to fit; "
            "relax the cell first, or give a wider range"
        )
    fit = AseFit(volumes_A3_per_atom, energies_eV_per_atom, eos="birchmurnaghan")
    try:
        volume, energy, modulus = fit.fit()
    except RuntimeError as error:  # SciPy's least squares did not converge
        raise ModelError("no Birch-Murnaghan curve fits these points") from error
    return EquationOfState(
        volumes_A3_per_atom=volumes_A3_per_atom,
        energies_eV_per_atom=energies_eV_per_atom,
        volume_A3_per_atom=float(volume),
        energy_eV_per_atom=float(energy),
        bulk_modulus_GPa=ev_per_a3_to_gpa(float(modulus)),
        bulk_modulus_derivative=float(fit.eos_parameters[2]),
    )


def _require_different(volumes: np.ndarray, remedy: str) -> None:
    increasing = np.sort(volumes)
    different = 1 + int((np.diff(increasing) > SAME_VOLUME * increasing[1:]).sum())
    if different < FEWEST_VOLUMES:
        raise ModelError(
            f"{different} different volumes, but four parameters need at least {FEWEST_VOLUMES}; "
            f"{remedy}"
        )
