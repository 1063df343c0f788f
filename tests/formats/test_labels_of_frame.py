"""Labels under other names, and virials: the same numbers in eV, eV/A and eV/A^3."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.cell import Cell

from entrove.formats import LabelKeys
from entrove.formats.labels_of_frame import BrokenFrameError, take_labels

CELL = Cell(np.array([[4.0, 0.3, 0.1], [0.2, 5.0, 0.4], [0.0, 0.5, 6.0]]))
STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])
MATRIX = STRESS[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
FORCES = np.arange(6.0).reshape(2, 3)


def take(info=None, arrays=None, cell=CELL, **keys):
    return take_labels(dict(info or {}), dict(arrays or {}), cell, 2, LabelKeys(**keys))


@pytest.mark.parametrize(
    "name", ["energy", "REF_energy", "dft_energy", "energy_dft", "Energy", "total_energy", "E_PBE"]
)
def test_energies_under_usual_names_are_taken_and_the_name_is_said(name):
    found = take({name: -3})
    assert found.results == {"energy": -3.0}
    assert found.notes == ([] if name == "energy" else [f"energy is {name}"])


@pytest.mark.parametrize("name", ["forces", "force", "REF_forces", "dft_force", "forces_eV_per_A"])
def test_forces_under_usual_names_are_taken(name):
    assert (take(arrays={name: FORCES}).results["forces"] == FORCES).all()


@pytest.mark.parametrize(
    "name", ["MACE_energy", "energy_per_atom", "formation_energy", "energy_corrected", "e_0"]
)
def test_what_may_be_something_else_is_never_taken(name):
    found = take({name: -3.0})
    assert "energy" not in found.results


def test_a_name_that_resembles_an_energy_is_said():
    assert "MACE_energy" in take({"MACE_energy": -3.0}).notes[0]


def test_two_different_energies_are_in_doubt_until_one_is_named():
    info = {"energy": -3.0, "REF_energy": -4.0}
    with pytest.raises(BrokenFrameError, match=r"energy is in doubt.*--energy-key"):
        take(info)
    assert take(info, energy="REF_energy").results["energy"] == -4.0
    assert take(info, energy="energy").results["energy"] == -3.0


def test_two_equal_energies_are_one():
    assert take({"energy": -3.0, "REF_energy": -3.0}).results["energy"] == -3.0


def test_free_energy_is_kept_beside_the_energy_and_stands_in_for_it():
    assert take({"energy": -3.0, "free_energy": -3.1}).results["free_energy"] == -3.1
    found = take({"free_energy": -3.1})
    assert found.results["energy"] == -3.1
    assert "free energy" in found.notes[0]


def test_a_named_energy_stands_alone():
    """ASE's writer puts the energy and free energy of a model beside `REF_energy`."""
    info = {"REF_energy": -100.0, "energy": -3.0, "free_energy": -3.0}
    assert take(info, energy="REF_energy").results == {"energy": -100.0}
    assert take({"free_energy": -3.0}, energy="REF_energy").results == {}
    assert take({"free_energy": -3.0}, energy="free_energy").results == {"energy": -3.0}


@pytest.mark.parametrize("value", [MATRIX, MATRIX.ravel(), STRESS])
def test_stress_as_matrix_nine_or_six_numbers_is_the_same(value):
    assert take({"stress": value}).results["stress"] == pytest.approx(STRESS, abs=1e-15)


@pytest.mark.parametrize("name", ["virial", "virials", "REF_virials", "dft_virial"])
def test_a_virial_is_minus_the_volume_times_the_stress(name):
    found = take({name: -MATRIX * CELL.volume})
    assert found.results["stress"] == pytest.approx(STRESS, abs=1e-14)
    assert "stress from virial in eV" in found.notes


def test_sign_and_order_of_a_virial_are_those_of_the_derivative_of_an_energy():
    """The virial is minus the derivative of the energy by a homogeneous strain."""
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [2.6, 2.4, 3.1]], cell=CELL.array, pbc=True)

    def energy(strain):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        strained.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=6.0, smooth=True)
        return strained.get_potential_energy()

    step, virial = 1e-4, np.zeros((3, 3))
    for row, column in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[row, column] += step / 2
        strain[column, row] += step / 2
        virial[row, column] = -(energy(strain) - energy(-strain)) / (2 * step)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=6.0, smooth=True)
    # Central differences of step 1e-4: relative error about 1e-6.
    expected = atoms.get_stress()
    assert take({"virial": virial}).results["stress"] == pytest.approx(
        expected, abs=1e-5 * np.abs(expected).max()
    )


def test_stress_and_virial_that_agree_are_one():
    found = take({"stress": MATRIX, "virial": -MATRIX * CELL.volume})
    assert found.results["stress"] == pytest.approx(STRESS)
    assert "stress and virial agree" in found.notes


@pytest.mark.parametrize("factor", [-1.0, 160.2, 1602.2, 1 / CELL.volume, 2.0])
def test_stress_and_virial_that_contradict_each_other_are_refused(factor):
    with pytest.raises(BrokenFrameError, match="contradict each other"):
        take({"stress": MATRIX * factor, "virial": -MATRIX * CELL.volume})
    found = take({"stress": MATRIX * factor, "virial": -MATRIX * CELL.volume}, virial="virial")
    assert found.results["stress"] == pytest.approx(STRESS)


@pytest.mark.parametrize(
    ("name", "factor"), [("stress_GPa", 160.21766), ("stress_kbar", 1602.1766)]
)
def test_the_unit_in_a_name_is_used(name, factor):
    found = take({name: MATRIX * factor})
    assert found.results["stress"] == pytest.approx(STRESS, rel=1e-6)
    assert any("converted from" in note for note in found.notes)


def test_no_stress_from_a_virial_without_a_cell():
    found = take({"virial": MATRIX}, cell=Cell(np.zeros((3, 3))))
    assert "stress" not in found.results
    assert "no volume" in found.notes[0]


@pytest.mark.parametrize("shape", [(2,), (2, 2), (3, 3)])
def test_forces_of_another_shape_are_refused(shape):
    with pytest.raises(BrokenFrameError, match="three numbers per atom"):
        take(arrays={"forces": np.zeros(shape)})
