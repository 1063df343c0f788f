"""Which labels came from which file, so that an import can be listed and withdrawn.

Every function here runs inside a transaction of the cache, or only reads.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

TABLE = """
CREATE TABLE imports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, also after a withdrawal
    level_hash TEXT NOT NULL,
    source TEXT NOT NULL,                 -- full path of the file
    conventions TEXT NOT NULL,            -- what was done with units and signs, one per line
    imported_utc TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class ImportRecord:
    """A file whose labels were imported.

    Attributes:
        id: Number by which it is withdrawn.
        level_of_theory: Hash of the level of theory.
        source: Full path of the file.
        conventions: What was done with its units and signs, one per line.
        imported_utc: When, in ISO format.
        labels: Number of its labels that the cache holds.
    """

    id: int
    level_of_theory: str
    source: str
    conventions: str
    imported_utc: str
    labels: int


def add(
    connection: sqlite3.Connection,
    level_hash: str,
    source: str,
    conventions: str,
    imported_utc: str,
) -> int:
    """Enter an import; returns its number."""
    cursor = connection.execute(
        "INSERT INTO imports (level_hash, source, conventions, imported_utc) VALUES (?, ?, ?, ?)",
        (level_hash, source, conventions, imported_utc),
    )
    assert cursor.lastrowid is not None  # an INSERT always sets it
    return cursor.lastrowid


def read(connection: sqlite3.Connection) -> list[ImportRecord]:
    """Every import, oldest first."""
    rows = connection.execute(
        "SELECT id, level_hash, source, conventions, imported_utc, (SELECT count(*) FROM labels "
        "WHERE import_id = imports.id) FROM imports ORDER BY id"
    ).fetchall()
    return [ImportRecord(*row) for row in rows]


def count_labels(path: Path, level_hash: str | None = None) -> int:
    """Count the imported labels in a cache, which is not changed; 0 where none can be read.

    Args:
        path: The file of the cache.
        level_hash: Only those of this level of theory.
    """
    if not path.is_file():
        return 0
    # Reading a cache that nobody has open would create files beside it, were it not immutable.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as cache:
            [(count,)] = cache.execute(
                "SELECT count(*) FROM labels WHERE import_id IS NOT NULL "
                "AND level_hash = coalesce(?, level_hash)",
                (level_hash,),
            )
    except sqlite3.Error:  # such as one of release 0.1, which knows no imports
        return 0
    return count


def remove(connection: sqlite3.Connection, import_id: int) -> list[str]:
    """Delete an import with its labels; returns the content hashes of their structures."""
    rows = connection.execute(
        "DELETE FROM labels WHERE import_id = ? RETURNING structure_hash", (import_id,)
    ).fetchall()
    connection.execute("DELETE FROM imports WHERE id = ?", (import_id,))
    return [structure_hash for (structure_hash,) in rows]
