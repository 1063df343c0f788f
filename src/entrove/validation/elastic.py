"""Elastic constants from the stresses of strained cells."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from entrove.units import ev_per_a3_to_gpa
from entrove.validation.strained_cell import Source, in_cells

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class ElasticConstants:
    """Elastic constants C_ij = d sigma_i / d e_j in Voigt order xx, yy, zz, yz, xz, xy.

    Attributes:
        matrix_GPa: C_ij in GPa, shape (6, 6), symmetrised, for engineering shear strains (e_4 = 2
            eps_yz), in the Cartesian axes of the crystal that was given.
        asymmetry_GPa: Largest |C_ij - C_ji| before symmetrising, a measure of residual stress and
            noise.

    The moduli are Voigt averages (Voigt, Lehrbuch der Kristallphysik, 1928).
    """

    matrix_GPa: np.ndarray
    asymmetry_GPa: float

    @property
    def bulk_modulus_GPa(self) -> float:
        """Voigt average (C11 + C22 + C33 + 2 (C12 + C13 + C23)) / 9, in GPa."""
        return float(self.matrix_GPa[:3, :3].sum() / 9.0)

    @property
    def shear_modulus_GPa(self) -> float:
        """Voigt average (C11 + C22 + C33 - C12 - C13 - C23 + 3 (C44 + C55 + C66)) / 15, in GPa."""
        diagonal = np.trace(self.matrix_GPa[:3, :3])
        off_diagonal = (self.matrix_GPa[:3, :3].sum() - diagonal) / 2.0
        return float((diagonal - off_diagonal + 3.0 * np.trace(self.matrix_GPa[3:, 3:])) / 15.0)

    @property
    def lowest_eigenvalue_GPa(self) -> float:
        """Stiffness against the softest strain, in GPa, which no rotation of the crystal changes.

        The least of 2 u / (eps : eps), where u is the energy density of a strain eps, a tensor:
        the lowest eigenvalue in Mandel's notation, whose shear strains are sqrt(2) eps_yz in
        place of 2 eps_yz. Of a cubic crystal these are C11 - C12, 2 C44 and C11 + 2 C12.

        Ref: Mehrabadi and Cowin, Q. J. Mech. Appl. Math. 43, 15 (1990).
        """
        scale = np.repeat([1.0, np.sqrt(2.0)], 3)
        return float(np.linalg.eigvalsh(self.matrix_GPa * np.outer(scale, scale)).min())

    @property
    def is_stable(self) -> bool:
        """Whether every small strain costs energy: Born's criterion.

        All eigenvalues of the matrix are positive (Born and Huang, Dynamical Theory of Crystal
        Lattices, 1954). Under pressure the same holds for the symmetrised stress-strain
        coefficients (Wang, Li, Yip, Phillpot and Wolf, Phys. Rev. B 52, 12627 (1995)).
        """
        return self.lowest_eigenvalue_GPa > 0.0


def elastic_constants(
    atoms: Atoms,
    source: Source,
    *,
    strain: float = 0.005,
    force_tolerance_eV_per_A: float | None = 0.001,
) -> ElasticConstants:
    """Compute elastic constants by central differences of the stress over six strains.

    Args:
        atoms: A relaxed crystal. It should be free of stress: under pressure the result are the
            stress-strain coefficients along this path, not the thermodynamic constants.
        source: Any ASE calculator with stress, or a model from `entrove.models.load`, which
            evaluates all strained cells in one batch.
        strain: Amplitude of each strain, without unit; the error of the result is of second order
            in it.
        force_tolerance_eV_per_A: In each strained cell the atoms are relaxed as in an experiment,
            until no force exceeds this, in eV/A, nor 1 % of the largest force just after
            straining (or 1e-6 eV/A, where that is more). Where noise of the forces forbids the
            second, the first is enough. None keeps their fractional positions (clamped-ion
            constants).

    Returns the constants in GPa. A relaxation that does not converge is logged as a warning.
    """
    deformations = [
        np.eye(3) + sign * strain * _unit_strain(first, second)
        for first, second in VOIGT
        for sign in (1.0, -1.0)
    ]
    cells = in_cells(
        atoms,
        [atoms.cell.array @ deformation for deformation in deformations],
        source,
        force_tolerance_eV_per_A,
    )
    stresses = np.array([cell.get_stress() for cell in cells]).reshape(6, 2, 6)
    # Row j holds d sigma / d e_j.
    derivatives = (stresses[:, 0] - stresses[:, 1]) / (2.0 * strain)
    matrix = ev_per_a3_to_gpa(1.0) * derivatives.T
    return ElasticConstants((matrix + matrix.T) / 2.0, float(np.abs(matrix - matrix.T).max()))


def _unit_strain(first: int, second: int) -> np.ndarray:
    """Symmetric strain of amplitude one in Voigt's sense."""
    strain = np.zeros((3, 3))
    # The engineering shear is e_4 = 2 eps_yz, so each of the two entries gets half of it.
    strain[first, second] += 0.5
    strain[second, first] += 0.5
    return strain
