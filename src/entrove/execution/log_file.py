"""A log file that an interrupt leaves unlocked."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any


class LogFile(logging.FileHandler):
    """Writes records to a file.

    `logging` takes the lock of a handler before the `try` that releases it. Ctrl-C between the two
    leaves it with the main thread, and Parsl's threads, which log too, wait for it for ever, as
    does Parsl for them when it is stopped. A `with` statement is not interrupted there.
    """

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

    def _held(self) -> AbstractContextManager[Any]:
        return self.lock or nullcontext()
