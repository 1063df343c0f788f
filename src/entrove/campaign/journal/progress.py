"""The progress of a running campaign, as it is reported to the command line or a caller."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from entrove.files import replace_text

WRITE_INTERVAL_S = 5.0
"""The progress of a stage is written at most once in this time, in s."""


@runtime_checkable
class ProgressListener(Protocol):
    """Receives the progress of a campaign; the command line displays it."""

    def stage_started(
        self, round_index: int, stage: str, description: str, total: int | None, unit: str
    ) -> None:
        """A stage begins; `total` is its amount of work in `unit`, None when it is unknown."""

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """So much of this stage is done; `total`, when given, replaces the total."""

    def resumed(self, done: int) -> None:
        """So much of this stage was done by an earlier run; it does not count for the rate."""

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        """A stage has ended; `summary` is its result in one line."""

    def stage_skipped(self, round_index: int, stage: str, summary: str) -> None:
        """A stage was finished by an earlier run of the same campaign."""


class Silence:
    """A listener that ignores everything, for use from Python."""

    def stage_started(
        self, round_index: int, stage: str, description: str, total: int | None, unit: str
    ) -> None:
        """Do nothing."""

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """Do nothing."""

    def resumed(self, done: int) -> None:
        """Do nothing."""

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        """Do nothing."""

    def stage_skipped(self, round_index: int, stage: str, summary: str) -> None:
        """Do nothing."""


class StageProgress(BaseModel):
    """How far a stage is: what a listener was told last, for another process to read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    round: int
    stage: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    note: str = ""
    seconds: float = 0.0

    def describe(self) -> str:
        """Return the stage and how far it is.

        >>> StageProgress(round=2, stage="explore", done=300, total=1100, unit="steps").describe()
        'round 2, explore: 300 of 1100 steps'
        """
        place = describe_place(self.round, self.stage)
        if not self.done:
            return place
        of = f" of {self.total}" if self.total else ""
        count = f"{self.done}{of} {self.unit}".rstrip()
        return f"{place}: " + ", ".join(part for part in (count, self.note) if part)


def describe_place(round_index: int, stage: str) -> str:
    """Name a stage and where it is.

    >>> describe_place(0, "relax"), describe_place(2, "label")
    ('preparation, relax', 'round 2, label')
    """
    return f"round {round_index}, {stage}" if round_index else f"preparation, {stage}"


@dataclass
class Recorded:
    """A listener that passes everything on, and keeps the progress of the stage in a file.

    `entrove status` reads it in another process. The file is gone when no stage is running, and
    stays where a stage was interrupted.
    """

    listener: ProgressListener
    path: Path
    clock: Callable[[], float] = time.monotonic
    _now: StageProgress | None = None
    _began: float = 0.0
    _written: float = 0.0

    def stage_started(
        self, round_index: int, stage: str, description: str, total: int | None, unit: str
    ) -> None:
        """Write which stage begins."""
        self._began = self.clock()
        self._now = StageProgress(round=round_index, stage=stage, total=total, unit=unit)
        self._write()
        self.listener.stage_started(round_index, stage, description, total, unit)

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """Write how far the stage is, at its end or `WRITE_INTERVAL_S` after the last time."""
        self._update(done, total, note)
        self.listener.advanced(done, total, note)

    def resumed(self, done: int) -> None:
        """As `advanced`."""
        self._update(done, None, "")
        self.listener.resumed(done)

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        """Remove the file: the ledger has the result."""
        self._now = None
        self.path.unlink(missing_ok=True)
        self.listener.stage_finished(round_index, stage, seconds, summary)

    def stage_skipped(self, round_index: int, stage: str, summary: str) -> None:
        """Pass it on."""
        self.listener.stage_skipped(round_index, stage, summary)

    def _update(self, done: int, total: int | None, note: str) -> None:
        if self._now is None:
            return
        update = {"done": done, "note": note, "seconds": self.clock() - self._began}
        if total is not None:
            update["total"] = total
        self._now = self._now.model_copy(update=update)
        is_last = self._now.total is not None and done >= self._now.total
        if is_last or self.clock() - self._written >= WRITE_INTERVAL_S:
            self._write()

    def _write(self) -> None:
        if self._now is not None:
            replace_text(self.path, self._now.model_dump_json() + "\n")
            self._written = self.clock()


def read_progress(path: Path) -> StageProgress | None:
    """Read what `Recorded` has written last; None where there is nothing."""
    try:
        return StageProgress.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
