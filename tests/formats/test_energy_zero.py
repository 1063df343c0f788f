"""What energies are measured from is decided by what is there, and said to be open elsewhere."""

import numpy as np
import pytest

from entrove.formats.energy_zero import judge_energy_zero

NA, CL = 11, 17
REFERENCES = np.array([-1300.0, -430.0])
COUNTS = np.array([[4, 4], [8, 8], [2, 0], [0, 2], [1, 0], [0, 1]])
BINDING = -np.array([3.2, 3.1, 1.1, 1.3, 0.0, 0.0])
"""eV/atom below free atoms."""


def judge(per_atom, rows=slice(None), smearing=None):
    counts = COUNTS[rows]
    return judge_energy_zero(per_atom[rows] * counts.sum(axis=1), counts, [NA, CL], smearing)


def total():
    return BINDING + COUNTS @ REFERENCES / COUNTS.sum(axis=1)


def test_single_atoms_tell_total_from_cohesive_energies():
    assert judge(total()).kind == "total"
    assert "Na -1300 eV, Cl -430 eV" in judge(total()).evidence
    assert "bind by -2.2" in judge(total()).evidence
    assert judge(BINDING).kind == "cohesive"


def test_elements_at_zero_are_those_of_formation_energies():
    elements = COUNTS @ np.array([-1.1, -1.3]) / COUNTS.sum(axis=1)
    assert judge(BINDING - elements, slice(0, 4)).kind == "formation"


def test_large_energies_are_total_ones_without_single_atoms():
    assert judge(total(), slice(0, 4)).kind == "total"


def test_what_is_open_is_said():
    zero = judge(BINDING, slice(0, 2))
    assert zero.kind == "undecided"
    assert "a single atom in a large cell would tell" in zero.evidence
    # One of the two elements is not enough.
    assert judge(BINDING, slice(0, 5)).kind == "undecided"
    assert judge(BINDING, slice(4, 6)).kind == "undecided"


@pytest.mark.parametrize("smearing_eV", [0.0, -0.02])
def test_free_energies_beside_energies_are_told(smearing_eV):
    judged = judge(total(), slice(0, 2), np.array([smearing_eV, np.nan]))
    said = judged.smearing
    assert ("equal" in said) == (smearing_eV == 0.0)
    assert ("zero smearing" in said) == (smearing_eV != 0.0)
    assert smearing_eV == 0.0 or "2.5 meV/atom" in said
    assert judge(total()).smearing == ""
    every = np.full(2, smearing_eV)
    assert not judge(total(), slice(0, 2), every).doubt
    # Two kinds of energies in one set, unless they are equal.
    assert ("1 frame has no free energy" in judged.doubt) == (smearing_eV != 0.0)
