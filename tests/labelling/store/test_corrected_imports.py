"""A corrected import takes the place of the wrong one, wherever the wrong label is found."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from stored_labels import LEVEL

from entrove.errors import LabelError
from entrove.formats import write_frames
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import ImportReport, import_labels
from entrove.structures import copy_structure

WRONG_EV, RIGHT_EV = -10.0, -12.0
DECIMALS = (5, 6, 8)
MOMENTS = {"none": None, "zeros": 0.0, "two": 2.0}


def copper(decimals: int, seed: int = 0) -> Atoms:
    """One structure, as files with so many decimals have it."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    atoms.positions = atoms.positions.round(decimals)
    return atoms


def labelled(
    atoms: Atoms, energy_eV: float, *, stress: bool = True, moment: float | None = None
) -> Atoms:
    """The structure with forces and a stress that tell atoms and directions apart."""
    forces = np.array([[0.3, 0.2, 0.1], [-0.1, 0.1, 0.2], [-0.2, -0.3, 0.0], [0.0, 0.0, -0.3]])
    results: dict = {"energy": energy_eV, "forces": forces}
    if stress:
        results["stress"] = 1e-3 * np.arange(1.0, 7.0)
    if moment is not None:
        results["magmoms"] = np.full(len(atoms), moment)
    return with_results(atoms, results)


def with_results(atoms: Atoms, results: dict) -> Atoms:
    atoms = copy_structure(atoms)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def in_state(atoms: Atoms, moment: float | None) -> Atoms:
    """The structure as a campaign asks for it, which says its moments at the start."""
    atoms = copy_structure(atoms)
    if moment:
        atoms.set_initial_magnetic_moments(np.full(len(atoms), moment))
    return atoms


def import_frames(
    path: Path, frames: list[Atoms], cache: LabelCache, *, replacing: bool = False
) -> ImportReport:
    write_frames(path, frames)
    return import_labels(path, LEVEL, cache, replacing=replacing)


def energy_of(cache: LabelCache, atoms: Atoms) -> float | None:
    label = cache.get(atoms, LEVEL)
    return None if label is None else label.energy_eV


@pytest.mark.parametrize("asked_before", [True, False])
@pytest.mark.parametrize(("wrong", "right"), [*product(DECIMALS, DECIMALS)])
def test_a_corrected_label_is_found_for_any_decimals(
    tmp_path: Path, wrong: int, right: int, asked_before: bool
):
    """The first three were asked for while the wrong label was known, and kept under a name."""
    geometries = [copper(decimals) for decimals in (*DECIMALS, wrong, right)]
    with LabelCache(tmp_path / "labels.db") as cache:
        import_frames(tmp_path / "wrong.xyz", [labelled(copper(wrong), WRONG_EV)], cache)
        if asked_before:
            assert [energy_of(cache, atoms) for atoms in geometries] == [WRONG_EV] * 5
        report = import_frames(
            tmp_path / "right.xyz", [labelled(copper(right), RIGHT_EV)], cache, replacing=True
        )
        assert (report.stored, report.replaced) == (0, 1)
        assert len(list(cache.labelled_structures(LEVEL))) == 1
        assert [energy_of(cache, atoms) for atoms in geometries] == [RIGHT_EV] * 5
        assert cache.imports()[0].labels == 0
        # And another process finds the same.
        with LabelCache(tmp_path / "labels.db") as other:
            assert [energy_of(other, atoms) for atoms in geometries] == [RIGHT_EV] * 5


def test_what_an_engine_computed_stays(tmp_path: Path):
    """It is of exactly its structure, and no correction of a file concerns it."""
    asked = copper(8)
    with LabelCache(tmp_path / "labels.db") as cache:
        import_frames(tmp_path / "wrong.xyz", [labelled(copper(5), WRONG_EV)], cache)
        imported = cache.get(asked, LEVEL)
        assert imported is not None
        computed = replace(imported, energy_eV=-11.0, import_id=None, attempts=1)
        cache.put(asked, computed, LEVEL, replacing=True)
        frames = [labelled(copper(5), RIGHT_EV)]
        assert import_frames(tmp_path / "right.xyz", frames, cache, replacing=True).replaced == 1
        assert energy_of(cache, asked) == -11.0
        assert energy_of(cache, copper(5)) == RIGHT_EV


def turned(atoms: Atoms, rng: np.random.Generator, decimals: int) -> Atoms:
    """A labelled crystal in another orientation and order, as a file with so many decimals."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    order = rng.permutation(len(atoms))
    copy = copy_structure(atoms)[order]
    copy.set_cell(atoms.cell.array @ rotation)
    copy.positions = (atoms.positions[order] @ rotation).round(decimals)
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces()[order] @ rotation,
    }
    if "stress" in atoms.calc.results:
        stress = rotation.T @ voigt_6_to_full_3x3_stress(atoms.get_stress()) @ rotation
        results["stress"] = full_3x3_to_voigt_6_stress(stress)
    return with_results(copy, results)


@pytest.mark.parametrize("in_another_orientation", [True, False])
@pytest.mark.parametrize("replacing", [True, False])
@pytest.mark.parametrize(("bare", "full"), [*product(DECIMALS, DECIMALS)])
def test_a_later_file_adds_its_stress_for_any_decimals_and_orientation(
    tmp_path: Path,
    bare: int,
    full: int,
    replacing: bool,
    in_another_orientation: bool,
):
    """With a wrong energy in the first file it is the corrected label that has the stress."""
    rng = np.random.default_rng(7)
    before_eV = WRONG_EV if replacing else RIGHT_EV
    first = labelled(copper(bare), before_eV, stress=False)
    right = labelled(copper(full), RIGHT_EV)
    second = turned(right, rng, full) if in_another_orientation else right
    geometries = [copper(decimals) for decimals in (*DECIMALS, bare, full)]
    with LabelCache(tmp_path / "labels.db") as cache:
        import_frames(tmp_path / "md.xyz", [first], cache)
        assert [energy_of(cache, atoms) for atoms in geometries] == [before_eV] * 5
        report = import_frames(tmp_path / "full.xyz", [second], cache, replacing=replacing)
        assert (report.stored, report.known, report.replaced) == (0, 0, 1)
        said = " ".join(report.conventions)
        assert "without stress" not in said
        assert "not stored again" not in said
        for atoms in geometries:
            label = cache.get(atoms, LEVEL)
            assert label is not None
            assert label.energy_eV == RIGHT_EV
            np.testing.assert_allclose(label.forces_eV_per_A, right.get_forces(), atol=1e-12)
            stress = voigt_6_to_full_3x3_stress(right.get_stress())
            np.testing.assert_allclose(label.stress_eV_per_A3, stress, atol=1e-12)
        again = import_frames(tmp_path / "full.xyz", [second], cache, replacing=replacing)
        assert (again.stored, again.known, again.replaced) == (0, 1, 0)
        assert ("another orientation" in " ".join(again.conventions)) == in_another_orientation


@pytest.mark.parametrize(("first", "second"), [*product(MOMENTS, MOMENTS)])
def test_a_correction_concerns_the_labels_of_its_magnetic_state(
    tmp_path: Path, first: str, second: str
):
    """A file without moments may mean any state: what says its moments and has them stays."""
    replaced = (first, second) not in {("zeros", "two"), ("two", "zeros"), ("two", "none")}
    with LabelCache(tmp_path / "labels.db") as cache:
        wrong = labelled(copper(5), WRONG_EV, moment=MOMENTS[first])
        import_frames(tmp_path / "wrong.xyz", [wrong], cache)
        for atoms, moment in product((copper(5), copper(8)), (None, 2.0)):
            served = first == "none" or bool(MOMENTS[first]) == bool(moment)
            assert energy_of(cache, in_state(atoms, moment)) == (WRONG_EV if served else None)
        right = labelled(copper(8), RIGHT_EV, moment=MOMENTS[second])
        report = import_frames(tmp_path / "right.xyz", [right], cache, replacing=True)
        assert (report.stored, report.replaced) == (not replaced, replaced)
        for atoms in (copper(5), copper(8)):
            assert energy_of(cache, in_state(atoms, MOMENTS[second])) == RIGHT_EV
            others = {energy_of(cache, in_state(atoms, moment)) for moment in (None, 2.0)}
            assert (WRONG_EV in others) == (not replaced)
            if not replaced:
                assert energy_of(cache, in_state(atoms, MOMENTS[first])) == WRONG_EV
        assert (cache.imports()[0].labels == 0) == replaced


def test_a_file_corrects_no_label_of_its_own(tmp_path: Path):
    """Whether its first frame was new or has corrected an earlier import."""
    twice = [labelled(copper(8), energy_eV) for energy_eV in (RIGHT_EV, -14.0)]
    with LabelCache(tmp_path / "labels.db") as cache:
        import_frames(tmp_path / "wrong.xyz", [labelled(copper(5), WRONG_EV)], cache)
        report = import_frames(tmp_path / "twice.xyz", twice, cache, replacing=True)
        assert (report.stored, report.replaced) == (0, 1)
        (refused,) = report.refused
        assert refused.index == 1
        assert "energy by -2 eV" in refused.cause
        assert "of the same import" in refused.cause
        assert "--replace" not in refused.cause
        assert energy_of(cache, copper(8)) == RIGHT_EV


def write_runs(folder: Path, energies_eV: list[float], seeds: list[int]) -> Path:
    """A tree of single-point calculations, one file each."""
    for number, (energy_eV, seed) in enumerate(zip(energies_eV, seeds, strict=True)):
        run = folder / f"run-{number}"
        write_frames(run, [labelled(copper(8, seed), energy_eV)], "deepmd-npy")
    return folder


def test_what_is_refused_in_a_folder_is_named_with_its_file(tmp_path: Path):
    runs = write_runs(tmp_path / "runs", [-10.0, -10.0, -10.0], [0, 1, 2])
    (forces,) = (runs / "run-1").rglob("force.npy")
    np.save(forces, np.load(forces) + 5.0)
    with LabelCache(tmp_path / "labels.db") as cache:
        report = import_labels(runs, LEVEL, cache)
        assert report.stored == 2
        (refused,) = report.refused
        assert (refused.source, refused.index) == ("run-1/Cu4", 0)
        assert refused.where == "run-1/Cu4: structure 0"
        assert "do not sum to zero" in refused.cause
        # A label that contradicts a known one names the file of that, too.
        other = write_runs(tmp_path / "other", [-11.0, -10.0], [2, 3])
        (refused,) = import_labels(other, LEVEL, cache).refused
        assert refused.where == "run-0/Cu4: structure 0"
        assert f"structure 0 of {runs / 'run-2' / 'Cu4'} (import 1)" in refused.cause
        nothing = write_runs(tmp_path / "nothing", [-11.0], [2])
        with pytest.raises(
            LabelError, match=r"all usable labels.*run-0/Cu4: structure 0: its values"
        ):
            import_labels(nothing, LEVEL, cache)
        alone = tmp_path / "alone.xyz"
        frames = [labelled(copper(8, 4), -10.0), labelled(copper(8, 2), -11.0)]
        (refused,) = import_frames(alone, frames, cache).refused
        assert (refused.source, refused.where) == ("", "structure 1")
