"""Phonons by finite displacements, through phonopy (Togo, J. Phys. Soc. Jpn. 92, 012001 (2023))."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from entrove._optional import require

IMAGINARY_TOLERANCE_THZ = 0.1
"""Acoustic modes at the zone centre come out slightly imaginary from finite precision; that is harmless."""


@dataclass(frozen=True)
class Phonons:
    """Frequencies in THz on a mesh of q-points, imaginary ones as negative numbers.

    `frequencies_THz` is (q-points, bands); `weights` counts the symmetry copies of each q-point.
    """

    frequencies_THz: np.ndarray
    weights: np.ndarray

    @property
    def lowest_THz(self) -> float:
        """Lowest frequency of the mesh."""
        return float(self.frequencies_THz.min())

    @property
    def highest_THz(self) -> float:
        """Highest frequency of the mesh."""
        return float(self.frequencies_THz.max())

    @property
    def is_stable(self) -> bool:
        """No mode is imaginary beyond `IMAGINARY_TOLERANCE_THZ`."""
        return self.lowest_THz > -IMAGINARY_TOLERANCE_THZ


def phonons(
    atoms: Atoms,
    calculator: Calculator,
    *,
    supercell: tuple[int, int, int] = (2, 2, 2),
    displacement_A: float = 0.01,
    mesh: tuple[int, int, int] = (8, 8, 8),
) -> Phonons:
    """Frequencies of a relaxed crystal from forces in a supercell.

    Raises `EntroveError` with the install command when phonopy is not installed.
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
        # What is left of the net force is noise of the model's precision; phonons must not see it.
        forces.append(cell.get_forces() - cell.get_forces().mean(axis=0))
    lattice.forces = forces
    lattice.produce_force_constants()
    lattice.symmetrize_force_constants()
    # Centred on Gamma: other even meshes break the symmetry of face-centred crystals.
    lattice.run_mesh(mesh, is_gamma_center=True)
    return Phonons(np.array(lattice.mesh.frequencies), np.array(lattice.mesh.weights))
