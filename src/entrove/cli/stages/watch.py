"""The progress of one stage, on stderr, so that results can be piped."""

from types import TracebackType

from rich.console import Console

from entrove.cli.commands.options import Stopped
from entrove.cli.progress import LiveProgress, PlainProgress, open_progress


class Watch:
    """Shows how far one piece of work is; Ctrl-C in it ends the command with a message.

    Args:
        stage: Name of the work.
        description: What is being done, in a phrase.
        unit: What is counted.
        stopped: What is said after Ctrl-C.
    """

    def __init__(self, stage: str, description: str, unit: str, stopped: str):
        self.messages = Console(stderr=True)
        self._stage, self._description, self._unit = stage, description, unit
        self._stopped = stopped
        self._progress: LiveProgress | PlainProgress = open_progress(self.messages)

    def __enter__(self) -> "Watch":
        self._progress.__enter__()
        self._progress.stage_started(None, self._stage, self._description, None, self._unit)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, trace)
        if isinstance(error, KeyboardInterrupt):
            raise Stopped(self._stopped) from error

    def advanced(self, done: int, total: int | None = None, note: str = "") -> None:
        """So much is done."""
        self._progress.advanced(done, total, note)
