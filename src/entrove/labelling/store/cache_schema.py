"""The tables of the label cache, and what SQLite's errors mean to a user."""

import os
import sqlite3
from pathlib import Path

from entrove.database_errors import find_remedy
from entrove.errors import LabelError
from entrove.labelling.store import claims, import_records
from entrove.labelling.store.moments import UNKNOWN

SCHEMA_VERSION = 3
APPLICATION_ID = 0x454E5452
"""Marks the file as Entrove's ('ENTR'), in SQLite's own header."""

NETWORK_FILESYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs"),
        *("lustre", "gpfs", "beegfs", "fhgfs", "wekafs", "panfs", "pvfs2", "orangefs"),
        *("ceph", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "glusterfs"),
        *("gfs2", "ocfs2", "9p", "virtiofs"),
        *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.juicefs", "fuse.moosefs"),
    }
)
"""Kinds as /proc/mounts spells them, in which machines share no memory of a file.

Disks of clusters (gfs2, ocfs2) and folders that a host gives to its guest are such, too.
"""

_LABELS = """
CREATE TABLE {name} (
    structure_hash TEXT NOT NULL,
    level_hash TEXT NOT NULL REFERENCES levels (hash),
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    folder TEXT NOT NULL,
    energy REAL,             -- eV
    forces BLOB,             -- eV/A, float64, canonical atom order
    stress BLOB,             -- eV/A^3, float64, 3 x 3
    attempts INTEGER NOT NULL,
    engine_seconds REAL NOT NULL,
    engine TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    host_class TEXT NOT NULL,
    started_utc TEXT NOT NULL,
    finished_utc TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    formula TEXT NOT NULL,
    atom_count INTEGER NOT NULL,
    electrons INTEGER NOT NULL,
    kpoints INTEGER NOT NULL,
    structure TEXT NOT NULL, -- JSON: numbers, positions and cell (A), pbc, in canonical atom order
    import_id INTEGER REFERENCES imports (id),
    moments TEXT NOT NULL, -- magnetic state, see moments.py
    PRIMARY KEY (structure_hash, level_hash, moments)
)
"""

_SCHEMA = (
    import_records.TABLE,
    "CREATE TABLE levels (hash TEXT PRIMARY KEY, engine TEXT NOT NULL, settings TEXT NOT NULL)",
    _LABELS.format(name="labels"),
    "CREATE INDEX labels_by_formula ON labels (level_hash, formula)",
)

_SCHEMA_1_TO_2 = (
    import_records.TABLE,
    "ALTER TABLE labels ADD COLUMN import_id INTEGER REFERENCES imports (id)",
    "CREATE INDEX labels_by_formula ON labels (level_hash, formula)",
    """
INSERT INTO imports (level_hash, source, conventions, imported_utc)
SELECT level_hash, source, '', min(started_utc) FROM (
    SELECT level_hash, substr(folder, 1, instr(folder, '#') - 1) AS source, started_utc
    FROM labels WHERE attempts = 0 AND instr(folder, '#') > 0
) GROUP BY level_hash, source
""",
    """
UPDATE labels SET import_id = (
    SELECT id FROM imports WHERE imports.level_hash = labels.level_hash
    AND imports.source = substr(labels.folder, 1, instr(labels.folder, '#') - 1)
) WHERE attempts = 0 AND instr(folder, '#') > 0
""",
)
"""Caches of release 0.1 did not keep which labels came from which file, except in `folder`."""

_COLUMNS_2 = (
    "structure_hash, level_hash, outcome, cause, folder, energy, forces, stress, attempts, "
    "engine_seconds, engine, engine_version, host_class, started_utc, finished_utc, formula, "
    "atom_count, electrons, kpoints, structure, import_id"
)

_SCHEMA_2_TO_3 = (
    _LABELS.format(name="labels_3"),
    f"INSERT INTO labels_3 ({_COLUMNS_2}, moments) "
    f"SELECT {_COLUMNS_2}, '{UNKNOWN}' FROM labels ORDER BY rowid",
    "DROP TABLE labels",
    "ALTER TABLE labels_3 RENAME TO labels",
    "CREATE INDEX labels_by_formula ON labels (level_hash, formula)",
)
"""Magnetic moments were no part of what a label was known by, and were not kept."""


_REMEDIES = {
    "not a database": "it is no label cache; move it away or give another path under "
    "labelling: cache",
    "malformed": "it is damaged; move it away: labels whose folders were kept are collected again",
}
"""What to do about errors of the file itself, by a part of the message of SQLite."""


def open_database(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open or create the cache. Raises `LabelError` when that cannot be done safely."""
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        # Write-ahead logging needs shared memory, which network file systems do not have.
        connection.execute(
            f"PRAGMA journal_mode = {'DELETE' if network_filesystem(path) else 'WAL'}"
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _create_or_check(path, connection)
    except (sqlite3.Error, OSError) as error:
        if connection is not None:
            connection.close()
        raise LabelError(explain_database_error(path, error)) from error
    except LabelError:
        if connection is not None:
            connection.close()
        raise
    return connection


def open_to_read(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open the cache without changing its file or its folder, which may be read-only.

    A cache that is missing or of an older version is one in memory, of this version. Raises
    `LabelError` when it cannot be read.
    """
    if not path.is_file():
        memory = sqlite3.connect(":memory:", isolation_level=None)
        _create_or_check(path, memory)
        return memory
    connection = None
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{_mode_to_read(path)}",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
        )
        version, _ = _read_version(path, connection)
        if version < SCHEMA_VERSION:
            memory = sqlite3.connect(":memory:", isolation_level=None)
            connection.backup(memory)
            connection.close()
            _create_or_check(path, memory)
            return memory
    except sqlite3.OperationalError:
        # A process was killed while it wrote, and what it left can only be repaired by writing.
        if connection is not None:
            connection.close()
        return open_database(path, busy_timeout_s)
    except (sqlite3.Error, LabelError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, LabelError):
            raise
        raise LabelError(explain_database_error(path, error)) from error
    return connection


def _mode_to_read(path: Path) -> str:
    """How SQLite opens a file without creating others beside it.

    It would create them for a cache with write-ahead logging that nobody has open. Other caches
    need no such files, and one that is written meanwhile must be locked.
    """
    with path.open("rb") as handle:
        uses_write_ahead_log = handle.read(20)[18:20] == b"\2\2"
    is_open = Path(f"{path}-wal").exists()
    return "immutable=1" if uses_write_ahead_log and not is_open else "mode=ro"


def _read_version(path: Path, connection: sqlite3.Connection) -> tuple[int, int]:
    """Schema version and number of tables. Raises `LabelError` for what is no cache of ours."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application != APPLICATION_ID:
        raise LabelError(
            f"{path}: is a database of another program; give the label cache a file of its own"
        )
    if version > SCHEMA_VERSION:
        raise LabelError(
            f"{path}: was written by a newer Entrove (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}); update Entrove, or use another cache"
        )
    return version, tables


def _create_or_check(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version, tables = _read_version(path, connection)
        if not tables:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        else:
            for newer, statements in ((2, _SCHEMA_1_TO_2), (3, _SCHEMA_2_TO_3)):
                for statement in statements if version < newer else ():
                    connection.execute(statement)
        if version < SCHEMA_VERSION:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        # Caches of the first Entrove have no such table; claims end with their processes anyway.
        connection.execute(claims.TABLE)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def network_filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether `path` lies on a network file system, as far as Linux tells by its `mounts`."""
    if not mounts.exists():
        return False
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.read_text().splitlines():
        _, mount_point, filesystem, *_ = line.split(" ")
        mount_point = mount_point.replace("\\040", " ")
        inside = real == mount_point or real.startswith(mount_point.rstrip("/") + "/")
        if inside and len(mount_point) >= len(best):
            best, kind = mount_point, filesystem
    return kind in NETWORK_FILESYSTEMS


def explain_database_error(path: Path, error: Exception) -> str:
    """What happened to the cache and what to do about it."""
    remedy = find_remedy(
        error, _REMEDIES, kept="finished labels are kept", otherwise="check the file and its disk"
    )
    return f"label cache {path}: {error}: {remedy}"
