"""Two magnetic states of one crystal are two labels, and older caches are still read."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from stored_labels import LEVEL, label_of

from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.labelling.store.moments import NONE, label_key, magnetic_state
from entrove.structures import content_hash

FERRO, ANTI = [2.2, 2.2], [2.2, -2.2]


def iron(moments=None) -> Atoms:
    atoms = bulk("Fe", "bcc", a=2.86, cubic=True)
    atoms.positions[1] += 0.05
    atoms.set_initial_magnetic_moments(moments)  # ASE gives its iron some
    return atoms


def test_states_differ_by_more_than_order_images_overturning_and_decimals():
    rng = np.random.default_rng(0)
    large = iron(ANTI) * (2, 1, 1)
    states = {magnetic_state(large)}
    for _ in range(5):
        same = large[rng.permutation(len(large))]
        same.positions += rng.integers(-2, 3, (len(same), 3)) @ same.cell.array
        moments = same.get_initial_magnetic_moments() * rng.choice([-1, 1])
        same.set_initial_magnetic_moments(moments * rng.uniform(0.95, 1.05))
        states.add(magnetic_state(same))
    assert len(states) == 1
    assert magnetic_state(iron(FERRO)) != magnetic_state(iron(ANTI))
    assert magnetic_state(iron()) == magnetic_state(iron([0, 0])) == NONE
    assert magnetic_state(iron([0.1, 0.1])) != NONE
    ended = iron()
    ended.calc = SinglePointCalculator(ended, energy=0.0, magmoms=[2.24, -2.21])
    assert magnetic_state(ended) == magnetic_state(iron(ANTI))


def test_two_states_of_one_crystal_are_two_labels(tmp_path: Path):
    with LabelCache(tmp_path / "labels.db") as cache:
        for moments, energy in ((FERRO, -8.2), (ANTI, -7.7), (None, -7.1)):
            atoms = iron(moments)
            assert cache.get(atoms, LEVEL) is None
            cache.put(atoms, replace(label_of(atoms), energy_eV=energy), LEVEL)
        for moments, energy in ((FERRO, -8.2), (ANTI, -7.7), (None, -7.1), ([-2.2, -2.2], -8.2)):
            assert cache.get(iron(moments), LEVEL).energy_eV == energy
        assert len(cache.states()) == 3
        # They are computed side by side, too.
        keys = {label_key(content_hash(iron()), magnetic_state(iron(m))) for m in (FERRO, ANTI)}
        assert all(cache.claim(key, LEVEL) for key in keys)
        assert len(keys) == 2


def as_schema_2(path: Path) -> None:
    """Take the magnetic state out of a cache, as caches before schema 3 were."""
    with sqlite3.connect(path) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(labels)")]
        names.remove("moments")
        columns = ", ".join(names)
        connection.execute("DROP INDEX labels_by_formula")
        connection.execute(f"CREATE TABLE older AS SELECT {columns} FROM labels")
        connection.execute("DROP TABLE labels")
        connection.execute("ALTER TABLE older RENAME TO labels")
        connection.execute("CREATE INDEX labels_by_formula ON labels (level_hash, formula)")
        connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.mark.parametrize("asked_first", [FERRO, None])
def test_a_label_of_an_older_cache_is_of_the_state_that_is_asked_for_first(
    tmp_path: Path, asked_first
):
    path = tmp_path / "labels.db"
    with LabelCache(path) as cache:
        cache.put(iron(FERRO), replace(label_of(iron()), energy_eV=-8.2), LEVEL)
        before = cache.states()
    as_schema_2(path)
    with LabelCache(path) as cache:
        assert cache.states() == before
        assert cache.get(iron(asked_first), LEVEL).energy_eV == -8.2
        assert cache.get(iron(ANTI), LEVEL) is None
        assert cache.get(iron(asked_first), LEVEL).energy_eV == -8.2
    with LabelCache(path) as cache:  # it is kept
        assert cache.get(iron(ANTI), LEVEL) is None


def test_imports_have_the_state_that_their_file_says_or_any(tmp_path: Path):
    frames = []
    for magmoms, energy in (([2.2, 2.2], -8.2), ([2.1, -2.1], -7.7)):
        atoms = iron()
        forces = np.array([[0.1, 0, 0], [-0.1, 0, 0]])
        atoms.calc = SinglePointCalculator(
            atoms, energy=energy, forces=forces, stress=np.zeros(6), magmoms=magmoms
        )
        frames.append(atoms)
    write(tmp_path / "both.xyz", frames, format="extxyz")
    silent = iron()
    silent.positions[1] += 0.1
    silent.calc = SinglePointCalculator(silent, energy=-8.0, forces=forces, stress=np.zeros(6))
    write(tmp_path / "silent.xyz", silent, format="extxyz")
    with LabelCache(tmp_path / "labels.db") as cache:
        assert import_labels(tmp_path / "both.xyz", LEVEL, cache).stored == 2
        assert import_labels(tmp_path / "both.xyz", LEVEL, cache).known == 2
        assert cache.get(iron(FERRO), LEVEL).energy_eV == -8.2
        assert cache.get(iron(ANTI), LEVEL).energy_eV == -7.7
        import_labels(tmp_path / "silent.xyz", LEVEL, cache)
        for moments in (FERRO, ANTI, None):
            asked = silent.copy()
            asked.set_initial_magnetic_moments(moments)
            assert cache.get(asked, LEVEL).energy_eV == -8.0
