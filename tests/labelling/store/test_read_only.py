"""A cache that is opened to be read changes nothing, and finds what one that is written finds."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from stored_labels import LEVEL, label_of, salt

from entrove.errors import LabelError
from entrove.labelling.store import cache_schema
from entrove.labelling.store.cache import LabelCache
from unchanged import unchanged


def energies(path: Path) -> list[float | None]:
    """Energies of three structures, the last of which has no label."""
    with LabelCache(path, read_only=True) as cache:
        labels = [cache.get(salt(seed), LEVEL) for seed in range(3)]
        assert len(cache.states(LEVEL)) == sum(label is not None for label in labels)
    return [None if label is None else label.energy_eV for label in labels]


@pytest.fixture(params=["WAL", "DELETE"])
def path(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as it is on this machine, and as it is on a network file system."""
    is_network = request.param == "DELETE"
    monkeypatch.setattr(cache_schema, "network_filesystem", lambda _: is_network)
    path = tmp_path / "cache" / "labels.db"
    with LabelCache(path) as cache:
        for seed in range(2):
            cache.put(salt(seed), label_of(salt(seed)), LEVEL)
    return path


def test_reading_writes_nothing(path: Path):
    with unchanged(path.parent):
        assert energies(path) == [-1.0, -1.0, None]


def test_what_another_process_has_just_written_is_read(path: Path):
    with LabelCache(path) as writer:
        writer.put(salt(2), label_of(salt(2)), LEVEL)
        assert energies(path) == [-1.0, -1.0, -1.0]


def test_a_label_that_a_killed_process_left_in_the_log_is_read(tmp_path: Path):
    with LabelCache(tmp_path / "labels.db") as writer:
        writer.put(salt(0), label_of(salt(0)), LEVEL)
        left = tmp_path / "left"
        left.mkdir()
        for name in ("labels.db", "labels.db-wal"):
            shutil.copy(tmp_path / name, left)
    assert energies(left / "labels.db") == [-1.0, None, None]


def test_a_cache_that_is_missing_holds_nothing_and_is_not_made(tmp_path: Path):
    with unchanged(tmp_path):
        assert energies(tmp_path / "nowhere" / "labels.db") == [None, None, None]


def test_an_older_cache_is_read_as_it_is(path: Path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(labels)")]
    older = ", ".join(name for name in columns if name != "moments")
    connection.execute(f"CREATE TABLE older AS SELECT {older} FROM labels")
    connection.execute("DROP TABLE labels")
    connection.execute("ALTER TABLE older RENAME TO labels")
    connection.commit()
    connection.close()
    with unchanged(path.parent):
        assert energies(path) == [-1.0, -1.0, None]


def test_nothing_is_stored_and_foreign_files_are_refused(path: Path):
    with (
        unchanged(path.parent),
        LabelCache(path, read_only=True) as cache,
        pytest.raises(LabelError, match="it was opened to be read only"),
    ):
        cache.put(salt(2), label_of(salt(2)), LEVEL)
    foreign = path.with_name("foreign.db")
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(LabelError, match="is a database of another program"):
        LabelCache(foreign, read_only=True)
    foreign.write_text("this is a shopping list " * 100)
    with pytest.raises(LabelError, match="it is no label cache; move it away"):
        LabelCache(foreign, read_only=True)
