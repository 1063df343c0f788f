"""Structures as LAMMPS holds them, and its results back in ASE's orientation of the cell.

LAMMPS wants a cell of lower triangular form; ASE's `Prism` has the rotation (for a left-handed
cell: with a reflection) between the two.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data

from entrove.export.agreement import Prediction
from entrove.structures import copy_structure

EV_PER_A3_IN_BAR = 1602176.634
"""1 eV/A^3 in bar, LAMMPS' unit of pressure with `units metal` (exact by the SI of 2019)."""


def fits_lammps(atoms: Atoms) -> bool:
    """Whether a structure can be checked: periodic along all three directions."""
    return bool(atoms.pbc.all())


def write_data_file(path: Path, atoms: Atoms, species: Sequence[str]) -> None:
    """Write a data file; the elements of the atom types 1, 2, ... are `species`."""
    work = copy_structure(atoms)
    work.wrap()
    write_lammps_data(
        str(path), work, specorder=list(species), masses=True, units="metal", atom_style="atomic"
    )


def prediction_from_lammps(
    atoms: Atoms, energy_eV: float, pressure_bar: np.ndarray, forces_eV_per_A: np.ndarray
) -> Prediction:
    """Turn results of LAMMPS into ASE's orientation, sign and order.

    Args:
        atoms: The structure.
        energy_eV: Potential energy in eV.
        pressure_bar: Components xx, yy, zz, xy, xz, yz of the pressure in bar, shape (6,), without
            kinetic part.
        forces_eV_per_A: Forces in eV/A, shape (atoms, 3), in the order of the atoms.
    """
    prism = Prism(atoms.cell.array, atoms.pbc)
    xx, yy, zz, xy, xz, yz = -np.asarray(pressure_bar) / EV_PER_A3_IN_BAR
    stress = prism.tensor2_to_ase(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    return Prediction(
        energy_eV,
        prism.vector_to_ase(forces_eV_per_A),
        stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    )
