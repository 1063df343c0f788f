"""The factor between spread and error, against drawn errors and members evaluated one by one."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms

from entrove import provenance
from entrove.errors import ModelError
from entrove.models.ase import from_calculator
from entrove.models.committee import committee_of
from entrove.models.prediction import predict
from entrove.structures import attach_results, content_hash
from entrove.validation.calibration import (
    Calibration,
    calibrate,
    calibrate_left_out,
    predicted_force_rmse,
)
from entrove.validation.suite import Outcome, SuiteConfig, run_suite
from entrove.validation.suite.checks.calibration import check_calibration
from entrove.validation.suite.config import CalibrationSettings
from entrove.validation.suite.run import make_subject


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
    energy, forces, stress = calibrate(copper, predict(committee, copper))
    energies, vectors, tensors = [], [], []
    for atoms in copper:
        bare = [Atoms(atoms) for _ in CALCULATORS]
        for cell, make in zip(bare, CALCULATORS, strict=True):
            cell.calc = make()
        energies.append([cell.get_potential_energy() / len(cell) for cell in bare])
        vectors.append([cell.get_forces() for cell in bare])
        tensors.append([cell.get_stress(voigt=False) for cell in bare])
    energies, vectors = np.array(energies), np.array(vectors)
    expected = np.array([atoms.get_potential_energy() / len(atoms) for atoms in copper])
    deviation = energies.mean(axis=1) - expected
    expected_factor = np.sqrt(np.mean(deviation**2) / np.mean(energies.var(axis=1)))
    assert energy.factor == pytest.approx(expected_factor, rel=1e-4)
    mean = vectors.mean(axis=1)
    error = np.linalg.norm(mean - np.array([atoms.get_forces() for atoms in copper]), axis=2)
    spread = np.sqrt(np.square(vectors - mean[:, None]).sum(axis=3).mean(axis=1))
    np.testing.assert_allclose(forces.errors, 1000 * error.ravel(), rtol=1e-4)
    np.testing.assert_allclose(forces.spreads, 1000 * spread.ravel(), rtol=1e-4)
    tensors = np.array(tensors)
    mean = tensors.mean(axis=1)
    error = mean - np.array([atoms.get_stress(voigt=False) for atoms in copper])
    squares = np.square(tensors - mean[:, None]).sum(axis=(2, 3))
    np.testing.assert_allclose(stress.errors, 1000 * np.linalg.norm(error, axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(stress.spreads, 1000 * np.sqrt(squares.mean(axis=1)), rtol=1e-4)


def test_without_stress_there_is_no_factor_for_it(copper, committee):
    """Neither where labels have none, nor where all members agree on it."""
    predicted = predict(committee, copper)
    bare = labelled(copper, EMT())
    for atoms in bare:
        del atoms.calc.results["stress"]
    assert [one.quantity for one in calibrate(bare, predicted)] == ["energy", "forces"]
    for atoms in predicted:
        atoms.info[provenance.STRESS_SPREAD] = 0.0
    assert [one.quantity for one in calibrate(copper, predicted)] == ["energy", "forces"]


def random_committee(
    seed: int, count: int, size: int = 5, left_out_by: int = 2, common: float = 1.0
) -> tuple[list[Atoms], list[set[str]], list[list[Atoms]]]:
    """Labels, what each member has learnt, and predictions: exact where a label was learnt.

    Members err by independent normal numbers, and all of them by a common one that is `common`
    times as wide, so that errors are larger than spreads.
    """
    rng, of_stress = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    labels = []
    for index in range(count):
        atoms = bulk("Cu", a=3.6 + 0.01 * seed + 1e-4 * index) * (2, 1, 1)
        labels.append(attach_results(atoms, 0.0, np.zeros((2, 3)), np.zeros(6)))
    learnt: list[set[str]] = [set() for _ in range(size)]
    predicted: list[list[Atoms]] = [[] for _ in range(size)]
    for index, atoms in enumerate(labels):
        width = 0.1 if index % 2 else 1.0
        shared = common * width * np.append(rng.normal(size=7), of_stress.normal(size=6))
        without = {(index + step) % size for step in range(left_out_by)}
        for member in range(size):
            error = np.zeros(13)
            if member in without:
                own = np.append(rng.normal(size=7), of_stress.normal(size=6))
                error = shared + width * own
            else:
                learnt[member].add(content_hash(atoms))
            forces, stress = error[1:7].reshape(2, 3), error[7:]
            predicted[member].append(attach_results(atoms, error[0], forces, stress))
    return labels, learnt, predicted


@pytest.mark.slow
@pytest.mark.parametrize("left_out_by", [2, 3])
def test_labels_that_members_left_out_predict_the_error_on_unseen_ones(left_out_by):
    """The factor of training labels is that of labels which no member has learnt.

    The mean of k members has an own error of 1 / k of theirs besides the common one, with which
    the whole committee's differs: here by at most 12 %.
    """
    size = 5
    found = calibrate_left_out(*random_committee(1, 4000, size, left_out_by))
    unseen = calibrate_left_out(*random_committee(2, 4000, size, size))
    assert [one.quantity for one in found] == ["energy", "forces", "stress"]
    for ours, theirs in zip(found, unseen, strict=True):
        own = np.sqrt((1 + 1 / left_out_by) / (1 + 1 / size))
        assert ours.factor == pytest.approx(own * theirs.factor, rel=0.05)
        assert ours.factor == pytest.approx(theirs.factor, rel=0.15)
        assert ours.rank_correlation > 0.4


def test_fixed_atoms_change_no_calibration():
    labels, learnt, predicted = random_committee(1, 60)
    expected = calibrate_left_out(labels, learnt, predicted)
    for atoms in [*labels, *(atoms for member in predicted for atoms in member)]:
        atoms.set_constraint(FixAtoms([0]))
    found = calibrate_left_out(labels, learnt, predicted)
    assert [one.factor for one in found] == [one.factor for one in expected]


@pytest.mark.slow
def test_the_predicted_force_error_is_that_on_unseen_structures():
    """Per component, while spreads and errors of a calibration are lengths of vectors."""
    found = calibrate_left_out(*random_committee(1, 4000))
    (forces,) = [one for one in found if one.quantity == "forces"]
    unseen, _, members = random_committee(2, 4000, left_out_by=5)
    predicted, errors = [], []
    for label, *said in zip(unseen, *members, strict=True):
        of_members = np.array([atoms.get_forces() for atoms in said])
        label.arrays[provenance.FORCES_SPREAD] = np.sqrt(
            np.square(of_members - of_members.mean(axis=0)).sum(axis=2).mean(axis=0)
        )
        predicted.append(label)
        errors.append(of_members.mean(axis=0) - label.get_forces())
    rmse = 1000.0 * np.sqrt(np.mean(np.square(errors)))
    # The factor of two members that left a label out is 12 % above that of five, see above.
    expected = rmse * np.sqrt((1 + 1 / 2) / (1 + 1 / 5))
    assert predicted_force_rmse(forces, predicted) == pytest.approx(expected, rel=0.05)


def test_labels_that_all_members_or_all_but_one_have_learnt_are_not_used():
    """They have no error or no spread: counting them would make the factor what they make it."""
    labels, learnt, predicted = random_committee(3, 60)
    found = calibrate_left_out(labels, learnt, predicted)
    for unused in (0, 1):
        more, known, said = random_committee(4, 40, left_out_by=unused)
        both = calibrate_left_out(
            [*labels, *more],
            [one | other for one, other in zip(learnt, known, strict=True)],
            [[*one, *other] for one, other in zip(predicted, said, strict=True)],
        )
        assert [one.factor for one in both] == [one.factor for one in found]
        with pytest.raises(ModelError, match="member_labels below 1"):
            calibrate_left_out(more, known, said)


def test_the_check_calibrates_on_left_out_labels_and_tests_on_others(copper, committee):
    """With factors of the former, the table of the latter shows what is predicted, and found."""
    seen = [frozenset({content_hash(copper[index])}) for index in range(3)]
    subject = make_subject(
        committee.members[0],
        phases=None,
        labelled=copper[3:],
        base=None,
        config=SuiteConfig(),
        pressures_GPa=(),
        temperatures_K=(),
        trained_on=copper[:3],
        committee=committee,
        committee_learnt=seen,
    )
    (result,) = check_calibration(subject, CalibrationSettings())
    fitted = calibrate_left_out(
        copper[:3], seen, [predict(member, copper[:3]) for member in committee.members]
    )
    fresh = calibrate(copper[3:], predict(committee, copper[3:]))
    values = {quantity.name: quantity.value for quantity in result.quantities}
    for old, new in zip(fitted, fresh, strict=True):
        assert values[f"error over spread, {old.quantity}"] == pytest.approx(old.factor, rel=1e-5)
        assert values[f"error over calibrated spread, {old.quantity}"] == pytest.approx(
            new.factor / old.factor, rel=1e-5
        )
    assert "on training labels that members left out; on 3 labels errors are" in result.sentence
    # Without labels that are new to all, the factors are shown on those they are fitted to.
    (alone,) = check_calibration(replace(subject, labelled=()), CalibrationSettings())
    assert alone.quantities[0].value == pytest.approx(fitted[0].factor, rel=1e-5)
    assert "predicts" not in alone.sentence


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
    energy, *_ = calibrate(copper, predict(committee, copper))
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
