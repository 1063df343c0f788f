"""Phonons by finite displacements, with phonopy (Togo, J. Phys. Soc. Jpn. 92, 012001 (2023))."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from entrove._optional import require

IMAGINARY_TOLERANCE_THZ = 0.1
"""Acoustic modes at the zone centre may be slightly imaginary from finite precision, in THz."""


@dataclass(frozen=True)
class Phonons:
    """Phonon frequencies on a mesh of q-points.

    Attributes:
        frequencies_THz: Frequencies in THz, shape (q-points, bands); imaginary ones are negative.
        weights: Number of symmetry-equivalent q-points of each, shape (q-points,).
    """

    frequencies_THz: np.ndarray
    weights: np.ndarray

    @property
    def lowest_THz(self) -> float:
        """Lowest frequency of the mesh, in THz."""
        return float(self.frequencies_THz.min())

    @property
    def highest_THz(self) -> float:
        """Highest frequency of the mesh, in THz."""
        return float(self.frequencies_THz.max())

    @property
    def is_stable(self) -> bool:
        """Whether no mode is imaginary by more than `IMAGINARY_TOLERANCE_THZ`."""
        return self.lowest_THz > -IMAGINARY_TOLERANCE_THZ


def phonons(
    atoms: Atoms,
    calculator: Calculator,
    *,
    supercell: tuple[int, int, int] = (2, 2, 2),
    displacement_A: float = 0.01,
    mesh: tuple[int, int, int] = (8, 8, 8),
) -> Phonons:
    """Compute the phonon frequencies of a relaxed crystal from forces in a supercell.

    Args:
        atoms: A relaxed crystal, primitive or not.
        calculator: Any ASE calculator.
        supercell: Repetitions of the cell along each lattice vector; forces should have decayed
            within it.
        displacement_A: Length of the displacements, in Angstrom.
        mesh: Number of q-points along each reciprocal lattice vector, centred on Gamma.

    Raises `EntroveError`, with the command that installs it, when phonopy is missing.
    """
    phonopy = require("phonopy", extra="phonons")
    structure = require("phonopy.structure.atoms", extra="phonons")
    unit_cell = structure.PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
    )
    lattice = phonopy.Phonopy(unit_cell, supercell_matrix=np.diag(supercell), primitive_matrix="P")
    lattice.generate_displacements(distance=displacement_A)
    forces = []
    for displaced in lattice.supercells_with_displacements:
        cell = Atoms(
            displaced.symbols,
            cell=displaced.cell,
            scaled_positions=displaced.scaled_positions,
            pbc=True,
        )
        cell.calc = calculator
        # A net force is rounding error of the model. It would break the acoustic sum rule.
        forces.append(cell.get_forces() - cell.get_forces().mean(axis=0))
    lattice.forces = forces
    lattice.produce_force_constants()
    lattice.symmetrize_force_constants()
    # Centred on Gamma: other even meshes break the symmetry of face-centred crystals.
    lattice.run_mesh(mesh, is_gamma_center=True)
    return Phonons(np.array(lattice.mesh.frequencies), np.array(lattice.mesh.weights))
