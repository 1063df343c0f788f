"""Ctrl-C while a record is written leaves the log to other threads; a full disk is said once."""

import errno
import io
import logging
import random
import signal
import threading
from pathlib import Path

import pytest

from entrove.execution.log_file import LogFile

RECORD = logging.LogRecord("parsl", logging.INFO, "file", 1, "text", (), None)
INTERRUPTS = 2000


@pytest.fixture
def interrupting():
    """A timer in place of a user: `signal.setitimer` raises `KeyboardInterrupt`."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def is_free(log: logging.Handler) -> bool:
    """Whether another thread can take the lock of a handler."""
    taken: list[bool] = []

    def take() -> None:
        assert log.lock is not None
        if log.lock.acquire(timeout=1.0):
            taken.append(True)
            log.lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(taken)


@pytest.mark.usefixtures("interrupting")
def test_an_interrupt_while_writing_leaves_the_lock_free(tmp_path: Path):
    """Some 2,000 interrupts; `logging.FileHandler` keeps its lock after fewer than 100."""
    log, generator = LogFile(tmp_path / "parsl.log"), random.Random(0)
    for _ in range(INTERRUPTS):
        try:
            signal.setitimer(signal.ITIMER_REAL, generator.uniform(1e-5, 2e-4))
            while True:
                log.handle(RECORD)
        except KeyboardInterrupt:
            pass
        assert is_free(log)
    log.close()


def test_records_are_written_filtered_and_formatted(tmp_path: Path):
    log = LogFile(tmp_path / "parsl.log")
    log.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    assert log.handle(RECORD)
    log.addFilter(lambda record: record.levelno > logging.INFO)
    assert not log.handle(RECORD)
    log.close()
    assert (tmp_path / "parsl.log").read_text() == "INFO text\n"


class FullDisk(io.StringIO):
    """A file that has no room until it is given some."""

    full = True

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_records_that_a_full_disk_does_not_take_are_dropped_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    log = LogFile(tmp_path / "entrove.log")
    log.stream.close()
    log.stream = FullDisk()
    for _ in range(50):
        assert log.handle(RECORD)
    log.close()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"entrove: {tmp_path / 'entrove.log'}: the log cannot be written (No sp"
    )


def test_records_are_written_again_once_there_is_room(tmp_path: Path):
    log = LogFile(tmp_path / "entrove.log")
    log.stream.close()
    log.stream = disk = FullDisk()
    log.handle(RECORD)
    disk.full = False
    log.handle(RECORD)
    assert disk.getvalue().endswith("text\n")
    log.close()


def test_a_record_that_cannot_be_formatted_is_no_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    log = LogFile(tmp_path / "entrove.log")
    log.handle(logging.LogRecord("entrove", logging.INFO, "file", 1, "%d", ("text",), None))
    log.close()
    assert "TypeError" in capsys.readouterr().err
