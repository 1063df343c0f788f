"""What decides conventions, levels of theory and outliers, each piece of evidence by itself."""

from dataclasses import replace

import numpy as np
import pytest
from copper_sets import copper, labelled
from scipy.spatial import KDTree

from entrove.curation.auditing.conventions.energies import judge_energies
from entrove.curation.auditing.conventions.energy_units import ENERGY_CONVENTIONS
from entrove.curation.auditing.conventions.slopes import compare_slopes
from entrove.curation.auditing.conventions.stresses import judge_stresses
from entrove.curation.auditing.geometries import far_geometries
from entrove.curation.auditing.levels import find_two_levels
from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.quick_potential import solve_rows
from entrove.curation.auditing.predictions.sample import Sample, sample_rows
from entrove.curation.auditing.residual_findings import _beyond_tail
from entrove.formats.conventions import ASE_STRESS, VASP_ORDER, StressConvention


@pytest.fixture(scope="module")
def basis():
    return Basis((29,), 5.0, 2.0)


def sample_of(frames):
    return Sample(
        np.arange(len(frames)),
        [atoms.copy() for atoms in frames],
        [atoms.get_forces() for atoms in frames],
        np.array([atoms.get_potential_energy() for atoms in frames]),
        np.array([atoms.get_stress() for atoms in frames]),
        np.zeros(len(frames), dtype=int),
        np.zeros(len(frames), dtype=int),
    )


@pytest.fixture(scope="module")
def sample():
    return sample_of(copper())


def in_convention(sample, convention):
    """The labels as a file of this convention holds them."""
    factors = 1 / convention.factors(sample.sizes)
    return sample.corrected(factors, np.full(len(sample.frames), 1 / convention.forces))


@pytest.fixture(scope="module")
def rattled():
    """Frames of one cell and of one with more atoms, displaced at random."""
    rng = np.random.default_rng(3)
    frames = []
    for number in range(24):
        moved = copper(2)[number % 2].copy()
        moved.positions += rng.normal(scale=0.05, size=moved.positions.shape)
        frames.append(labelled(moved))
    return sample_of(frames)


@pytest.mark.parametrize("convention", ENERGY_CONVENTIONS, ids=lambda convention: convention.name)
def test_energy_differences_have_the_size_that_forces_give(convention, rattled, basis):
    given = in_convention(rattled, convention)
    rows = sample_rows(basis, given, 0)
    alone = solve_rows(basis, rows, with_energies=False)
    evidence = compare_slopes(given, np.arange(len(given.frames)), rows, alone)
    assert "close pairs of frames" in evidence.said
    assert convention.name in evidence.allowed
    sizes = np.array([4, 8])
    for other in ENERGY_CONVENTIONS:
        apart = other.factors(sizes) / other.forces
        apart = apart / (convention.factors(sizes) / convention.forces)
        if (apart < 0.6).all() or (apart > 1.7).all():
            assert evidence.excludes(other), other.name


@pytest.mark.parametrize("convention", ENERGY_CONVENTIONS, ids=lambda convention: convention.name)
def test_the_convention_of_energies_and_forces_is_decided(convention, sample, basis):
    given = in_convention(sample, convention)
    rows = sample_rows(basis, given, 0)
    decided, _ = judge_energies(basis, rows, given, np.arange(len(given.frames)))
    assert decided is convention


def test_two_zeros_of_energy_are_told_from_a_poor_fit(sample, basis):
    rows = sample_rows(basis, sample, 0)
    assert find_two_levels(basis, sample, rows) is None
    other = np.arange(len(sample.frames)) % 3 == 0
    shifted = replace(
        sample, energies_eV=sample.energies_eV - np.where(other, 0.3 * sample.sizes, 0.0)
    )
    levels = find_two_levels(basis, shifted, sample_rows(basis, shifted, 0))
    assert (levels.upper == ~other).all()
    assert levels.gap == pytest.approx(0.3, abs=0.01)
    assert levels.two_levels < levels.one_level / 2


def test_a_melt_beside_a_crystal_is_one_level(basis):
    # Frames of two kinds that a fit explains differently well, which a constant does not.
    rng = np.random.default_rng(9)
    frames = copper(24, seed=7)
    for atoms in copper(24, seed=8):
        molten = atoms.copy()
        molten.positions += rng.normal(scale=0.25, size=molten.positions.shape)
        frames.append(labelled(molten))
    mixed = sample_of(frames)
    assert find_two_levels(basis, mixed, sample_rows(basis, mixed, 0)) is None


def test_parts_that_one_convention_explains_have_one(sample, basis):
    volumes = sample.volumes_A3
    convention = StressConvention("kbar", -1, VASP_ORDER)
    given = replace(sample, stresses=convention.from_ase(sample.stresses, volumes))
    potential = solve_rows(basis, sample_rows(basis, sample, 0))
    parts = np.array_split(np.arange(len(sample.frames)), 6)
    verdicts = judge_stresses(given, parts, potential)
    left = {frozenset(conventions) for _, conventions, _ in verdicts}
    assert left == {frozenset({convention})}
    # Parts of two conventions stay apart.
    mixed = given.stresses.copy()
    mixed[parts[0]] = sample.stresses[parts[0]]
    mixed[parts[1]] = sample.stresses[parts[1]]
    halves = [np.concatenate(parts[:2]), np.concatenate(parts[2:])]
    first, second = judge_stresses(replace(sample, stresses=mixed), halves, potential)
    assert ASE_STRESS in first[1]
    assert second[1] == {convention}


@pytest.mark.parametrize("shape", ["normal", "exponential"])
@pytest.mark.parametrize("count", [150, 20_000])
def test_chance_does_not_reach_what_counts_as_an_outlier(shape, count):
    rng = np.random.default_rng(count)
    beyond = 0
    for _ in range(50):
        draw = rng.normal(size=count) if shape == "normal" else 2 * rng.exponential(size=count)
        beyond += int((np.abs(draw) > _beyond_tail(np.abs(draw))).any())
    # One in exp(4) = 55 sets by construction, and the lower limit of 10 takes most of those.
    assert beyond <= 4
    wrong = np.abs(rng.normal(size=count))
    limit = _beyond_tail(wrong)
    wrong[: count // 50] = 40.0
    assert _beyond_tail(wrong) < 1.3 * limit


def test_far_geometries_are_those_of_a_search_through_all():
    rng = np.random.default_rng(0)
    signatures = rng.normal(scale=0.1, size=(3000, 16))
    signatures[:4] += 30 * rng.normal(size=(4, 16))
    signatures[10:14] = signatures[10] + rng.normal(scale=0.01, size=(4, 16)) + 9.0
    far, relative = far_geometries(signatures, 0)
    fifth = KDTree(signatures).query(signatures, k=6)[0][:, -1]
    typical = np.quantile(fifth, 0.75)
    assert set(far.tolist()) == set(np.flatnonzero(fifth > 12 * typical).tolist())
    assert set(range(4)) <= set(far.tolist())
    np.testing.assert_allclose(relative, fifth[far] / typical, rtol=0.05)
