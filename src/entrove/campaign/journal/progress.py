"""The progress of a running campaign, as it is reported to the command line or a caller."""

from typing import Protocol, runtime_checkable


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
