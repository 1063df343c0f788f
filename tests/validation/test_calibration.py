"""The factor between spread and error, against drawn errors and members evaluated one by one."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from entrove.errors import ModelError
from entrove.models.ase import from_calculator
from entrove.models.committee import committee_of
from entrove.models.prediction import predict
from entrove.structures import attach_results
from entrove.validation.calibration import Calibration, calibrate
from entrove.validation.suite import Outcome, SuiteConfig, run_suite


def drawn(factor: float, seed: int = 0, count: int = 20_000) -> Calibration:
    rng = np.random.default_rng(seed)
    spreads = rng.uniform(0.1, 3.0, size=count)
    errors = np.abs(rng.normal(scale=factor * spreads))
    return Calibration.of("energy", "meV/atom", spreads, errors)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_factor_of_drawn_errors_is_found_and_then_spreads_are_reliable(factor):
    found = drawn(factor)
    # The square of the factor is a mean of 20,000 squares with variance 2: 1 % at one sigma.
    assert found.factor == pytest.approx(factor, rel=0.02)
    for items, predicted, observed in found.reliability(bins=4):
        assert items == 5000
        assert observed == pytest.approx(predicted, rel=0.05)
    assert found.rank_correlation > 0.3


def test_the_unit_of_spreads_does_not_matter():
    found = drawn(2.0, count=60)
    other = Calibration.of("energy", "eV", found.spreads / 1000, found.errors)
    assert other.factor == pytest.approx(1000 * found.factor)
    assert other.rank_correlation == pytest.approx(found.rank_correlation)
    for one, two in zip(found.reliability(), other.reliability(), strict=True):
        assert one == pytest.approx(two)


def test_items_without_a_spread_say_nothing_and_a_committee_of_equals_is_refused():
    found = drawn(2.0, count=60)
    padded = Calibration.of(
        "energy",
        "meV/atom",
        np.append(found.spreads, 0.0),
        np.append(found.errors, 1e6),
    )
    assert padded.factor == found.factor
    with pytest.raises(ModelError, match="all members of the committee predict the same forces"):
        Calibration.of("forces", "meV/A", np.zeros(3), np.ones(3))


def labelled(structures: list[Atoms], calculator: Calculator) -> list[Atoms]:
    return [
        attach_results(
            atoms,
            calculator.get_potential_energy(atoms),
            calculator.get_forces(atoms),
            calculator.get_stress(atoms),
        )
        for atoms in structures
    ]


CALCULATORS = [
    lambda scale=scale: LennardJones(sigma=2.3 * scale, epsilon=0.4, rc=5.0, smooth=True)
    for scale in (0.99, 1.0, 1.02)
]


@pytest.fixture(scope="module")
def copper() -> list[Atoms]:
    cells = [bulk("Cu", cubic=True) for _ in range(6)]
    for index, atoms in enumerate(cells):
        atoms.rattle(0.02 + 0.02 * index, seed=index)
    return labelled(cells, EMT())


@pytest.fixture(scope="module")
def committee():
    members = [
        from_calculator(make(), name=f"member {index}") for index, make in enumerate(CALCULATORS)
    ]
    return committee_of(members)


def test_spreads_and_errors_are_those_of_the_members_one_by_one(copper, committee):
    energy, forces = calibrate(copper, predict(committee, copper))
    energies, vectors = [], []
    for atoms in copper:
        bare = [Atoms(atoms) for _ in CALCULATORS]
        for cell, make in zip(bare, CALCULATORS, strict=True):
            cell.calc = make()
        energies.append([cell.get_potential_energy() / len(cell) for cell in bare])
        vectors.append([cell.get_forces() for cell in bare])
    energies, vectors = np.array(energies), np.array(vectors)
    expected = np.array([atoms.get_potential_energy() / len(atoms) for atoms in copper])
    deviation = energies.mean(axis=1) - expected
    ratio = deviation / energies.std(axis=1)
    assert energy.factor == pytest.approx(np.sqrt(np.mean(ratio**2)), rel=1e-4)
    mean = vectors.mean(axis=1)
    error = np.linalg.norm(mean - np.array([atoms.get_forces() for atoms in copper]), axis=2)
    spread = np.sqrt(np.square(vectors - mean[:, None]).sum(axis=3).mean(axis=1))
    np.testing.assert_allclose(forces.errors, 1000 * error.ravel(), rtol=1e-4)
    np.testing.assert_allclose(forces.spreads, 1000 * spread.ravel(), rtol=1e-4)


def test_the_suite_judges_a_committee_and_no_single_model(copper, committee):
    config = {
        name: {"enabled": name == "calibration"}
        for name in (
            "errors", "calibration", "equation_of_state", "elastic", "phase_order", "dimers",
            "forgetting", "phonons", "dynamics",
        )
    }  # fmt: skip
    (result,) = run_suite(
        committee, labelled=copper, config=SuiteConfig.model_validate(config)
    ).checks
    energy, _ = calibrate(copper, predict(committee, copper))
    assert result.outcome is Outcome.PASSED
    assert result.quantities[0].value == pytest.approx(energy.factor, rel=1e-6)
    assert sum(row[0] for row in result.tables[1].rows) == sum(len(atoms) for atoms in copper)
    config["calibration"]["least_rank_correlation"] = 1.0
    (refused,) = run_suite(
        committee, labelled=copper, config=SuiteConfig.model_validate(config)
    ).checks
    assert refused.outcome is Outcome.FAILED
    assert "rank correlation of spread and error" in refused.sentence
    single = run_suite(
        committee.members[0], labelled=copper, config=SuiteConfig.model_validate(config)
    )
    assert single.checks == ()
