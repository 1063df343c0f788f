"""Equal geometries are found in every set, and different ones are never taken for equal."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from copper_sets import alarms, audited, copper, labelled, saved
from scipy.spatial.transform import Rotation

from entrove.curation.auditing.findings import Severity
from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.whitening import Whitening
from entrove.fingerprints.batching import to_batches


def strained(atoms, deformation):
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return copy


def ordered_alloy(a):
    """AuCu3 in the structure L1_2."""
    places = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    return Atoms("AuCu3", scaled_positions=places, cell=[a] * 3, pbc=True)


def homogeneously_strained(atoms, count=40):
    rng = np.random.default_rng(2)
    deformations = np.eye(3) + rng.normal(scale=0.02, size=(count, 3, 3))
    return [strained(atoms, (one + one.T) / 2) for one in deformations]


PERFECT_CRYSTALS = {
    "E(V) of fcc": lambda: [bulk("Cu", a=a, cubic=True) for a in np.linspace(3.4, 3.9, 21)],
    "E(V) of one atom": lambda: [bulk("Cu", a=a) for a in np.linspace(3.4, 3.9, 21)],
    "E(V) of L1_2": lambda: [ordered_alloy(a) for a in np.linspace(3.4, 3.9, 21)],
    "strained fcc": lambda: homogeneously_strained(bulk("Cu", cubic=True)),
    "strained L1_2": lambda: homogeneously_strained(ordered_alloy(3.7)),
}


@pytest.mark.parametrize("kind", PERFECT_CRYSTALS)
def test_perfect_crystals_of_different_cells_are_no_repetitions(kind, tmp_path):
    """Invariants of their atoms are equal but for rounding, which is no difference of geometry."""
    frames = [labelled(atoms) for atoms in PERFECT_CRYSTALS[kind]()]
    report = audited(tmp_path, frames)
    assert alarms(report) == {}
    repeats = {"contradicting_labels", "duplicates", "equivalent", "near_duplicates"}
    assert not repeats & {finding.kind for finding in report.findings}
    # Every second one is no leak of the others.
    test = saved(tmp_path / "test.xyz", frames[1::2])
    assert alarms(audited(tmp_path, frames[::2], against=test)) == {}


def test_spreads_of_equal_surroundings_are_zero_to_rounding():
    """A variance as a difference of two means would leave its root at 1e-8 of the invariants."""
    basis = Basis((29,), 5.0, 2.0)
    crystals = [bulk("Cu", a=a, cubic=True).repeat((1, 1, 2)) for a in (3.5, 3.6)]
    (batch,) = to_batches(crystals)
    around = basis.surroundings(batch)
    means, spreads = basis.means_and_spreads(around, basis.of_atoms(around))
    assert float((spreads / means.abs().amax()).max()) < 1e-13


def turned(atoms):
    copy = atoms.copy()
    rotation = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
    copy.set_cell(copy.cell.array @ rotation.T)
    copy.positions = copy.positions @ rotation.T + [0.3, 0.2, 0.1]
    return labelled(copy[np.random.default_rng(0).permutation(len(copy))])


def rattled(atoms, seed=0):
    copy = atoms.copy()
    copy.rattle(0.05, seed=seed)
    return copy


SMALL_SETS = {
    "one atom": lambda: [bulk("Cu")],
    "one crystal": lambda: [bulk("Cu", cubic=True)],
    "one rattled frame": lambda: [rattled(bulk("Cu", cubic=True))],
    "one frame five times": lambda: [bulk("Cu", cubic=True)] * 5,
    "a crystal many times, and snapshots": lambda: (
        [bulk("Cu", cubic=True)] * 30
        + [rattled(bulk("Cu", cubic=True), seed) for seed in range(5)]
    ),
    "one atom over volumes": lambda: [bulk("Cu", a=a) for a in np.linspace(3.4, 3.9, 6)],
}


@pytest.mark.parametrize("copied", [labelled, turned], ids=["as it is", "turned"])
@pytest.mark.parametrize("kind", SMALL_SETS)
def test_a_set_against_itself_is_leakage_of_every_frame(kind, copied, tmp_path):
    frames = [labelled(atoms) for atoms in SMALL_SETS[kind]()]
    test = saved(tmp_path / "test.xyz", [copied(atoms) for atoms in frames])
    leakage = alarms(audited(tmp_path, frames, against=test))["leakage"]
    assert leakage.severity is Severity.BLOCKER
    assert [frame.index for frame in leakage.frames] == list(range(len(frames)))


def test_repeated_crystals_are_duplicates_without_any_other_frame(tmp_path):
    found = alarms(audited(tmp_path, [labelled(bulk("Cu", cubic=True))] * 5))
    assert [frame.index for frame in found["duplicates"].frames] == [1, 2, 3, 4]
    assert set(found) == {"duplicates"}


def one_off(atoms, shift):
    copy = labelled(atoms)
    return labelled(copy, energy=copy.get_potential_energy() + shift * len(atoms))


@pytest.mark.parametrize("shift", [0.01, -1.0])
def test_one_crystal_with_two_energies_is_a_contradiction_without_any_other(shift, tmp_path):
    crystal = bulk("Cu", cubic=True)
    found = alarms(audited(tmp_path, [*[labelled(crystal)] * 4, one_off(crystal, shift)]))
    assert [frame.index for frame in found["contradicting_labels"].frames] == [4]
    assert f"{1000 * abs(shift):.1f} meV/atom apart" in found["contradicting_labels"].evidence
    assert [frame.index for frame in found["duplicates"].frames] == [1, 2, 3]


@pytest.mark.parametrize("copied", [labelled, turned], ids=["as it is", "turned"])
def test_copies_among_cells_of_one_atom_are_found(copied, tmp_path):
    """One atom cannot be displaced against others: only its cell says how far frames differ."""
    crystals = [bulk("Cu", a=a) for a in np.linspace(3.4, 3.9, 21)]
    frames = [labelled(atoms) for atoms in crystals]
    frames += [copied(crystals[3]), one_off(copied(crystals[8]), 0.5)]
    report = audited(tmp_path, frames)
    found = {
        finding.kind: [frame.index for frame in finding.frames] for finding in report.findings
    }
    assert found["contradicting_labels"] == [22]
    assert found["duplicates" if copied is labelled else "equivalent"] == [21]


def test_a_copy_is_found_beside_many_of_a_nearer_one(tmp_path):
    """More equal frames than neighbours that are looked at hide none."""
    frames = copper(20)
    many = [turned(frames[3]) for _ in range(15)]
    test = saved(tmp_path / "test.xyz", [*many, labelled(frames[3])])
    leakage = alarms(audited(tmp_path, [*frames, *[labelled(frames[3])] * 15], against=test))
    assert leakage["leakage"].count == 16


def test_a_sample_that_varies_by_rounding_only_gives_no_direction_to_it():
    basis = Basis((29,), 5.0, 2.0)
    rng = np.random.default_rng(0)
    crystals = [bulk("Cu", cubic=True).repeat(2) for _ in range(12)]
    for atoms in crystals:
        # Positions with five decimals, as OUTCAR prints them.
        atoms.positions += rng.uniform(-5e-6, 5e-6, size=atoms.positions.shape)
    signatures = Whitening.of(basis, crystals).of_structures(crystals)
    assert np.abs(signatures).max() < 1e-6
