import dataclasses
import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from entrove.structures import attach_results
from entrove.validation.comparison import compare
from entrove.validation.config import ValidationConfig
from entrove.validation.errors_by_kind import ALL, ErrorRow, ErrorTable, errors_by_kind

NAN = float("nan")


def table(energy: float, force: float, stress: float, plain_energy: float = 0.0) -> ErrorTable:
    row = ErrorRow(
        ALL, ALL, 10, 80, plain_energy, plain_energy, energy, energy, force, force, stress, stress
    )
    return ErrorTable((row,))


UNTUNED = table(10.0, 100.0, 4.0, plain_energy=5000.0)


@pytest.mark.parametrize(
    ("tuned", "accepted", "reason"),
    [
        (table(5.0, 40.0, 2.0), True, "accepted"),
        (table(10.0, 100.0, 4.0), True, "accepted"),  # the untuned model itself
        (table(15.0, 50.0, 4.0), True, "accepted"),  # worse energies, but half the force error
        (table(1.0, 101.0, 1.0), False, "its forces are worse"),
        (table(10.0, 90.0, 8.0), False, "loses more on energy and stress"),
        (table(NAN, 10.0, 1.0), False, "not finite"),
        (table(5.0, 40.0, math.inf), False, "not finite"),
    ],
)
def test_acceptance_and_its_reason(tuned, accepted, reason):
    comparison = compare(UNTUNED, tuned)
    assert comparison.accepted is accepted
    assert reason in comparison.reason


def test_another_zero_of_energy_does_not_count_as_better():
    """A model that only learnt a constant of 5 eV per atom is not better."""
    only_shifted = table(10.0, 100.5, 4.0, plain_energy=10.0)
    assert not compare(UNTUNED, only_shifted).accepted


def test_ratios_are_tuned_over_untuned():
    found = compare(UNTUNED, table(5.0, 40.0, 3.0))
    assert (found.energy_ratio, found.force_ratio, found.stress_ratio) == (0.5, 0.4, 0.75)
    assert "forces 0.40, centred energy 0.50, stress 0.75" in found.reason


def test_molecules_are_compared_without_stress():
    untuned = ErrorTable((dataclasses.replace(UNTUNED.total, stress_mae_meV_per_A3=NAN),))
    assert compare(untuned, table(5.0, 50.0, NAN)).accepted


# Tables of real structures, which have intervals.

KINDS = ("strain", "shear", "md")
SHIFTS = {"Cu": 0.0}


def labels(per_kind: int = 8) -> list[Atoms]:
    rng = np.random.default_rng(1)
    found = []
    for kind in KINDS:
        for index in range(per_kind):
            atoms = bulk("Cu", cubic=True)
            atoms.rattle(0.05, seed=index + 100 * len(found))
            atoms.info |= {"entrove_phase": "fcc", "entrove_kind": kind}
            forces, stress = rng.normal(size=(4, 3)), rng.normal(scale=0.01, size=6)
            found.append(attach_results(atoms, 0.0, forces, stress))
    return found


def predict(
    labels: list[Atoms],
    seed: int,
    shift_eV: float = 0.0,
    scale: float = 1.0,
    force_scales: dict[str, float] | None = None,
) -> list[Atoms]:
    """Labels with normal errors: 10 meV/atom, 50 meV/A, 1 meV/A^3, times the scales."""
    rng = np.random.default_rng(seed)
    predicted = []
    for atoms in labels:
        force_scale = (force_scales or {}).get(atoms.info["entrove_kind"], 1.0) * scale
        predicted.append(
            attach_results(
                atoms,
                4 * (scale * rng.normal(scale=0.01) + shift_eV),
                atoms.get_forces() + force_scale * rng.normal(scale=0.05, size=(4, 3)),
                atoms.get_stress() + scale * rng.normal(scale=0.001, size=6),
            )
        )
    return predicted


def table_of(labels: list[Atoms], predicted: list[Atoms]) -> ErrorTable:
    return errors_by_kind(labels, predicted, SHIFTS)


def test_a_constant_energy_error_of_a_tuned_model_counts_in_full():
    """Centred, it reads zero: 50 meV per atom that anyone who compares phases will meet."""
    given = labels()
    untuned = table_of(given, predict(given, 1))
    off = table_of(given, predict(given, 2, shift_eV=0.05, scale=0.5))
    assert off.total.energy_centred_mae_meV_per_atom < 10
    found = compare(untuned, off)
    assert found.energy_ratio > 4
    assert not found.accepted
    assert "refused: energy worse than the untuned model's beyond the interval" in found.reason


def test_one_structure_per_composition_has_its_error():
    """A centred error of each of them reads zero, whatever the model."""
    silicon, carbon = bulk("Si"), bulk("C")
    given = [
        attach_results(atoms, -5.0, np.zeros((2, 3)), np.zeros(6)) for atoms in (silicon, carbon)
    ]
    wrong = [
        attach_results(atoms, -4.8, np.zeros((2, 3)), np.zeros(6)) for atoms in (silicon, carbon)
    ]
    total = errors_by_kind(given, wrong, {}).total
    assert total.energy_centred_mae_meV_per_atom == 0.0
    assert total.energy_mae_meV_per_atom == pytest.approx(100.0)
    shifted = errors_by_kind(given, wrong, {"Si": -0.1, "C": -0.1}).total
    assert shifted.energy_mae_meV_per_atom == pytest.approx(0.0, abs=1e-9)


def test_a_kind_that_got_worse_is_named_and_refused_beyond_what_is_tolerated():
    given = labels()
    untuned = table_of(given, predict(given, 1))
    # Half the errors, but forces of sheared cells twice as large.
    tuned = table_of(given, predict(given, 2, scale=0.5, force_scales={"shear": 4.0}))
    found = compare(untuned, tuned)
    assert [(change.kind, change.quantity) for change in found.worse] == [("shear", "force")]
    assert not found.accepted
    assert "refused: forces of shear more than 25 % worse beyond the interval" in found.reason
    assert "worse: forces of shear" in found.reason
    named = compare(untuned, tuned, ValidationConfig(tolerated_worsening=None))
    assert named.accepted
    assert "worse: forces of shear" in named.reason


def test_a_kind_of_few_structures_that_got_worse_is_named_as_within_noise():
    """Four sheared cells whose force error rose by a sixth are not kept silent."""
    given = labels(per_kind=4)
    untuned = table_of(given, predict(given, 3))
    tuned = table_of(given, predict(given, 4, scale=0.5, force_scales={"shear": 2.2}))
    found = compare(untuned, tuned)
    assert [(change.kind, change.quantity) for change in found.larger_within_noise] == [
        ("shear", "force")
    ]
    assert not found.worse
    assert "; larger, within noise: forces of shear" in found.reason


def test_a_growth_that_is_negligible_is_not_worse():
    given = labels()
    untuned = table_of(given, predict(given, 1, scale=0.01))
    tuned = table_of(given, predict(given, 2, scale=0.02))
    assert compare(untuned, tuned).force_ratio > 1.5
    assert not compare(untuned, tuned).worse
    strict = ValidationConfig(
        negligible_energy_meV_per_atom=0,
        negligible_force_meV_per_A=0,
        negligible_stress_meV_per_A3=0,
    )
    assert "force" in {change.quantity for change in compare(untuned, tuned, strict).worse}


def test_noise_is_accepted_in_few_of_many_sets():
    """Two models of equal quality: one in 40 is better beyond the interval by chance."""
    given = labels(per_kind=3)
    comparisons = [
        compare(
            table_of(given, predict(given, 2 * seed)),
            table_of(given, predict(given, 2 * seed + 1)),
        )
        for seed in range(30)
    ]
    # 30 / 40 = 0.75 are expected; 5 or more have a probability of 0.1 %.
    assert sum(found.accepted for found in comparisons) < 5
    assert any("not better beyond noise" in found.reason for found in comparisons)


def test_what_cannot_be_told_from_noise_is_refused():
    """Two structures have no interval, and equal errors are no better ones."""
    given = labels()
    untuned = table_of(given, predict(given, 1))
    assert not compare(untuned, untuned).accepted
    assert "its errors are those of the untuned model" in compare(untuned, untuned).reason
    two = given[:2]
    found = compare(table_of(two, predict(two, 1)), table_of(two, predict(two, 1, scale=0.5)))
    assert found.force_ratio == pytest.approx(0.5)
    assert not found.accepted
    assert "fewer than 3 independent structures" in found.reason
    # Errors of zero have no interval either, and are better than any.
    assert compare(untuned, table_of(given, given)).accepted


def test_of_two_tuned_models_the_better_need_not_be_so_beyond_noise():
    given = labels(per_kind=3)
    one, other = (
        table_of(given, predict(given, seed, scale=scale)) for seed, scale in ((5, 1.0), (6, 0.95))
    )
    better, worse = sorted((one, other), key=lambda table: compare(one, table).force_ratio)
    assert not compare(worse, better).accepted
    forwards = compare(worse, better, beyond_noise=False).accepted
    assert forwards != compare(better, worse, beyond_noise=False).accepted


def test_forces_that_all_vanish_by_symmetry_do_not_decide():
    atoms = bulk("Cu", cubic=True)
    given = [
        attach_results(atoms * (1, 1, repeat), 0.0, np.zeros((4 * repeat, 3)), np.zeros(6))
        for repeat in (1, 2, 3, 4)
    ]

    def wrong(error: float) -> list[Atoms]:
        return [
            attach_results(atoms, len(atoms) * error, np.zeros((len(atoms), 3)), np.full(6, error))
            for atoms in given
        ]

    found = compare(table_of(given, wrong(0.02)), table_of(given, wrong(0.01)))
    assert found.accepted
    assert math.isnan(found.force_ratio)
    assert "forces" not in found.reason


def test_a_quantity_of_which_both_models_have_no_error_changes_no_verdict():
    """Centred energies read zero where no two labels share a composition, whatever the model."""
    rng = np.random.default_rng(3)
    given = [
        attach_results(
            Atoms(f"Si{12 - count}C{count}", rng.normal(size=(12, 3)), cell=[9.0] * 3, pbc=True),
            0.0,
            rng.normal(size=(12, 3)),
            rng.normal(scale=0.01, size=6),
        )
        for count in range(1, 11)
    ]

    def predicted(scale: float) -> ErrorTable:
        return errors_by_kind(
            given,
            [
                attach_results(
                    atoms,
                    12 * scale * rng.normal(),
                    atoms.get_forces() + scale * rng.normal(size=(12, 3)),
                    atoms.get_stress() + 0.02 * scale * rng.normal(size=6),
                )
                for atoms in given
            ],
        )

    def without_energies(found: ErrorTable) -> ErrorTable:
        rows = [
            dataclasses.replace(row, energy_centred_mae_meV_per_atom=NAN) for row in found.rows
        ]
        return dataclasses.replace(found, rows=tuple(rows))

    untuned = predicted(0.05)
    for scale, accepted in ((0.02, True), (0.05, False), (0.1, False)):
        tuned = predicted(scale)
        with_zeros = compare(untuned, tuned)
        without = compare(without_energies(untuned), without_energies(tuned))
        assert with_zeros.accepted is accepted
        assert (with_zeros.accepted, with_zeros.verdict) == (without.accepted, without.verdict)
        assert with_zeros.reason == without.reason


def test_one_trajectory_decides_for_no_model():
    """Of strained perfect crystals and one MD snapshot, only the latter has forces: they are three
    times better, and energies and stress are equal within noise."""
    given = []
    for index in range(12):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (0.94 + 0.01 * index), scale_atoms=True)
        kind = "md_300_K" if index == 11 else "strain"
        if kind != "strain":
            atoms.rattle(0.05, seed=1)
        atoms.info |= {"entrove_phase": "fcc", "entrove_kind": kind}
        given.append(attach_results(atoms, -4.0, np.zeros((4, 3)), np.zeros((3, 3))))

    def predicted(seed: int, force: float) -> list[Atoms]:
        rng = np.random.default_rng(seed)
        return [
            attach_results(
                atoms,
                -4.0 + 0.04 * rng.normal(),
                force * rng.normal(size=(4, 3)) * (index == 11),
                np.eye(3) * 0.003 * rng.normal(),
            )
            for index, atoms in enumerate(given)
        ]

    found = compare(table_of(given, predicted(1, 0.1)), table_of(given, predicted(2, 0.01)))
    assert found.force_ratio < 0.3
    assert found.energy_ratio * found.force_ratio * found.stress_ratio < 0.5
    assert not found.accepted
    assert "not better beyond noise" in found.reason or "larger on average" in found.reason
