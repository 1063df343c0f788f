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

from entrove.errors import LabelError
from entrove.labelling.attempt import AttemptFolder, AttemptResult
from entrove.labelling.config import LabellingConfig
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import claim_folder
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.labelling.store.listing import list_states, release_quarantined, unfinished_structures
from entrove.labelling.store.moments import NONE, UNKNOWN, key_of, label_key, magnetic_state
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
        assert cache.states() == [replace(state, moments=UNKNOWN) for state in before]
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


def test_a_quarantined_state_is_listed_and_released_with_its_attempts(tmp_path: Path):
    work, path = tmp_path / "work", tmp_path / "labels.db"
    ferro, anti = iron(FERRO), iron(ANTI)
    with LabelCache(path) as cache:
        work.mkdir()
        claim_folder(work, LEVEL)
        for atoms, outcome in ((ferro, Outcome.CRASHED), (anti, Outcome.CONVERGED)):
            attempt = AttemptFolder.of(work, key_of(atoms)).next_folder()
            attempt.mkdir(parents=True)
            AttemptResult(outcome).write(attempt)
            cache.put(atoms, label_of(atoms, outcome=outcome), LEVEL)
        assert unfinished_structures(work, cache) == []
        assert {state.key for state in list_states(work, cache)} == {key_of(ferro), key_of(anti)}
        released = release_quarantined(work, cache)
        assert [state.key for state in released] == [key_of(ferro)]
        # It starts from its first attempt again; the other state keeps its label.
        assert AttemptFolder.of(work, key_of(ferro)).results() == []
        assert len(AttemptFolder.of(work, key_of(anti)).results()) == 1
        assert cache.get(ferro, LEVEL) is None
        assert cache.get(anti, LEVEL) is not None


def test_one_state_is_rejected_and_forgotten_alone(tmp_path: Path):
    structure = content_hash(iron())
    with LabelCache(tmp_path / "labels.db") as cache:
        for moments in (FERRO, ANTI):
            cache.put(iron(moments), label_of(iron(moments)), LEVEL)

        def outcomes() -> list[Outcome | None]:
            found = (cache.get(iron(moments), LEVEL) for moments in (FERRO, ANTI))
            return [None if label is None else label.outcome for label in found]

        cache.reject(structure, LEVEL, "too high", moments=magnetic_state(iron(ANTI)))
        assert outcomes() == [Outcome.CONVERGED, Outcome.REJECTED]
        assert not cache.forget_failure(structure, LEVEL, moments=magnetic_state(iron(FERRO)))
        assert cache.forget_failure(structure, LEVEL, moments=magnetic_state(iron(ANTI)))
        assert outcomes() == [Outcome.CONVERGED, None]
        with pytest.raises(LabelError, match="no label"):
            cache.reject(structure, LEVEL, "", moments=magnetic_state(iron(ANTI)))
        # Rows of datasets without moments may be those of a label that has them.
        cache.reject(structure, LEVEL, "too high", moments=NONE)
        assert outcomes() == [Outcome.REJECTED, None]


def test_what_is_labelled_is_what_was_asked_for_whatever_results_it_carries(tmp_path: Path):
    """Moments of earlier results are not those that a label starts from."""
    atoms = bulk("Cu", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, magmoms=np.ones(4))
    config = LabellingConfig.model_validate(
        {"engine": {"name": "ase", "calculator": "ase.calculators.emt:EMT"}}
    )
    with LabelCache(tmp_path / "labels.db") as cache:
        labeller = Labeller(config, cache, tmp_path / "work")
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        cache.put(bare, label_of(bare, labeller.level), labeller.level)
        [(_, label)] = labeller.label([atoms])
    assert label.converged
