"""What runs inside a Parsl worker: it starts an engine process and keeps to the time limit.

The process is kept between labels, and killed when it hangs. Engines are not imported here: a
worker starts faster without them.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil

from entrove.execution.process_tree import kill_process_tree
from entrove.labelling.attempt import (
    LOG_FILE,
    RESULT_FILE,
    Attempt,
    AttemptResult,
    describe_host,
)
from entrove.labelling.labels import Outcome

START_LIMIT_S = 600.0
"""Time an engine process may take to import its engine or to load its model."""
FREE_BYTES_NEEDED = 65536


class EngineProcess:
    """A worker's side of a process in which an engine computes label after label.

    `engine` is the engine's settings as JSON; after `labels` labels the process is to be replaced.
    The other side is the program `entrove.labelling.execution.engine_process`.
    """

    def __init__(self, engine: str, labels: int):
        self.engine = engine
        self.labels_left = labels
        self.version = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "entrove.labelling.execution.engine_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def start(self) -> str:
        """Send the settings; return why the engine cannot start, or an empty string."""
        self._send(self.engine)
        answer = self._receive(START_LIMIT_S)
        if answer is None:
            what = (
                f"did not start within {START_LIMIT_S:g} s"
                if self.alive
                else f"ended: {self.describe_exit()}"
            )
            return f"the engine process {what}"
        self.version = answer.get("version", "")
        return answer.get("trouble", "")

    def run(self, folder: str, time_limit_s: float) -> dict[str, str] | None:
        """Compute the label of a folder; None when no answer came within `time_limit_s`."""
        self.labels_left -= 1
        self._send(json.dumps(folder))
        return self._receive(time_limit_s)

    def describe_exit(self) -> str:
        """Exit code or signal of the process, which has ended: 'killed by SIGSEGV'."""
        code = self._process.wait()
        return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    def stop(self) -> None:
        """End the process, whatever it is doing, and all that it started."""
        kill_process_tree(
            self._process.pid, grace_s=2.0 if _has_children(self._process.pid) else 0.0
        )
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._process.wait()

    def __del__(self) -> None:
        # A worker that is a thread ends without a word, and what it kept goes with it.
        if self._process.poll() is None:
            self.stop()

    def _send(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a dead process shows when the answer is read
            stdin: IO[bytes] = self._stream(self._process.stdin)
            stdin.write(line.encode() + b"\n")
            stdin.flush()

    def _receive(self, time_limit_s: float) -> dict[str, str] | None:
        stdout = self._stream(self._process.stdout)
        readable, _, _ = select.select([stdout], [], [], time_limit_s)
        line = stdout.readline() if readable else b""
        if readable and not line:
            self._process.wait()
        return json.loads(line) if line else None

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None  # both are pipes, see __init__
        return stream


class _Current(threading.local):
    """The engine process of this worker: Parsl workers keep nothing else between tasks.

    The workers of a ThreadPoolExecutor are threads, each with a process of its own.
    """

    process: EngineProcess | None = None


_current = _Current()


def run_in_engine_process(attempt: Attempt) -> AttemptResult:
    """Let an engine process run one attempt, within its time limit.

    Never raises for what an engine or a disk does: that is part of the result.
    """
    try:
        attempt.write()
    except OSError as error:
        return AttemptResult(
            Outcome.CRASHED, trouble=f"{attempt.folder}: cannot be written ({error})"
        )
    process, trouble = _ready_process(attempt)
    if trouble:
        return AttemptResult(Outcome.CRASHED, trouble=trouble)
    started, clock = datetime.now(UTC), time.perf_counter()
    answer = process.run(attempt.folder, attempt.time_limit_s)
    if answer is not None and answer["folder"] != attempt.folder:
        _stop_current()
        trouble = f"{attempt.folder}: the engine process answered for {answer['folder']}"
        return AttemptResult(Outcome.CRASHED, trouble=trouble)
    if answer is not None and "trouble" in answer:
        return AttemptResult(Outcome.CRASHED, trouble=answer["trouble"])
    # The file counts, also when the process died after it had written it.
    result = AttemptResult.read(attempt.folder)
    if result is None:
        outcome, cause = _explain_missing_result(attempt, process, answered=answer is not None)
        result = AttemptResult(
            outcome=outcome,
            cause=cause,
            rung=attempt.rung,
            engine_seconds=time.perf_counter() - clock,
            engine_version=process.version,
            host_class=describe_host(),
            started_utc=started.isoformat(timespec="seconds"),
        )
    if answer is None:
        _stop_current()
    return result if result.outcome is Outcome.CONVERGED else _store_failure(attempt, result)


def _explain_missing_result(
    attempt: Attempt, process: EngineProcess, *, answered: bool
) -> tuple[Outcome, str]:
    if answered:
        return Outcome.CRASHED, "the engine process answered but left no result file"
    if process.alive:
        return Outcome.TIMED_OUT, f"no result within {attempt.time_limit_s:g} s"
    line = _last_line(Path(attempt.folder) / LOG_FILE)
    printed = f"; the last line it printed: {line}" if line else ""
    return Outcome.CRASHED, f"the engine process ended: {process.describe_exit()}{printed}"


def _store_failure(attempt: Attempt, result: AttemptResult) -> AttemptResult:
    """Write a failure into its folder, unless the disk is full, which may be what caused it.

    Engines fail in many ways when they cannot write; only failures with room on the disk say
    something about the structure.
    """
    try:
        (Path(attempt.folder) / f".probe.{os.getpid()}").write_bytes(b"\0" * FREE_BYTES_NEEDED)
        result.write(attempt.folder)
    except OSError as error:
        (Path(attempt.folder) / RESULT_FILE).unlink(missing_ok=True)
        return AttemptResult(
            Outcome.CRASHED, trouble=f"{attempt.folder}: cannot be written ({error.strerror})"
        )
    finally:
        with contextlib.suppress(OSError):
            (Path(attempt.folder) / f".probe.{os.getpid()}").unlink(missing_ok=True)
    return result


def _ready_process(attempt: Attempt) -> tuple[EngineProcess, str]:
    """A running process of this engine, and why there is none ('' when there is)."""
    process = _current.process
    if process is not None and not (
        process.alive and process.engine == attempt.engine and process.labels_left > 0
    ):
        _stop_current()
        process = None
    if process is None:
        process = _current.process = EngineProcess(attempt.engine, attempt.labels_per_process)
        trouble = process.start()
        if trouble:
            _stop_current()
            return process, trouble
    return process, ""


def _stop_current() -> None:
    process, _current.process = _current.process, None
    if process is not None:
        process.stop()


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _has_children(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).children())
    except psutil.NoSuchProcess:
        return False
