import dataclasses
import math

import pytest

from entrove.validation.comparison import compare
from entrove.validation.errors_by_kind import ALL, ErrorRow, ErrorTable

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
