"""What a running campaign tells the outside: which stage, how far."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class ProgressListener(Protocol):
    """Receives the progress of a campaign; the command line draws it."""

    def stage_started(
        self, round_index: int, stage: str, description: str, total: int | None, unit: str
    ) -> None:
        """Say that a stage begins; `total` is its amount of work in `unit`, None when unknown."""

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """Report work done so far in this stage; `total` replaces the total when given."""

    def resumed(self, done: int) -> None:
        """Say that so much of this stage was done before it began, in no time of this run."""

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        """Say that a stage ended and what came out, in one line."""

    def stage_skipped(self, round_index: int, stage: str, summary: str) -> None:
        """Say that a stage was finished by an earlier run of the same campaign."""


class Silence:
    """A listener that says nothing, for use as a library."""

    def stage_started(
        self, round_index: int, stage: str, description: str, total: int | None, unit: str
    ) -> None:
        """Say nothing."""

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """Say nothing."""

    def resumed(self, done: int) -> None:
        """Say nothing."""

    def stage_finished(self, round_index: int, stage: str, seconds: float, summary: str) -> None:
        """Say nothing."""

    def stage_skipped(self, round_index: int, stage: str, summary: str) -> None:
        """Say nothing."""
