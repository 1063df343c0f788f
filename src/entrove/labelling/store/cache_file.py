"""The SQLite file of a label cache: opened, closed, and changed in transactions."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from entrove.errors import LabelError
from entrove.labelling.store.cache_schema import (
    explain_database_error,
    open_database,
    open_to_read,
)


class CacheFile:
    """A database of labels that several processes may use at once.

    Args:
        path: The SQLite file; it is created when it does not exist.
        busy_timeout_s: How long to wait for another process that writes, in s.
        read_only: Neither the file nor its folder is changed, which may be read-only.

    All methods raise `LabelError` when the file is locked for longer than that, full, not
    writable, not a cache, or of a newer Entrove.
    """

    def __init__(self, path: str | Path, *, busy_timeout_s: float = 30.0, read_only: bool = False):
        self.path = Path(path)
        self.read_only = read_only
        opened = open_to_read if read_only else open_database
        self._connection = opened(self.path, busy_timeout_s)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the cache cannot be used afterwards."""
        self._connection.close()

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        if self.read_only:
            raise LabelError(f"label cache {self.path}: it was opened to be read only")
        with self._errors():
            # Claims may be lost when the power fails, labels may not; waiting for the disk takes
            # milliseconds.
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LabelError(explain_database_error(self.path, error)) from error
