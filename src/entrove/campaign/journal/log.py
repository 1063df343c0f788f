"""The log file of a campaign."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from entrove.execution.log_file import LogFile


@contextmanager
def log_to(path: Path) -> Generator[None]:
    """Append the messages of Entrove, and Python's warnings, to `path` until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger("entrove"), logging.getLogger("py.warnings")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = True
        handler.close()
