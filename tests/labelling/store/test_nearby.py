"""Labels are found again after their structures went through files with few decimals."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from stored_labels import LEVEL, OTHER_LEVEL, label_of, salt

from entrove.labelling.labels import Label, Outcome
from entrove.labelling.store import nearby
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.nearby import (
    SAME_GEOMETRY_A,
    Geometries,
    NearbyStructures,
    match_atoms,
)
from entrove.structures import canonical_order, content_hash


def strained_salt(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = salt(seed)
    strain = np.eye(3) + 0.02 * rng.standard_normal((3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return atoms


def rounded_like_outcar(atoms: Atoms) -> Atoms:
    rounded = atoms.copy()
    rounded.set_cell(np.round(atoms.cell.array, 9))
    rounded.positions = np.round(atoms.positions, 5)
    return rounded


def rounded_like_espresso(atoms: Atoms) -> Atoms:
    alat = atoms.cell.lengths()[0]
    rounded = atoms.copy()
    rounded.set_cell(np.round(atoms.cell.array / alat, 6) * alat)
    rounded.positions = np.round(atoms.positions / alat, 7) * alat
    return rounded


def imported(atoms: Atoms, cache: LabelCache, **changes: object) -> Label:
    number = cache.add_import(LEVEL, "/data/labels.xyz", "")
    changed: dict = {"attempts": 0, "import_id": number, **changes}
    return replace(label_of(atoms), **changed)


@pytest.mark.parametrize("round_", [rounded_like_outcar, rounded_like_espresso])
def test_an_imported_label_is_found_within_the_decimals_of_its_file(tmp_path: Path, round_):
    """In any order of atoms and any periodic images, each force with its atom."""
    rng = np.random.default_rng(3)
    with LabelCache(tmp_path / "labels.db") as cache:
        for seed in range(10):
            asked = strained_salt(seed)
            written = round_(asked)
            cache.put(written, imported(written, cache), LEVEL)
            asked = asked[rng.permutation(len(asked))]
            asked.positions += rng.integers(-5, 6, (len(asked), 3)) @ asked.cell.array
            for _ in range(2):  # the second time under its own content hash
                found = cache.get(asked, LEVEL)
                assert found is not None
                assert found.structure_hash == content_hash(asked)
                # Each force is the fractional coordinates of its atom.
                apart = found.forces_eV_per_A - asked.get_scaled_positions(wrap=True)
                np.testing.assert_allclose(apart - np.round(apart), 0.0, atol=1e-5)


@pytest.mark.parametrize("shift_A", [0.5, 0.9, 1.1, 2.0, 100.0])
def test_nothing_further_than_the_tolerance_is_taken_for_the_same(shift_A: float):
    atoms, moved = strained_salt(0), strained_salt(0)
    moved.positions[3, 1] += shift_A * SAME_GEOMETRY_A
    assert (match_atoms(atoms, moved) is not None) == (shift_A < 1)
    for changed in (
        Atoms(atoms.numbers[::-1], atoms.positions, cell=atoms.cell, pbc=True),
        Atoms(atoms.numbers, atoms.positions, cell=atoms.cell * (1 + 1e-4), pbc=True),
        Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=[True, True, False]),
        atoms[:-1],
    ):
        assert match_atoms(atoms, changed) is None


def test_only_imported_labels_of_the_level_are_found_by_geometry(tmp_path: Path):
    """What an engine computed was of exactly the structure that it was asked for."""
    asked = strained_salt(1)
    written = rounded_like_outcar(asked)
    with LabelCache(tmp_path / "labels.db") as cache:
        cache.put(written, label_of(written), LEVEL)
        assert cache.get(asked, LEVEL) is None
        other = strained_salt(2)
        cache.put(rounded_like_outcar(other), imported(rounded_like_outcar(other), cache), LEVEL)
        assert cache.get(other, OTHER_LEVEL) is None
        # An import by another process is seen.
        with LabelCache(tmp_path / "labels.db") as second:
            third = strained_salt(3)
            near = rounded_like_outcar(third)
            assert cache.get(third, LEVEL) is None
            second.put(near, imported(near, second), LEVEL)
        assert cache.get(third, LEVEL) is not None


def test_an_import_is_withdrawn_with_the_labels_that_were_found_by_it(tmp_path: Path):
    asked, stays = strained_salt(1), strained_salt(2)
    written = rounded_like_outcar(asked)
    with LabelCache(tmp_path / "labels.db") as cache:
        label = imported(written, cache)
        cache.put(written, label, LEVEL)
        cache.put(stays, imported(stays, cache), LEVEL)
        assert cache.get(asked, LEVEL) is not None
        assert [record.labels for record in cache.imports()] == [2, 1]
        gone = cache.withdraw_import(label.import_id)
        assert set(gone) == {content_hash(asked), content_hash(written)}
        assert cache.get(asked, LEVEL) is None
        assert cache.get(stays, LEVEL) is not None
        assert [record.labels for record in cache.imports()] == [1]


def test_a_cache_of_release_0_1_is_read_and_its_imports_can_be_withdrawn(tmp_path: Path):
    """Schema 1 had neither the table of imports nor the column that refers to it."""
    first, second, computed = bulk("Cu"), bulk("Ag"), bulk("Au")
    with LabelCache(tmp_path / "labels.db") as cache:
        for atoms, source in ((first, "a"), (second, "b")):
            label = imported(atoms, cache, folder=f"/data/{source}.xyz#7", import_id=None)
            cache.put(atoms, label, LEVEL)
        cache.put(computed, label_of(computed), LEVEL)
    with sqlite3.connect(tmp_path / "labels.db") as connection:
        connection.execute("DROP INDEX labels_by_formula")
        connection.execute("ALTER TABLE labels DROP COLUMN import_id")
        connection.execute("DROP TABLE imports")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with LabelCache(tmp_path / "labels.db") as cache:
        assert [(record.source, record.labels) for record in cache.imports()] == [
            ("/data/a.xyz", 1),
            ("/data/b.xyz", 1),
        ]
        cache.withdraw_import(cache.imports()[0].id)
        assert cache.get(first, LEVEL) is None
        assert cache.get(second, LEVEL) is not None
        assert cache.get(computed, LEVEL) is not None


def turned_copy(atoms: Atoms, rotation: np.ndarray, order: np.ndarray) -> Atoms:
    """The structure in another orientation, with its atoms in another order."""
    copy = atoms[order]
    copy.set_cell(atoms.cell.array @ rotation)
    copy.positions = atoms.positions[order] @ rotation
    return copy


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return rotation * np.sign(np.linalg.det(rotation))


def test_a_crystal_is_found_in_any_orientation_with_its_label_turned(tmp_path: Path):
    rng = np.random.default_rng(4)
    with LabelCache(tmp_path / "labels.db") as cache:
        for seed in range(8):
            atoms = strained_salt(seed)
            label = label_of(atoms)
            cache.put(atoms, label, LEVEL)
            rotation, order = random_rotation(rng), rng.permutation(len(atoms))
            asked = turned_copy(atoms, rotation, order)
            found = cache.find_turned(asked, LEVEL)
            assert found.structure_hash == content_hash(atoms)
            assert content_hash(found.atoms) == content_hash(atoms)
            assert cache.find(found.atoms, LEVEL).energy_eV == label.energy_eV
            # A label of this orientation is one of the stored structure.
            turned = replace(label.reordered(order).turned(rotation), structure_hash="of another")
            back = found.turn_back(turned).reordered(np.argsort(canonical_order(atoms)))
            np.testing.assert_allclose(back.forces_eV_per_A, label.forces_eV_per_A, atol=1e-9)
            np.testing.assert_allclose(back.stress_eV_per_A3, label.stress_eV_per_A3, atol=1e-9)
            assert back.structure_hash == content_hash(atoms)
            # The mirror image, another level and an atom elsewhere are other labels.
            assert cache.find_turned(turned_copy(atoms, -rotation, order), LEVEL) is None
            assert cache.find_turned(asked, OTHER_LEVEL) is None
            asked.positions[0, 0] += 0.01
            assert cache.find_turned(asked, LEVEL) is None


def structures_of_one_formula() -> list[Atoms]:
    """Snapshots in one cell, crystals that differ in their cells only, and molecules."""
    snapshots = [salt(seed) for seed in range(10)]
    perfect = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    cells = []
    for seed in range(5):
        strain = np.eye(3) + 0.02 * np.random.default_rng(seed).standard_normal((3, 3))
        strained = perfect.copy()
        strained.set_cell(perfect.cell.array @ strain, scale_atoms=True)
        cells.append(strained)
    molecules = [
        Atoms(snapshot.numbers, snapshot.positions, pbc=False) for snapshot in snapshots[:5]
    ]
    return snapshots + cells + molecules


def first_match(path: Path, asked: Atoms, *, turned: bool) -> str | None:
    """The folder of the first label that matches, among all rows of the cache."""

    def upright(atoms: Atoms) -> Atoms:
        if not turned:
            return atoms
        cell, rotation = atoms.cell.standard_form()
        return Atoms(atoms.numbers, atoms.positions @ rotation.T, cell=cell, pbc=atoms.pbc)

    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT folder, structure, import_id FROM labels WHERE outcome = 'converged' "
            "ORDER BY rowid"
        ).fetchall()
    connection.close()
    for folder, text, import_id in rows:
        atoms = Atoms(**json.loads(text))
        if (turned and not (asked.pbc.all() and atoms.pbc.all())) or (
            not turned and import_id is None
        ):
            continue
        if match_atoms(upright(asked), upright(atoms)) is not None:
            return folder
    return None


@pytest.mark.parametrize("seed", range(3))
def test_a_search_finds_what_a_search_of_all_rows_finds(tmp_path: Path, seed: int):
    """Whatever this process, or another one, has stored, replaced or removed before."""
    rng = np.random.default_rng(seed)
    structures, path = structures_of_one_formula(), tmp_path / "labels.db"
    found = 0
    with LabelCache(path) as one, LabelCache(path) as other:
        for step in range(80):
            cache = (one, other)[rng.integers(2)]
            atoms = structures[rng.integers(len(structures))]
            operation = rng.choice(["import", "replace", "compute", "fail", "reject", "withdraw"])
            if operation in ("import", "replace"):
                label = imported(atoms, cache, folder=str(step))
                cache.put(atoms, label, LEVEL, replacing=operation == "replace")
            elif operation in ("compute", "fail"):
                outcome = Outcome.CONVERGED if operation == "compute" else Outcome.CRASHED
                cache.put(atoms, replace(label_of(atoms, LEVEL, outcome), folder=str(step)), LEVEL)
            elif operation == "reject" and cache.states(LEVEL):
                state = cache.states(LEVEL)[-1]
                cache.reject(state.structure_hash, LEVEL, "on purpose")
                if rng.integers(2):
                    cache.forget_failure(state.structure_hash, LEVEL)
            elif operation == "withdraw" and cache.imports():
                cache.withdraw_import(cache.imports()[-1].id)
            asked = structures[rng.integers(len(structures))][rng.permutation(8)]
            asked.positions += 0.4 * SAME_GEOMETRY_A * rng.uniform(-1, 1, asked.positions.shape)
            asked.positions += rng.integers(-3, 4, (8, 3)) @ asked.cell.array
            askers = (one, other) if rng.integers(2) else (cache,)
            for asker in askers:
                label = asker.find(asked, LEVEL)
                expected = first_match(path, asked, turned=False)
                assert (label and label.folder) == expected
                found += label is not None
            rotation = random_rotation(rng) if asked.cell.rank == 3 else np.eye(3)
            turned = turned_copy(asked, rotation, np.arange(8))
            for asker in askers:
                stored = asker.find_turned(turned, LEVEL)
                label = None if stored is None else asker.find(stored.atoms, LEVEL)
                expected = first_match(path, turned, turned=True)
                assert (label and label.folder) == expected
                found += label is not None
    assert found > 5


def test_no_structure_within_the_tolerance_is_passed_over():
    """Each atom and each cell vector may be as far away as the tolerance allows."""
    rng = np.random.default_rng(5)
    with sqlite3.connect(":memory:") as connection:
        connection.execute(
            "CREATE TABLE labels (level_hash, formula, outcome, structure_hash, structure, "
            "import_id, moments)"
        )
        for number, atoms in enumerate(structures_of_one_formula()):
            structure = {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.array.tolist(),
                "pbc": atoms.pbc.tolist(),
            }
            connection.execute(
                "INSERT INTO labels VALUES ('level', ?, 'converged', ?, ?, 1, '')",
                (atoms.get_chemical_formula(), str(number), json.dumps(structure)),
            )
        nearby = NearbyStructures(connection)
        for number, atoms in enumerate(structures_of_one_formula()):
            for _ in range(20):
                asked = atoms.copy()
                strained = atoms.cell.array + SAME_GEOMETRY_A * rng.choice([-0.999, 0.999], (3, 3))
                if atoms.cell.rank == 3:
                    asked.set_cell(strained, scale_atoms=True)
                away = rng.standard_normal((8, 3))
                away *= 0.999 * SAME_GEOMETRY_A / np.linalg.norm(away, axis=1)[:, None]
                asked.positions += away
                assert match_atoms(asked, atoms) is not None
                match = nearby.find(asked, "level", "")
                assert match is not None
                assert match.structure_hash == str(number)
    connection.close()


def test_a_search_among_many_finds_what_one_by_one_finds():
    """Of 300 cells of one formula, those that went through a file; and nothing that is close."""
    rng = np.random.default_rng(5)
    cell = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    held_out = []
    for _ in range(300):
        atoms = cell.copy()
        atoms.rattle(0.05, rng=rng)
        held_out.append(atoms)
    asked = [atoms.copy() for atoms in held_out[:20]]
    for number, atoms in enumerate(asked):
        atoms.positions += rng.uniform(-0.4, 0.4, atoms.positions.shape) * SAME_GEOMETRY_A
        atoms.positions[0] += (0 if number % 2 else 10) * SAME_GEOMETRY_A
        atoms.positions[1] += atoms.cell[number % 3]  # another periodic image
    asked += [cell, bulk("Cu")]
    known = Geometries(held_out)
    found = [known.have(atoms) for atoms in asked]
    assert found == [
        any(match_atoms(atoms, other) is not None for other in held_out) for atoms in asked
    ]
    assert found == [number % 2 == 1 for number in range(20)] + [False, False]


def test_the_time_of_a_search_does_not_grow_with_the_structures(monkeypatch):
    """Structures are compared atom by atom only where a few numbers of them agree."""
    compared = []
    monkeypatch.setattr(
        nearby,
        "match_atoms",
        lambda atoms, other: compared.append(other) or match_atoms(atoms, other),
    )
    structures = []
    for seed in range(400):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.08, rng=np.random.default_rng(seed))
        structures.append(atoms)
    known = Geometries(structures[:200])
    assert sum(known.have(atoms) for atoms in structures) == 200
    assert len(compared) <= 210
