"""A log file that an interrupt leaves unlocked, and that says once that its disk is full."""

import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any


class LogFile(logging.FileHandler):
    """Writes records to a file.

    `logging` takes the lock of a handler before the `try` that releases it. Ctrl-C between the two
    leaves it with the main thread, and Parsl's threads, which log too, wait for it for ever, as
    does Parsl for them when it is stopped. A `with` statement is not interrupted there.

    A record that cannot be written, on a full disk, is dropped, which is said once on standard
    error: `logging` would print a traceback for each record.
    """

    _is_complete = True

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record."""
        if not self.filter(record):
            return False
        with self._held():
            self.emit(record)
        return True

    def flush(self) -> None:
        """Write what is buffered."""
        with self._held():
            if self.stream:
                self.stream.flush()

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a record that the disk does not take; other errors are those of `logging`."""
        error = sys.exception()
        if isinstance(error, OSError):
            self._drop(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        """Close the file, whether or not what is buffered can be written."""
        try:
            super().close()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        if self._is_complete and sys.stderr is not None:
            reason = error.strerror or error
            print(
                f"entrove: {self.baseFilename}: the log cannot be written ({reason}); lines "
                "will be missing from it",
                file=sys.stderr,
            )
        self._is_complete = False

    def _held(self) -> AbstractContextManager[Any]:
        return self.lock or nullcontext()
