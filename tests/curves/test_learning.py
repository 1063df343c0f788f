"""What a student is asked for."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from entrove.curves.learning import _evaluate


@pytest.mark.parametrize("atoms", [molecule("N2"), molecule("N2", vacuum=4.0), bulk("Cu")])
def test_a_calculator_of_ones_own_needs_a_stress_of_crystals_only(atoms):
    found, atoms.calc = _evaluate(EMT(), atoms), EMT()
    assert found.get_potential_energy() == atoms.get_potential_energy()
    np.testing.assert_array_equal(found.get_forces(), atoms.get_forces())
    expected = atoms.get_stress() if atoms.pbc.all() else np.zeros(6)
    np.testing.assert_array_equal(found.get_stress(), expected)
