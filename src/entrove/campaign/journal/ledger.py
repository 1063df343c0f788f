"""The ledger: which stages of a campaign are finished, when, and what they found.

A stage is a function of the configuration and of the stages before it; it writes its files, each by
atomic rename, and is then entered here in one transaction. A campaign that was killed starts again at
the first stage that is not entered. The file is SQLite, so a torn write is impossible.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from entrove.errors import CampaignError

SCHEMA_VERSION = 1

_CREATE = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS stages (
    round INTEGER NOT NULL,
    stage TEXT NOT NULL,
    finished_utc REAL NOT NULL,
    seconds REAL NOT NULL,
    summary TEXT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (round, stage)
);
CREATE TABLE IF NOT EXISTS interruptions (
    round INTEGER NOT NULL,
    stage TEXT NOT NULL,
    seconds REAL NOT NULL
);
"""


@dataclass(frozen=True)
class StageRecord:
    """One finished stage."""

    round: int
    stage: str
    finished_utc: float  # seconds since the epoch
    seconds: float  # wall time, earlier attempts that were interrupted included
    summary: str  # one line for people
    payload: dict[str, Any]  # what later stages and the report need, as JSON


class Ledger:
    """Finished stages of one campaign, in `path`.

    Raises `CampaignError` when the file is not a ledger, or one of a later version.
    """

    def __init__(self, path: Path):
        self.path = path
        with self._connection() as connection:
            connection.executescript(_CREATE)
            row = connection.execute(
                "SELECT value FROM meta WHERE key = 'schema_version'"
            ).fetchone()
            if row is None:
                created = datetime.now(UTC).isoformat(timespec="seconds")
                connection.execute(
                    "INSERT INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),)
                )
                connection.execute("INSERT INTO meta VALUES ('created_utc', ?)", (created,))
            elif int(row[0]) != SCHEMA_VERSION:
                raise CampaignError(
                    f"{path}: schema version {row[0]}, this Entrove reads {SCHEMA_VERSION}; "
                    "use the Entrove version that wrote this campaign"
                )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=30.0)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise CampaignError(
                f"{self.path}: the ledger cannot be read or written ({error}); "
                "check the disk and the permissions of the folder, then run the same command again"
            ) from error

    @property
    def created_utc(self) -> str:
        """When the campaign began, in ISO 8601."""
        with self._connection() as connection:
            return connection.execute(
                "SELECT value FROM meta WHERE key = 'created_utc'"
            ).fetchone()[0]

    def find(self, round: int, stage: str) -> StageRecord | None:
        """Return the record of a finished stage, or None."""
        return next(
            (record for record in self.stages() if (record.round, record.stage) == (round, stage)),
            None,
        )

    def stages(self) -> list[StageRecord]:
        """Return every finished stage, oldest first."""
        query = "SELECT round, stage, finished_utc, seconds, summary, payload FROM stages ORDER BY finished_utc"
        with self._connection() as connection:
            rows = connection.execute(query).fetchall()
        return [StageRecord(*row[:5], payload=json.loads(row[5])) for row in rows]

    def enter(
        self, round: int, stage: str, seconds: float, summary: str, payload: dict[str, Any]
    ) -> StageRecord:
        """Enter a finished stage, in one transaction."""
        with self._connection() as connection:
            earlier = connection.execute(
                "SELECT COALESCE(SUM(seconds), 0) FROM interruptions WHERE round = ? AND stage = ?",
                (round, stage),
            ).fetchone()[0]
            record = StageRecord(round, stage, time.time(), seconds + earlier, summary, payload)
            connection.execute(
                "INSERT INTO stages VALUES (?, ?, ?, ?, ?, ?)",
                (round, stage, record.finished_utc, record.seconds, summary, json.dumps(payload)),
            )
        return record

    def forget(self, stages: Iterable[tuple[int, str]]) -> None:
        """Take stages out, all in one transaction, so that they are run again; the time they took still counts."""
        with self._connection() as connection:
            for key in stages:
                # The record's seconds hold those of its interruptions.
                spent = connection.execute(
                    "SELECT seconds FROM stages WHERE round = ? AND stage = ?", key
                ).fetchone()
                if spent is None:
                    continue
                for table in ("stages", "interruptions"):
                    connection.execute(f"DELETE FROM {table} WHERE round = ? AND stage = ?", key)
                connection.execute("INSERT INTO interruptions VALUES (?, ?, ?)", (*key, spent[0]))

    def enter_interruption(self, round: int, stage: str, seconds: float) -> None:
        """Remember the time spent in a stage that was stopped before its end."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO interruptions VALUES (?, ?, ?)", (round, stage, seconds)
            )
