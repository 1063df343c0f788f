"""Conventions are found from evidence, whatever was planted; EMT is the independent oracle."""

import itertools

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from entrove.formats.conventions import (
    ASE_STRESS,
    VOIGT_ORDERS,
    StressConvention,
    compare_with_energies,
    compare_with_stress,
    count_symmetry_breaks,
    energy_exponent,
    energy_slope,
    find_frame_pairs,
    stress_conventions,
)

RNG = np.random.default_rng(4)


def strained_copper(*, rattle_A=0.005, count=24):
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        strain = RNG.normal(scale=0.003, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += RNG.normal(scale=rattle_A, size=(4, 3))
        atoms.calc = EMT()
        frames.append(atoms)
    return frames


FRAMES = strained_copper()
STRESS = np.array([atoms.get_stress() for atoms in FRAMES])
VOLUMES = np.array([atoms.get_volume() for atoms in FRAMES])
ENERGIES = np.array([atoms.get_potential_energy() for atoms in FRAMES])
FORCES = [atoms.get_forces() for atoms in FRAMES]


def pairs_of_copper(forces=FORCES):
    return find_frame_pairs(
        np.array([atoms.cell.array for atoms in FRAMES]),
        [atoms.get_scaled_positions(wrap=False) for atoms in FRAMES],
        [atoms.numbers for atoms in FRAMES],
        ENERGIES,
        forces,
    )


@pytest.mark.parametrize("convention", stress_conventions(), ids=str)
def test_what_a_file_holds_and_ase_stress_are_the_same_numbers(convention):
    given = convention.from_ase(STRESS, VOLUMES)
    np.testing.assert_allclose(convention.to_ase(given, VOLUMES), STRESS, rtol=1e-12)


def test_orders_name_the_place_of_each_component():
    names = ("xx", "yy", "zz", "yz", "xz", "xy")
    for order, places in VOIGT_ORDERS.items():
        assert [order.split()[place] for place in places] == list(names)
    assert len(VOIGT_ORDERS) == len(set(VOIGT_ORDERS.values())) == 6


@pytest.mark.parametrize("convention", stress_conventions(), ids=str)
def test_every_convention_is_found_from_energies_of_strained_cells(convention):
    evidence = compare_with_energies(
        convention.from_ase(STRESS, VOLUMES), VOLUMES, pairs_of_copper()
    )
    assert evidence is not None
    assert evidence.decided
    assert evidence.best == convention
    assert evidence.contradicts_ase == (convention != ASE_STRESS)
    # The trapezoid rule is wrong by the third order of strains of half a percent.
    assert evidence.residual < 0.05


@pytest.mark.parametrize("convention", stress_conventions(), ids=str)
def test_every_convention_is_found_from_a_stress_known_to_a_tenth(convention):
    noisy = STRESS * RNG.normal(1.0, 0.1, size=STRESS.shape)
    evidence = compare_with_stress(convention.from_ase(STRESS, VOLUMES), noisy, VOLUMES)
    assert evidence.decided
    assert evidence.best == convention


def test_a_virial_beside_a_stress_in_kbar_is_enough_for_one_frame():
    kbar = StressConvention("kbar", -1)
    one = slice(0, 1)
    evidence = compare_with_stress(kbar.from_ase(STRESS, VOLUMES)[one], STRESS[one], VOLUMES[one])
    assert evidence.decides("unit")
    assert evidence.decides("sign")
    assert evidence.best == kbar


def test_hydrostatic_evidence_leaves_the_order_open():
    pressure = np.outer(np.linspace(-0.05, 0.05, 11), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    volumes = np.linspace(40.0, 44.0, 11)
    evidence = compare_with_stress(pressure, pressure, volumes)
    assert evidence.best == ASE_STRESS
    assert not evidence.decides("order")
    assert evidence.decides("unit")
    assert evidence.decides("sign")
    assert not evidence.contradicts_ase


def test_a_cell_of_160_cubic_angstrom_leaves_gpa_and_virial_open():
    volumes = np.full(len(STRESS), 160.2)
    evidence = compare_with_stress(
        StressConvention("eV").from_ase(STRESS, volumes), STRESS, volumes
    )
    assert not evidence.decides("unit")
    assert {evidence.best.unit, *(rival.unit for rival in evidence.rivals)} == {"GPa", "eV"}
    assert evidence.contradicts_ase


def test_numbers_without_relation_are_explained_by_no_convention():
    evidence = compare_with_stress(RNG.normal(size=(40, 6)), RNG.normal(size=(40, 6)), np.ones(40))
    assert not evidence.explained
    assert not evidence.decided
    assert not evidence.contradicts_ase


def test_one_wild_frame_in_twenty_does_not_decide():
    given = StressConvention("GPa").from_ase(STRESS, VOLUMES)
    given[3] *= -1000
    evidence = compare_with_stress(given, STRESS, VOLUMES)
    assert evidence.best == StressConvention("GPa")


def test_energy_differences_are_the_work_of_forces_and_stress():
    pairs = pairs_of_copper()
    volumes, first, second = VOLUMES, pairs.first, pairs.second
    mean = (STRESS[first] * volumes[first, None] + STRESS[second] * volumes[second, None]) / 2
    work = pairs.force_works_eV + (mean * pairs.strains).sum(axis=1)
    slope, correlation = energy_slope(pairs.energies_eV, work)
    # Wrong by the third order of the strain, about as much as copper is anharmonic.
    assert slope == pytest.approx(1.0, abs=0.03)
    assert correlation > 0.999
    per_atom, _ = energy_slope(pairs.energies_eV / 4, work)
    assert per_atom == pytest.approx(0.25, abs=0.01)
    without_forces = pairs_of_copper(None)
    assert len(without_forces.first) == 0  # every pair is displaced by far more than 0.002 A


@pytest.mark.parametrize(("divided", "exponent"), [(False, 1.0), (True, 0.0)])
def test_energies_per_atom_do_not_grow_with_the_cell(divided, exponent):
    sizes = [1, 2, 3]
    cells = [bulk("Cu", cubic=True).repeat((size, 1, 1)) for size in sizes]
    energies = []
    for atoms in cells:
        atoms.rattle(0.02, seed=1)
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy() - 3.5 * len(atoms))
    counts = np.array([len(atoms) for atoms in cells])
    energies = np.array(energies) / (counts if divided else 1)
    assert energy_exponent(energies, counts) == pytest.approx(exponent, abs=0.02)
    assert energy_exponent(energies[:1], counts[:1]) is None


def test_exchanged_shears_break_the_symmetry_of_the_crystal():
    # A cell sheared in the plane of y and z keeps the half turn about x.
    half_turn = np.diag([1.0, -1.0, -1.0])[None]
    stress = np.array([[0.1, 0.0, 0.0], [0.0, 0.2, 0.05], [0.0, 0.05, 0.2]])
    assert count_symmetry_breaks(stress, half_turn) < 1e-12
    for exchanged in itertools.permutations(range(3)):
        moved = stress[np.ix_(exchanged, exchanged)]
        kept = exchanged[0] == 0
        assert (count_symmetry_breaks(moved, half_turn) < 1e-12) == kept


def test_stresses_without_frames_are_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        compare_with_stress(np.zeros((0, 6)), np.zeros((0, 6)), np.zeros(0))
