"""A program with a folder of its own: the side that starts it, and the program's own side.

The folder has what the program was asked, what it has done so far, and what it found; besides::

    worker.log     what it printed
    error.txt      why it ended, for the user, when it could not do what it was asked
    worker.lock    held by the one process that works here
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from entrove.errors import EntroveError, ModelError
from entrove.file_locks import try_to_lock

LOG_FILE = "worker.log"
ERROR_FILE = "error.txt"
LOCK_FILE = "worker.lock"
EXIT_USER_ERROR = 2
EXIT_ORPHANED = 3
LOCK_POLL_S = 0.5


@dataclass(frozen=True)
class Program:
    """A program to run.

    Attributes:
        module: It is run as `python -m module folder`.
        folder: Where it keeps its files, as an absolute path that its machine sees too.
        threads: CPU threads; 0: as many as it has cores where it runs.
        progress: Name of the file in the folder that changes while it gets on.
        waits_s: How long it waits, in s, for another process that still works in the folder.
    """

    module: str
    folder: str
    threads: int
    progress: str
    waits_s: float = 0.0


def start_program(program: Program) -> subprocess.Popen[bytes]:
    """Start a program on this machine; it ends when this process does.

    What it prints is appended to its log.
    """
    folder, threads = Path(program.folder), program.threads or len(os.sched_getaffinity(0))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # Threads that spin while they wait make training five times slower on shared cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # makes cuBLAS deterministic
    }
    (folder / ERROR_FILE).unlink(missing_ok=True)
    with (folder / LOG_FILE).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", program.module, str(folder)],
            # The program ends when this pipe closes, also when this process is killed.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def run_in_worker(program: Program) -> int:
    """Run a program to its end, in a worker on any machine; return its exit code."""
    wait_until_free(Path(program.folder), program.waits_s)
    with start_program(program) as process:
        try:
            return process.wait()
        finally:
            process.kill()


def serve(work: Callable[[Path], object], configure: Callable[[int], None]) -> int:
    """Be the program: do the work in the folder that the command line names.

    Args:
        work: Gets the folder. An `EntroveError` that it raises is written to the folder for who
            started the program; anything else is a traceback in the log.
        configure: Gets the number of CPU threads before anything is loaded.

    Returns the exit code of the process.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    folder = Path(sys.argv[1])
    _end_with_parent()
    configure(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        work(folder)
    except EntroveError as error:
        (folder / ERROR_FILE).write_text(str(error))
        return getattr(error, "exit_code", EXIT_USER_ERROR)
    return 0


def explain_end(folder: Path, code: int, what: str) -> str:
    """Say why the program in a folder ended with an exit code that is not zero."""
    if code == EXIT_USER_ERROR and (folder / ERROR_FILE).exists():
        return (folder / ERROR_FILE).read_text()
    log = folder / LOG_FILE
    tail = log.read_text(errors="replace").splitlines()[-5:]
    return (
        f"{what} ended with exit code {code}; the log {log} ends with: "
        f"{' | '.join(tail)}; start it again to continue from what is finished"
    )


@contextmanager
def only_worker(folder: Path, doing: str) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when the process dies.

    `doing` is what the other process does, for the message: "trains".

    Raises `ModelError` when another process works in this folder, `NoFileLocksError` where there
    are no locks.
    """
    with (folder / LOCK_FILE).open("w") as handle:
        if not try_to_lock(handle):
            raise ModelError(f"{folder}: another process {doing} here; wait for it or stop it")
        yield


def wait_until_free(folder: Path, limit_s: float) -> None:
    """Wait until no process holds the folder's lock, but not longer than `limit_s`.

    A job whose campaign was killed ends by itself, after a while.
    """
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with (folder / LOCK_FILE).open("w") as handle:
            if try_to_lock(handle):
                return
        time.sleep(LOCK_POLL_S)


def _end_with_parent() -> None:
    """Exit when standard input closes: the parent holds its other end until it dies."""

    def wait_for_end_of_input() -> None:
        # Below Python's buffers: their lock would be held at the interpreter's own shutdown.
        while os.read(0, 1024):
            pass
        os._exit(EXIT_ORPHANED)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
