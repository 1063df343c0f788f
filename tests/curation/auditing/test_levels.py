"""Two levels of theory in one set are named, and never taken for labels of another unit."""

import numpy as np
import pytest
from ase.build import bulk
from copper_sets import alarms, audited, copper, labelled

from entrove.curation.auditing.conventions.energy_units import ENERGY_CONVENTIONS
from entrove.curation.auditing.findings import Severity

UNITS = {convention.kind for convention in ENERGY_CONVENTIONS} | {"energies_against_forces"}


def rattled(count, rattle, seed=0, cells=1):
    """Frames of a cell of four atoms, or of two and more of other volumes, displaced at random."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        atoms = bulk("Cu", a=3.6 + 0.05 * (number % cells), cubic=True)
        atoms.positions += rng.normal(scale=rattle, size=atoms.positions.shape)
        frames.append(labelled(atoms))
    return frames


def shifted(atoms, shift):
    return labelled(atoms, energy=atoms.get_potential_energy() + shift * len(atoms))


def every_second(frames, shift):
    return [shifted(atoms, shift * (number % 2)) for number, atoms in enumerate(frames)]


@pytest.mark.parametrize("shift", [0.02, -0.02, -0.05, 0.3, -5.0, 500.0])
@pytest.mark.parametrize(
    ("count", "rattle", "cells"),
    [(30, 0.01, 1), (30, 0.05, 1), (30, 0.15, 1), (60, 0.05, 3), (60, 0.15, 3)],
)
def test_two_levels_of_theory_are_named_and_are_no_unit(shift, count, rattle, cells, tmp_path):
    found = alarms(audited(tmp_path, every_second(rattled(count, rattle, cells=cells), shift)))
    assert not UNITS & set(found)
    assert found["mixed_levels"].severity is Severity.BLOCKER
    assert {frame.index % 2 for frame in found["mixed_levels"].frames} in ({0}, {1})


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("shift", [-0.3, -0.05])
def test_fewer_frames_of_two_levels_are_no_unit_either(shift, seed, tmp_path):
    found = alarms(audited(tmp_path, every_second(rattled(16, 0.05, seed), shift)))
    assert not UNITS & set(found)


@pytest.mark.parametrize(
    "convention", ENERGY_CONVENTIONS[1:], ids=lambda convention: convention.name
)
def test_a_unit_is_found_in_a_set_of_two_levels(convention, tmp_path):
    frames = []
    for atoms in every_second(copper(), -5.0):
        size = np.array([len(atoms)])
        given = atoms.get_potential_energy() / float(convention.factors(size)[0])
        frames.append(labelled(atoms, energy=given, forces=atoms.get_forces() / convention.forces))
    assert convention.kind in alarms(audited(tmp_path, frames))
