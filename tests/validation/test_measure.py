"""The public function that measures a model agrees with the model's own ASE calculator."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from entrove.errors import StructureError
from entrove.models.ase import from_calculator
from entrove.structures import attach_results
from entrove.validation.measure import validate

OFFSET_EV = 0.25
"""Added to every label: a shift of the zero of energy."""


def labelled_copper(count: int):
    rng = np.random.default_rng(3)
    structures, off = [], []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.1, size=(4, 3))
        calculator = EMT()
        forces = calculator.get_forces(atoms)
        noise = rng.normal(scale=0.05, size=(4, 3))
        energy = calculator.get_potential_energy(atoms) + OFFSET_EV
        structures.append(
            attach_results(atoms, energy, forces - noise, calculator.get_stress(atoms))
        )
        off.append(noise)
    return structures, np.array(off)


@pytest.mark.parametrize("given", ["loaded", "by import path"])
def test_errors_are_those_that_were_put_into_the_labels(given):
    structures, off = labelled_copper(5)
    model = from_calculator(EMT()) if given == "loaded" else "ase.calculators.emt:EMT"
    measured = validate(model, structures)
    total = measured.errors.total
    assert total.force_mae_meV_per_A == pytest.approx(1000 * np.abs(off).mean(), rel=1e-9)
    assert total.energy_mae_meV_per_atom == pytest.approx(1000 * OFFSET_EV / 4, rel=1e-9)
    # One composition, one shift: nothing is left once it is centred.
    assert total.energy_centred_mae_meV_per_atom == pytest.approx(0.0, abs=1e-9)
    assert total.stress_mae_meV_per_A3 == pytest.approx(0.0, abs=1e-9)
    for atoms, prediction in zip(structures, measured.predictions, strict=True):
        np.testing.assert_array_equal(prediction.positions, atoms.positions)
        assert prediction.get_potential_energy() == EMT().get_potential_energy(atoms)


def test_nothing_to_measure_on_is_an_error():
    with pytest.raises(StructureError, match="0 labels"):
        validate(from_calculator(EMT()), [])
