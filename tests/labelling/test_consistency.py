"""The stress of labels against the derivative of their energies."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from entrove.errors import LabelError
from entrove.labelling.consistency import (
    StressCheckSettings,
    compare_stress_with_energies,
    is_scaled,
)
from entrove.structures import attach_results
from entrove.units import EV_PER_A3_IN_GPA

METALS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")


def scaled_pair(
    metal: str, ratios: tuple[float, float], *, basis_GPa: float = 0.0, factor: float = 1.0
) -> list[Atoms]:
    """One displaced cell at two volumes, labelled by EMT, with the stress times `factor`.

    `basis_GPa` changes the energy as a basis does that grows with the cell: it falls linearly in
    the volume, and the stress does not know it.
    """
    crystal = bulk(metal, cubic=True)
    crystal.rattle(0.03, rng=np.random.default_rng(0))  # forces do no work: fractions are kept
    pair = []
    for ratio in ratios:
        atoms = crystal.copy()
        atoms.set_cell(crystal.cell.array * ratio ** (1 / 3), scale_atoms=True)
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() - basis_GPa / EV_PER_A3_IN_GPA * atoms.get_volume()
        stress = factor * atoms.get_stress()
        pair.append(attach_results(atoms, energy, atoms.get_forces(), stress))
    return pair


@pytest.mark.parametrize("ratios", [(0.92, 1.08), (1.0, 0.96), (0.88, 0.94), (1.05, 1.1)])
@pytest.mark.parametrize("metal", METALS)
def test_labels_that_are_consistent_agree_at_every_volume(metal: str, ratios):
    found = compare_stress_with_energies(*scaled_pair(metal, ratios))
    assert found.cause == ""
    assert abs(found.from_stress_GPa - found.from_energies_GPa) < found.limit_GPa


@pytest.mark.parametrize("ratios", [(0.92, 1.08), (0.96, 1.0), (0.88, 0.94), (1.05, 1.1)])
@pytest.mark.parametrize("metal", METALS)
@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (-1.0, "the opposite sign"),
        (EV_PER_A3_IN_GPA, "another unit"),
        (10 * EV_PER_A3_IN_GPA, "another unit"),
        (-10 * EV_PER_A3_IN_GPA, "the opposite sign"),
    ],
)
def test_a_stress_of_another_sign_or_unit_is_named(metal: str, ratios, factor: float, said: str):
    """Also around the equilibrium volume, where the mean pressure is zero whatever the sign."""
    found = compare_stress_with_energies(*scaled_pair(metal, ratios, factor=factor))
    assert said in found.cause, found


@pytest.mark.parametrize(("share", "named"), [(0.003, False), (0.03, True), (0.2, True)])
@pytest.mark.parametrize("metal", METALS)
def test_a_basis_that_is_too_small_is_named_by_its_pulay_stress(
    metal: str, share: float, named: bool
):
    modulus = compare_stress_with_energies(*scaled_pair(metal, (0.92, 1.08))).bulk_modulus_GPa
    pair = scaled_pair(metal, (0.92, 1.08), basis_GPa=share * modulus)
    found = compare_stress_with_energies(*pair)
    difference = found.from_stress_GPa - found.from_energies_GPa
    assert difference == pytest.approx(-share * modulus, abs=0.01 * modulus)
    assert ("Pulay stress" in found.cause) == named
    if share == 0.03:  # another grid of k-points allows five times as much
        assert not compare_stress_with_energies(*pair, same_kpoints=False).cause
    if share == 0.2:
        far = compare_stress_with_energies(*pair, same_kpoints=False)
        assert "the k-point grids differ" in far.cause
        wide = StressCheckSettings(max_difference=0.5)
        assert not compare_stress_with_energies(*pair, wide).cause


def test_only_two_volumes_of_one_crystal_are_compared():
    copper = bulk("Cu", cubic=True)
    stretched, moved, other = copper.copy(), copper.copy(), bulk("Ag", cubic=True)
    stretched.set_cell(copper.cell.array * [1.0, 1.0, 1.1], scale_atoms=True)
    moved.set_cell(copper.cell.array * 1.02, scale_atoms=True)
    assert is_scaled(copper, moved)
    moved.positions[0, 0] += 0.1
    molecule = Atoms("Cu4", positions=copper.positions)
    for changed in (copper, stretched, moved, other, copper * 2, molecule):
        assert not is_scaled(copper, changed)
        with pytest.raises(LabelError, match="are not two volumes of one crystal"):
            compare_stress_with_energies(copper, changed)
