"""What goes to LAMMPS and comes back is the same physics: Lennard-Jones on both sides."""

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from ase.io import read

from entrove.export.lammps.cells import EV_PER_A3_IN_BAR, prediction_from_lammps, write_data_file
from export_bundles import periodic_structures


@pytest.mark.parametrize("number", range(3))
def test_results_in_the_orientation_of_lammps_return_to_that_of_ase(number, tmp_path):
    """The data file is read with ASE's own reader; its box has LAMMPS' form, which LJ sees."""
    atoms = periodic_structures()[number]
    write_data_file(tmp_path / "structure.data", atoms, ["Si", "Na", "Cl"])
    in_box = read(tmp_path / "structure.data", format="lammps-data")
    cell = in_box.cell.array
    assert np.all(np.triu(cell, 1) == 0)
    assert np.all(np.diag(cell) > 0)
    assert in_box.get_chemical_formula() == atoms.get_chemical_formula()
    results = []
    for structure in (atoms, in_box):
        structure.calc = LennardJones(sigma=2.4, epsilon=0.2, rc=6.0, smooth=True)
        results.append(
            (structure.get_potential_energy(), structure.get_forces(), structure.get_stress())
        )
    (energy, forces, stress), (box_energy, box_forces, box_stress) = results
    assert np.abs(box_stress - stress).max() > 1e-4  # else the rotation would not be tested
    xx, yy, zz, yz, xz, xy = -box_stress * EV_PER_A3_IN_BAR
    found = prediction_from_lammps(
        atoms, box_energy, np.array([xx, yy, zz, xy, xz, yz]), box_forces
    )
    assert found.energy_eV == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(found.forces_eV_per_A, forces, atol=1e-9)
    np.testing.assert_allclose(found.stress_eV_per_A3, stress, atol=1e-10)


def test_atom_types_follow_the_order_of_the_species(tmp_path):
    salt = periodic_structures()[0]
    write_data_file(tmp_path / "structure.data", salt, ["Si", "Na", "Cl"])
    text = (tmp_path / "structure.data").read_text()
    assert "3 atom types" in text
    types = [int(line.split()[1]) for line in text.split("Atoms # atomic")[1].split("\n")[2:4]]
    assert types == [2, 3]
