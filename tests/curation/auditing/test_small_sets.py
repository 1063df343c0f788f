"""A few frames are not called clean where nothing was looked for, and gross errors are found."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from copper_sets import alarms, audited, copper, labelled

from entrove.curation.auditing.small_sets import gross_groups


def shifted(atoms, shift):
    return labelled(atoms, energy=atoms.get_potential_energy() + shift * len(atoms))


@pytest.mark.parametrize("shift", [100.0, -100.0, -500.0])
@pytest.mark.parametrize("count", [4, 5, 6, 8, 12, 19, 25])
def test_gross_gaps_are_found_in_small_sets(count, shift, tmp_path):
    frames = copper(count, seed=count)
    halves = [shifted(atoms, shift * (k % 2)) for k, atoms in enumerate(frames)]
    found = alarms(audited(tmp_path, halves))
    assert set(found) == {"mixed_levels"}
    assert {frame.index % 2 for frame in found["mixed_levels"].frames} in ({0}, {1})
    one = [shifted(atoms, shift * (k == 2)) for k, atoms in enumerate(frames)]
    found = alarms(audited(tmp_path, one))
    assert set(found) == {"energy_outlier"}
    assert [frame.index for frame in found["energy_outlier"].frames] == [2]


@pytest.mark.parametrize(
    ("count", "left"),
    [
        (4, ["units", "wrong energies", "wrong forces", "wrong stresses", "levels of theory"]),
        (8, ["wrong energies", "wrong forces", "wrong stresses", "levels of theory"]),
        (12, ["wrong stresses", "levels of theory"]),
        (24, ["levels of theory"]),
        (30, []),
    ],
)
def test_what_a_few_frames_leave_open_is_said(count, left, tmp_path):
    report = audited(tmp_path, copper(count))
    assert report.exit_status == 0
    said = " ".join(
        finding.evidence for finding in report.findings if finding.kind == "too_few_frames"
    )
    every = ["units", "wrong energies", "wrong forces", "wrong stresses", "levels of theory"]
    assert [what for what in every if what in said] == left


def test_what_forces_explain_is_no_gap():
    """Two atoms at a third of their bond length: 40 eV/atom, and forces of 90 eV/A."""
    energies = np.array([-1.0, -0.9, -1.1, -1.0, 39.0])
    formulas = np.zeros(5, dtype=int)
    gap = np.array([False] * 4 + [True])
    assert not gross_groups(energies, formulas, np.array([0.1, 0.2, 0.1, 0.3, 90.0])).any()
    assert (gross_groups(energies, formulas, np.full(5, 0.3)) == gap).all()
    # Of another composition, energies say nothing of each other.
    assert not gross_groups(energies, np.arange(5), np.zeros(5)).any()


def test_energies_of_strained_and_stretched_copper_have_no_gap(tmp_path):
    crystals = [bulk("Cu", a=a, cubic=True) for a in (2.8, 3.2, 3.6, 4.2, 5.5, 8.0)]
    dimers = []
    for length, energy, force in (
        (1.5, 20.0, 60.0),
        (1.8, 5.0, 20.0),
        (2.2, -2.0, 1.0),
        (3.0, -1.0, -1.0),
        (4.5, 0.5, 0.0),
    ):
        atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, length]])
        forces = np.array([[0, 0, -force], [0, 0, force]])
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        dimers.append(atoms)
    report = audited(tmp_path, [*[labelled(atoms) for atoms in crystals], *dimers])
    assert not {"mixed_levels", "energy_outlier"} & set(alarms(report))
