import dataclasses

import numpy as np
import pytest
import torch
import torch_sim
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from trial_structures import rattled

from entrove.errors import ModelError
from entrove.models.ase import SerialModel, from_calculator
from entrove.models.committee import Committee, committee_of, force_spreads, spread
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.models.verify import serial, verified
from entrove.provenance import ENERGY_SPREAD, FORCES_SPREAD, STRESS_SPREAD

SIGMAS_A = (2.3, 2.4, 2.5)


def lennard_jones(sigma_A: float) -> LennardJones:
    return LennardJones(sigma=sigma_A, epsilon=0.1, rc=6.0)


@pytest.fixture
def structures():
    cubic = bulk("Cu", "fcc", a=3.8, cubic=True)
    return [rattled(cubic, 0), rattled(bulk("Cu", "fcc", a=3.8), 1)]


def test_a_committee_of_an_iterator_has_all_members():
    models = [from_calculator(lennard_jones(sigma)) for sigma in SIGMAS_A]
    committee = committee_of(iter(models))
    assert committee.members == tuple(models)
    assert committee.name == committee_of(models).name


def test_mean_and_spread_equal_those_of_numpy(structures):
    committee = committee_of([from_calculator(lennard_jones(sigma)) for sigma in SIGMAS_A])
    for ours, atoms in zip(predict(committee, structures), structures, strict=True):
        energies, forces, stresses = [], [], []
        for sigma in SIGMAS_A:
            member = atoms.copy()
            member.calc = lennard_jones(sigma)
            energies.append(member.get_potential_energy())
            forces.append(member.get_forces())
            stresses.append(member.get_stress())
        assert ours.get_potential_energy() == pytest.approx(np.mean(energies), rel=1e-12)
        np.testing.assert_allclose(ours.get_forces(), np.mean(forces, axis=0), atol=1e-12)
        np.testing.assert_allclose(ours.get_stress(), np.mean(stresses, axis=0), atol=1e-12)
        assert ours.info[ENERGY_SPREAD] == pytest.approx(np.std(energies), rel=1e-10)
        deviations = np.linalg.norm(np.array(forces) - np.mean(forces, axis=0), axis=2)
        np.testing.assert_allclose(
            ours.arrays[FORCES_SPREAD], np.sqrt(np.mean(deviations**2, axis=0)), rtol=1e-10
        )


def test_opposite_forces_of_equal_length_disagree():
    forces = torch.tensor([[[1.0, 0.0, 0.0]], [[-1.0, 0.0, 0.0]]])
    assert spread(forces).tolist() == [1.0]


def test_equal_members_agree(structures):
    committee = committee_of([from_calculator(lennard_jones(2.4)) for _ in range(2)])
    assert all(atoms.info[ENERGY_SPREAD] == 0.0 for atoms in predict(committee, structures))


class TwiceTheForces(SerialModel):
    """A fault of batches: forces are twice those of the calculator."""

    def forward(self, state, **kwargs):
        results = super().forward(state)
        return results | {"forces": 2 * results["forces"]}


def faulty(sigma_A: float) -> LoadedModel:
    model = from_calculator(lennard_jones(sigma_A), name=f"sigma {sigma_A}")
    batches = TwiceTheForces(lennard_jones(sigma_A))
    return dataclasses.replace(model, model=batches, batched=True)


def test_a_serial_committee_has_the_spread_of_its_members(structures):
    committee = committee_of([from_calculator(lennard_jones(sigma)) for sigma in SIGMAS_A])
    one_by_one = serial(committee)
    assert one_by_one.name == committee.name
    assert not one_by_one.batched
    assert force_spreads(one_by_one, structures) == pytest.approx(
        force_spreads(committee, structures), rel=1e-12
    )


def test_a_committee_whose_batches_are_wrong_falls_back_to_the_calculators(structures):
    wrong = committee_of([faulty(sigma) for sigma in SIGMAS_A])
    right = committee_of([from_calculator(lennard_jones(sigma)) for sigma in SIGMAS_A])
    trusted, report = verified(wrong, structures, on_mismatch="fall_back")
    assert not report.passed
    expected = force_spreads(right, structures)
    assert force_spreads(wrong, structures) == pytest.approx([2 * x for x in expected])
    assert force_spreads(trusted, structures) == pytest.approx(expected, rel=1e-12)
    for ours, theirs in zip(predict(trusted, structures), predict(right, structures), strict=True):
        np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-12)


def test_its_calculator_agrees_with_its_batches(structures):
    committee = committee_of([from_calculator(lennard_jones(sigma)) for sigma in SIGMAS_A])
    for ours, atoms in zip(predict(committee, structures), structures, strict=True):
        atoms.calc = committee.calculator()
        assert atoms.get_potential_energy() == pytest.approx(
            ours.get_potential_energy(), rel=1e-12
        )
        np.testing.assert_allclose(atoms.get_forces(), ours.get_forces(), atol=1e-12)
        np.testing.assert_allclose(atoms.get_stress(), ours.get_stress(), atol=1e-12)
        assert atoms.calc.results["energy_spread"] == pytest.approx(
            ours.info[ENERGY_SPREAD], rel=1e-10
        )


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False), (False,) * 3])
def test_the_spread_of_the_stress_is_that_of_the_stresses_that_predict_returns(pbc):
    """Not of the components across the vacuum, which a stress of the whole box has."""
    atoms = rattled(bulk("Cu", "fcc", a=3.8, cubic=True), 0)
    atoms.set_cell(
        atoms.cell.array * [[1.0], [1.0], [3.0]] + [[0, 0.3, 0], [0, 0, 0], [0.4, 0, 0]]
    )
    atoms.pbc = pbc
    members = [from_calculator(lennard_jones(sigma)) for sigma in SIGMAS_A]
    committee = committee_of(members)
    stresses = np.array(
        [predict(member, [atoms])[0].get_stress(voigt=False) for member in members]
    )
    expected = np.sqrt(np.square(stresses - stresses.mean(axis=0)).sum(axis=(1, 2)).mean())
    (ours,) = predict(committee, [atoms])
    assert ours.info[STRESS_SPREAD] == pytest.approx(expected, rel=1e-10)
    assert (expected > 0) == any(pbc)
    if any(pbc):  # without, the calculator has no stress
        atoms.calc = committee.calculator()
        atoms.get_stress()
        assert atoms.calc.results["stress_spread"] == pytest.approx(expected, rel=1e-10)


def test_a_member_without_stress_leaves_the_committee_without(structures):
    class NoStress(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}

    committee = committee_of([from_calculator(lennard_jones(2.4)), from_calculator(NoStress())])
    assert not committee.model.compute_stress
    state = torch_sim.initialize_state(structures, torch.device("cpu"), torch.float64)
    assert "stress" not in committee.model(state)


def test_one_member_is_no_committee():
    with pytest.raises(ModelError, match="at least two members, got 1"):
        Committee([from_calculator(lennard_jones(2.4)).model])
