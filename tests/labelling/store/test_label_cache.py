import json
import os
import resource
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from stored_labels import LEVEL, OTHER_LEVEL, label_of, salt

from entrove.errors import LabelError
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.cache_schema import network_filesystem
from entrove.structures import content_hash


@pytest.mark.parametrize("seed", range(5))
def test_a_label_is_found_for_any_atom_order_and_any_periodic_image(tmp_path: Path, seed: int):
    atoms = salt(seed)
    rng = np.random.default_rng(seed)
    with LabelCache(tmp_path / "labels.db") as cache:
        cache.put(atoms, label_of(atoms), LEVEL)
        for _ in range(20):
            asked = atoms[rng.permutation(len(atoms))]
            asked.positions += rng.integers(-40, 41, (len(atoms), 3)) @ atoms.cell.array
            found = cache.get(asked, LEVEL)
            assert found is not None
            # Each force names its atom by its fractional coordinates; images differ by rounding.
            fractions = asked.get_scaled_positions(wrap=True)
            distance = found.forces_eV_per_A - fractions
            np.testing.assert_allclose(distance - np.round(distance), 0.0, atol=1e-10)


def test_perfect_crystals_have_one_hash_however_they_are_wrapped(tmp_path: Path):
    # Atoms at quarters of the cell are where rounding is most fragile.
    for steps in range(40):
        atoms = bulk("Si", "diamond", a=5.43 + 1e-5 * steps, cubic=True)
        moved = atoms[::-1]
        moved.positions += np.array([3, -2, 7]) @ atoms.cell.array
        assert content_hash(moved) == content_hash(atoms)


def test_labels_survive_closing_exactly(tmp_path: Path):
    atoms = salt(0)
    label = label_of(atoms)
    with LabelCache(tmp_path / "labels.db") as cache:
        cache.put(atoms, label, LEVEL)
    with LabelCache(tmp_path / "labels.db") as cache:
        found = cache.get(atoms, LEVEL)
        labelled = next(iter(cache.labelled_structures(LEVEL)))
    assert found is not None
    np.testing.assert_array_equal(found.forces_eV_per_A, label.forces_eV_per_A)
    np.testing.assert_array_equal(found.stress_eV_per_A3, label.stress_eV_per_A3)
    assert found.energy_eV == label.energy_eV
    assert content_hash(labelled) == label.structure_hash
    assert labelled.get_potential_energy() == label.energy_eV


def test_levels_of_theory_do_not_see_each_other(tmp_path: Path):
    atoms = salt(0)
    with LabelCache(tmp_path / "labels.db") as cache:
        cache.put(atoms, label_of(atoms), LEVEL)
        assert cache.get(atoms, OTHER_LEVEL) is None
        with pytest.raises(LabelError, match="cannot be stored at"):
            cache.put(atoms, label_of(atoms, LEVEL), OTHER_LEVEL)


def test_a_converged_label_is_never_overwritten_but_a_failure_is(tmp_path: Path):
    atoms = salt(0)
    with LabelCache(tmp_path / "labels.db") as cache:
        cache.put(atoms, label_of(atoms, outcome=Outcome.TIMED_OUT), LEVEL)
        cache.put(atoms, label_of(atoms), LEVEL)
        cache.put(atoms, label_of(atoms, outcome=Outcome.CRASHED), LEVEL)
        assert [state.outcome for state in cache.states()] == [Outcome.CONVERGED]
        assert not cache.forget_failure(content_hash(atoms), LEVEL)


def test_a_quarantined_label_has_nothing_to_attach(tmp_path: Path):
    atoms = salt(0)
    with LabelCache(tmp_path / "labels.db") as cache:
        cache.put(atoms, label_of(atoms), LEVEL)
        cache.reject(content_hash(atoms), LEVEL, "its energy is absurd")
        found = cache.get(atoms, LEVEL)
        assert found is not None
        with pytest.raises(LabelError, match="its energy is absurd"):
            found.attach(atoms)
        with pytest.raises(LabelError, match="holds no label of structure unknown"):
            cache.reject("unknown", LEVEL, "")


def test_campaigns_share_one_file_at_the_same_time(tmp_path: Path):
    path = tmp_path / "labels.db"
    script = (
        "from stored_labels import *; store_many(Path({path!r}), range({start}, {start} + 20))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script.format(path=str(path), start=start)])
        for start in (0, 10, 20)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    with LabelCache(path) as cache:
        assert len(cache.states()) == 40


def test_a_locked_file_is_a_clear_error_and_works_afterwards(tmp_path: Path):
    path = tmp_path / "labels.db"
    atoms = salt(0)
    with LabelCache(path, busy_timeout_s=0.1) as cache:
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            LabelError, match="another process keeps it locked; wait for that process"
        ):
            cache.put(atoms, label_of(atoms), LEVEL)
        locker.execute("ROLLBACK")
        locker.close()
        cache.put(atoms, label_of(atoms), LEVEL)
        assert cache.get(atoms, LEVEL) is not None


def test_foreign_damaged_and_newer_files_are_refused_and_left_alone(tmp_path: Path):
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(LabelError, match="is a database of another program"):
        LabelCache(foreign)

    text = tmp_path / "text.db"
    text.write_text("this is a shopping list " * 100)
    with pytest.raises(LabelError, match="it is no label cache; move it away"):
        LabelCache(text)
    assert text.read_text().startswith("this is a shopping list")

    newer = tmp_path / "newer.db"
    LabelCache(newer).close()
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(LabelError, match="was written by a newer Entrove"):
        LabelCache(newer)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(LabelError, match=r"label cache .*file/labels\.db"):
        LabelCache(tmp_path / "file" / "labels.db")


_FILL = """
import json, resource, signal
from entrove.errors import LabelError
from stored_labels import LEVEL, LabelCache, label_of, salt

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
stored = 0
try:
    with LabelCache({path!r}) as cache:
        for seed in range(10_000):
            atoms = salt(seed, 4)
            cache.put(atoms, label_of(atoms), LEVEL)
            stored += 1
except LabelError as error:
    print(json.dumps([stored, str(error)]))
"""


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path: Path):
    """The limit on the size of files stands for the disk: SQLite gets the same write error."""
    path = tmp_path / "labels.db"
    script = _FILL.format(path=str(path))
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    stored, message = json.loads(finished.stdout)
    assert stored > 10
    assert "the disk" in message
    assert "finished labels are kept" in message
    with LabelCache(path) as cache:
        assert len(cache.states()) == stored
        atoms = salt(stored, 4)
        cache.put(atoms, label_of(atoms), LEVEL)
        assert len(cache.states()) == stored + 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path):
    """Run as the user 'nobody' (65534), who may read the file and not write it."""
    path = tmp_path / "labels.db"
    LabelCache(path).close()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chmod(tmp_path, 0o755)
        os.setuid(65534)
        try:
            LabelCache(path)
        except LabelError as error:
            os._exit(0 if "check" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"engine_version": "6.4.2"}, True),
        ({"engine_version": "6.5.0"}, False),
        ({"engine_version": "imported from ours.xyz", "attempts": 0}, True),
        ({"engine_version": "6.4.2", "outcome": Outcome.CRASHED}, False),
    ],
)
def test_labels_from_before_versions_counted_are_found_where_their_own_version_fits(
    tmp_path: Path, changes: dict, found: bool
):
    atoms = salt(0)
    level = LevelOfTheory("test", '{"program_version":"6.4.2","setting":1}')
    assert level.without_version() == LEVEL
    with LabelCache(tmp_path / "labels.db") as cache:
        cache.put(atoms, replace(label_of(atoms), **changes), LEVEL, electrons=7, kpoints=3)
        label = cache.get(atoms[::-1], level)
        assert (label is not None) == found
        if label is None:
            return
        assert label.level_of_theory == level.hash
        assert cache.engine_versions(level) == cache.engine_versions(LEVEL)
        assert len(cache.costs(level)) == 1  # one calculation, though it is known twice
        cache.reject(content_hash(atoms), level, "on purpose")
        rejected, kept = cache.get(atoms, level), cache.get(atoms, LEVEL)
        assert rejected is not None
        assert kept is not None
        assert (rejected.outcome, kept.outcome) == (Outcome.REJECTED, Outcome.CONVERGED)


@pytest.mark.parametrize(
    ("kind", "is_network"),
    [
        ("ext4", False),
        ("overlay", False),
        ("fuse.glusterfs", True),
        ("wekafs", True),
        ("9p", True),
        ("fuse.ceph-fuse", True),
        ("beegfs", True),
        ("gpfs", True),
        ("lustre", True),
        ("nfs4", True),
    ],
)
def test_network_file_systems_are_known_as_linux_spells_them(tmp_path, kind, is_network):
    """Lines as of `/proc/mounts`; the innermost mount counts."""
    other = "ext4" if is_network else "nfs4"
    mounts = tmp_path / "mounts"
    folder = tmp_path / "my cache"
    shown = str(folder).replace(" ", "\\040")
    mounts.write_text(
        f"/dev/sda1 / {other} rw,relatime 0 0\n"
        f"server:/volume {shown} {kind} rw,relatime,user_id=0 0 0\n"
        f"x {folder}-2 {other} rw 0 0\n"
    )
    assert network_filesystem(folder / "labels.sqlite", mounts) == is_network
    assert network_filesystem(tmp_path / "labels.sqlite", mounts) != is_network
    assert not network_filesystem(folder, tmp_path / "no file")
