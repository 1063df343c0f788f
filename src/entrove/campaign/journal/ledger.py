"""The ledger: which stages of a campaign are finished, when, and what they found.

A stage depends on the configuration and on the stages before it. It writes its files, each by an
atomic rename, and is then entered here in one transaction. A campaign that was killed continues
at the first stage that is not entered. The file is SQLite, whose transactions exclude a partial
entry.
"""

import json
import sqlite3
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from entrove.campaign.journal.damage import damaged
from entrove.campaign.journal.outcomes import OUTCOMES, Stage, StageOutcome
from entrove.campaign.workspace import Workspace
from entrove.database_errors import find_remedy
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
CREATE TABLE IF NOT EXISTS test_openings (
    round INTEGER NOT NULL,
    weights TEXT NOT NULL,
    PRIMARY KEY (round, weights)
);
"""
_DAMAGE = ("not a database", "malformed", "no such table", "Could not decode")
"""Parts of the messages of SQLite for a file that no longer holds what was written to it."""

_HALF_WRITTEN = "SQLITE_READONLY_ROLLBACK"
"""The error of SQLite for a file with an unfinished transaction that may not be written."""

_COLUMNS = "round, stage, finished_utc, seconds, summary, payload"


@dataclass(frozen=True)
class StageRecord:
    """One finished stage.

    Attributes:
        round: Its round; 0 is the preparation.
        outcome: What it found.
        finished_utc: When it was finished, in s since the epoch.
        seconds: Wall time in s, including that of attempts that were interrupted.
    """

    round: int
    outcome: StageOutcome
    finished_utc: float
    seconds: float

    @property
    def stage(self) -> Stage:
        """Which stage it is."""
        return self.outcome.stage

    @property
    def summary(self) -> str:
        """The result in one line."""
        return self.outcome.summary


class Ledger:
    """The finished stages of one campaign.

    Args:
        path: The SQLite file, created when it does not exist.
        read_only: The file must exist, and is never changed.

    Raises `CampaignError` when the file cannot be read, is no ledger, or has another schema.
    """

    def __init__(self, path: Path, *, read_only: bool = False):
        self.path = path
        self._read_only = read_only
        # The configuration is written after the ledger, which then has its tables.
        if Workspace(path.parent).holds_campaign() and path.stat().st_size == 0:
            raise damaged(path, "it is empty")
        with self._connection() as connection:
            if not read_only:
                connection.executescript(_CREATE)
            row = connection.execute(
                "SELECT value FROM meta WHERE key = 'schema_version'"
            ).fetchone()
            if row is None:
                self._initialise(connection)
            elif int(row[0]) != SCHEMA_VERSION:
                raise CampaignError(
                    f"{path}: schema version {row[0]}, but this Entrove reads {SCHEMA_VERSION}; "
                    "use the Entrove version that wrote this campaign"
                )

    @staticmethod
    def _initialise(connection: sqlite3.Connection) -> None:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        connection.execute("INSERT INTO meta VALUES ('created_utc', ?)", (created,))

    def _open(self) -> sqlite3.Connection:
        address = self.path.absolute().as_uri()
        if not self._read_only:
            return sqlite3.connect(address, timeout=30.0, uri=True)
        connection = sqlite3.connect(f"{address}?mode=ro", timeout=30.0, uri=True)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorname != _HALF_WRITTEN:
                raise
            # What a killed process has left can only be undone by writing.
            connection = sqlite3.connect(f"{address}?mode=rw", timeout=30.0, uri=True)
            connection.execute("PRAGMA query_only = ON")
        return connection

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        try:
            connection = self._open()
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            if any(sign in str(error) for sign in _DAMAGE):
                raise damaged(self.path, str(error)) from error
            remedy = find_remedy(
                error,
                {},
                kept="what is finished is kept",
                otherwise="check the disk and the permissions of the folder, then run the same "
                "command again",
            )
            if getattr(error, "sqlite_errorname", "") == _HALF_WRITTEN:
                remedy = (
                    "a process was killed while it wrote; give any command, such as 'entrove "
                    "status', where this folder can be written, which undoes what it has begun"
                )
            raise CampaignError(
                f"{self.path}: the ledger cannot be read or written ({error}); {remedy}"
            ) from error

    @property
    def created_utc(self) -> str:
        """When the campaign was started, in ISO 8601."""
        query = "SELECT value FROM meta WHERE key = 'created_utc'"
        with self._connection() as connection:
            return connection.execute(query).fetchone()[0]

    def find[Outcome: StageOutcome](self, round_index: int, kind: type[Outcome]) -> Outcome | None:
        """Return what a stage found in a round, or None when it is not finished.

        Args:
            round_index: The round; 0 is the preparation.
            kind: Model of the stage, such as `Selected`.
        """
        query = f"SELECT {_COLUMNS} FROM stages WHERE round = ? AND stage = ?"
        with self._connection() as connection:
            row = connection.execute(query, (round_index, kind.stage.value)).fetchone()
        outcome = None if row is None else self._record(row).outcome
        assert outcome is None or isinstance(outcome, kind)
        return outcome

    def each[Outcome: StageOutcome](self, kind: type[Outcome]) -> dict[int, Outcome]:
        """Return what a stage found, by round; only rounds in which it is finished.

        Args:
            kind: Model of the stage, such as `Selected`.
        """
        return {
            record.round: record.outcome
            for record in sorted(self.records(), key=lambda record: record.round)
            if isinstance(record.outcome, kind)
        }

    def records(self) -> list[StageRecord]:
        """Return all finished stages in the order in which they were entered.

        The clock of a machine may be set back meanwhile, so that times tell no order.
        """
        with self._connection() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM stages ORDER BY rowid").fetchall()
        return [self._record(row) for row in rows]

    def enter(self, round_index: int, outcome: StageOutcome, seconds: float) -> StageRecord:
        """Enter a finished stage, in one transaction.

        Args:
            round_index: The round; 0 is the preparation.
            outcome: What the stage found; its type names the stage.
            seconds: Wall time of this attempt in s; the time of interrupted ones is added.

        Raises `CampaignError` when the stage is entered already.
        """
        key = (round_index, outcome.stage.value)
        payload = json.dumps(outcome.model_dump(mode="json", exclude={"summary"}))
        with self._connection() as connection:
            earlier = connection.execute(
                "SELECT COALESCE(SUM(seconds), 0) FROM interruptions "
                "WHERE round = ? AND stage = ?",
                key,
            ).fetchone()[0]
            record = StageRecord(round_index, outcome, time.time(), seconds + earlier)
            connection.execute(
                "INSERT INTO stages VALUES (?, ?, ?, ?, ?, ?)",
                (*key, record.finished_utc, record.seconds, outcome.summary, payload),
            )
        return record

    def amend(self, round_index: int, outcome: StageOutcome) -> None:
        """Replace what a finished stage found; when and how long it ran stays.

        Args:
            round_index: The round; 0 is the preparation.
            outcome: The same finding, with values that an older version did not keep.
        """
        payload = json.dumps(outcome.model_dump(mode="json", exclude={"summary"}))
        with self._connection() as connection:
            connection.execute(
                "UPDATE stages SET summary = ?, payload = ? WHERE round = ? AND stage = ?",
                (outcome.summary, payload, round_index, outcome.stage.value),
            )

    def forget(self, stages: Iterable[tuple[int, Stage]]) -> None:
        """Remove stages, all in one transaction, so that they are run again.

        The time that they took is kept, as that of an interruption.
        """
        with self._connection() as connection:
            for round_index, stage in stages:
                key = (round_index, stage.value)
                # These seconds include those of the interruptions, which are therefore deleted.
                spent = connection.execute(
                    "SELECT seconds FROM stages WHERE round = ? AND stage = ?", key
                ).fetchone()
                if spent is None:
                    continue
                for table in ("stages", "interruptions"):
                    connection.execute(f"DELETE FROM {table} WHERE round = ? AND stage = ?", key)
                connection.execute("INSERT INTO interruptions VALUES (?, ?, ?)", (*key, spent[0]))

    def copy_to(self, path: Path) -> None:
        """Write a copy, for a process that must not lock this file."""
        path.unlink(missing_ok=True)
        with self._connection() as connection:
            copied = sqlite3.connect(path)
            try:
                connection.backup(copied)
            finally:
                copied.close()

    def enter_interruption(self, round_index: int, stage: Stage, seconds: float) -> None:
        """Enter the time of a stage that was stopped before its end."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO interruptions VALUES (?, ?, ?)", (round_index, stage.value, seconds)
            )

    def enter_test_opening(self, round_index: int, weights: str) -> None:
        """Record that the model of a round, known by a hash of its weights, saw the test set."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO test_openings VALUES (?, ?)", (round_index, weights)
            )

    def test_openings(self) -> list[tuple[int, str]]:
        """Return rounds and hashes of the weights of all models that saw the test set."""
        with self._connection() as connection:
            return connection.execute("SELECT round, weights FROM test_openings").fetchall()

    def _record(self, row: tuple[Any, ...]) -> StageRecord:
        """Convert a row to the model of its stage.

        Raises `CampaignError` for a stage or values that this version does not know, and for
        values that no version has written.
        """
        round_index, stage, finished_utc, seconds, summary, payload = row
        try:
            values: dict[str, Any] = dict(json.loads(payload))
        except (ValueError, TypeError) as error:
            what = f"the entry of stage '{stage}' in round {round_index} is no JSON: {error}"
            raise damaged(self.path, what) from error
        try:
            kind = OUTCOMES[Stage(stage)]
            outcome = kind.model_validate(values | {"summary": summary})
        except (ValueError, ValidationError) as error:
            raise CampaignError(
                f"{self.path}: the entry of stage '{stage}' in round {round_index} cannot be "
                f"understood ({error}); use the Entrove version that wrote this campaign"
            ) from error
        return StageRecord(round_index, outcome, finished_utc, seconds)
