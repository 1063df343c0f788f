import numpy as np
import pytest
import torch
from cheap_models import Springs, argon, lennard_jones

from entrove.errors import ConfigError, ModelError, StructureError
from entrove.sampling.batch import gather_batch
from entrove.sampling.config import BiasSettings, RelaxationSettings, SamplingConfig
from entrove.sampling.relax import VOLUME_RANGE, RelaxationOutcome, relax_at_pressure
from entrove.sampling.walkers.grid import Start, plan_walkers
from entrove.sampling.walkers.run import init_walkers
from entrove.units import gpa_to_ev_per_a3

TIGHT = RelaxationSettings(
    force_tolerance_eV_per_A=1e-4, stress_tolerance_GPa=1e-3, largest_steps=800
)


@pytest.fixture(scope="module")
def model():
    return lennard_jones(epsilon_eV=0.03)


@pytest.fixture(scope="module")
def relaxed(model):
    structures = [argon(5.3, rattle_A=0.1, skew=0.02, seed=seed) for seed in range(3)]
    return structures, relax_at_pressure(model, structures, [0.0, 2.0, 5.0], TIGHT)


def test_stress_equals_minus_pressure_and_forces_vanish(model, relaxed):
    _, results = relaxed
    assert all(result.converged for result in results)
    # Evaluated again and from outside: the optimiser's own numbers are not trusted.
    final = model(gather_batch([result.atoms for result in results], model))
    for stress, pressure in zip(final["stress"], [0.0, 2.0, 5.0], strict=True):
        expected = -gpa_to_ev_per_a3(pressure) * torch.eye(3, dtype=torch.float64)
        assert (stress - expected).abs().max() <= gpa_to_ev_per_a3(1.001e-3)
    assert final["forces"].norm(dim=1).max() <= 1.001e-4


def test_higher_pressure_gives_smaller_volume_and_higher_enthalpy(relaxed):
    _, results = relaxed
    volumes = [result.atoms.get_volume() for result in results]
    assert volumes == sorted(volumes, reverse=True)
    assert results[0].enthalpy_eV < results[1].enthalpy_eV < results[2].enthalpy_eV


def test_one_by_one_equals_batched(model, relaxed):
    structures, results = relaxed
    alone = relax_at_pressure(model, structures[1:2], [2.0], TIGHT)[0]
    assert alone.steps == results[1].steps
    # Same operations on another shape of batch: rounding, amplified by the optimiser's steps.
    np.testing.assert_allclose(alone.atoms.positions, results[1].atoms.positions, atol=1e-8)


def test_the_given_structures_are_not_moved(model):
    atoms = argon(5.1, rattle_A=0.1)
    before = atoms.positions.copy()
    relax_at_pressure(model, [atoms], [1.0])
    np.testing.assert_array_equal(atoms.positions, before)


def test_running_out_of_steps_is_said(model):
    hurried = RelaxationSettings(
        force_tolerance_eV_per_A=1e-4, stress_tolerance_GPa=1e-3, largest_steps=3
    )
    result = relax_at_pressure(model, [argon(5.3, rattle_A=0.1)], [0.0], hurried)[0]
    assert not result.converged
    assert result.outcome is RelaxationOutcome.STEPS_EXHAUSTED
    assert result.steps == 3
    assert result.largest_force_eV_per_A > 1e-4 or result.stress_deviation_GPa > 1e-3


def test_a_run_away_cell_is_said_and_spares_the_others(model):
    # Under 20 GPa of tension nothing holds this crystal together.
    results = relax_at_pressure(model, [argon(5.3), argon(5.3, rattle_A=0.05)], [-20.0, 1.0])
    assert results[0].outcome is RelaxationOutcome.RAN_AWAY
    assert results[0].atoms.get_volume() > VOLUME_RANGE[1] * 5.3**3
    alone = relax_at_pressure(model, [argon(5.3, rattle_A=0.05)], [1.0])[0]
    assert results[1].converged
    assert results[1].steps == alone.steps
    np.testing.assert_allclose(results[1].atoms.positions, alone.atoms.positions, atol=1e-8)


def test_a_left_handed_cell_relaxes_like_its_right_handed_twin(model):
    right = argon(5.2, rattle_A=0.05, skew=0.02)
    left = right.copy()
    left.set_cell(right.cell.array[[0, 2, 1]])
    assert left.cell.volume == pytest.approx(right.cell.volume)
    results = relax_at_pressure(model, [right, left], [1.0, 1.0])
    assert results[0].energy_eV == pytest.approx(results[1].energy_eV, abs=1e-9)


def test_single_precision_models_are_relaxed_in_double():
    result = relax_at_pressure(
        lennard_jones(epsilon_eV=0.03, dtype=torch.float32), [argon(5.2)], [1.0]
    )[0]
    assert result.converged


def test_wrong_input_is_refused(model):
    with pytest.raises(ConfigError, match="2 structures but 1 pressures"):
        relax_at_pressure(model, [argon(), argon()], [0.0])
    slab = argon()
    slab.pbc = (True, True, False)
    with pytest.raises(StructureError, match="periodic in three dimensions"):
        relax_at_pressure(model, [slab], [0.0])
    with pytest.raises(StructureError, match="different periodicity"):
        relax_at_pressure(model, [slab, argon()], [0.0, 0.0])


def test_a_model_without_stress_is_refused_with_the_way_round():
    springs = Springs(edge=1)
    with pytest.raises(
        ModelError, match=r"relaxation at a pressure needs the stress.*\(Springs\)"
    ):
        relax_at_pressure(springs, [springs.atoms], [0.0])
    config = SamplingConfig(ensemble="npt", biases=(BiasSettings(entropy="none"),))
    walkers, structures = plan_walkers([Start("springs", 0.0, springs.atoms)], [300.0], config)
    with pytest.raises(ModelError, match=r"ensemble 'npt' needs the stress.*use ensemble 'nvt'"):
        init_walkers(walkers, structures, springs, config, 0)
