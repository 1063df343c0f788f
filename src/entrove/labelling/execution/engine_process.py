"""The program in which engines run: `python -m entrove.labelling.execution.engine_process`.

A worker starts it, sends the engine's settings as one line of JSON, then one folder per line, and
reads one line back for each. Whatever the engine does to its process (segmentation fault, exit,
endless loop) ends this process and not the worker.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from entrove.errors import EntroveError
from entrove.labelling.attempt import LOG_FILE, Attempt, AttemptResult, describe_host
from entrove.labelling.engines.base import Engine, NotConvergedError, OtherStructureError
from entrove.labelling.engines.registry import engine_from_json
from entrove.labelling.labels import Outcome

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def main() -> None:
    """Answer requests until the worker closes the pipe."""
    _die_with_parent()
    requests, answers = _take_standard_streams()
    settings = requests.readline()
    if not settings:
        return
    try:
        # What an import makes stays in memory: without this, garbage collection among it takes a
        # seventh of the time in which a torch model starts.
        gc.disable()
        engine = engine_from_json(settings)
        engine.warm_up()
        version = engine.version()
        gc.freeze()
        gc.enable()
    except EntroveError as error:
        _answer(answers, {"trouble": str(error)})
        return
    except Exception as error:  # a package that is broken on this host can raise anything
        _answer(answers, {"trouble": f"the engine cannot start: {type(error).__name__}: {error}"})
        return
    _answer(answers, {"version": version})
    for line in requests:
        folder = json.loads(line)
        result = _run_in_folder(engine, version, Path(folder))
        # The file in the folder counts; the answer only says that it is there, or why it is not.
        trouble = {"trouble": result.trouble} if result.trouble else {}
        _answer(answers, {"folder": folder} | trouble)


def run_engine(engine: Engine, version: str, attempt: Attempt) -> AttemptResult:
    """Run the engine once, in this process, and say what came of it."""
    folder = Path(attempt.folder)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.perf_counter()
    outcome, cause, computation = Outcome.CONVERGED, "", None
    try:
        computation = engine.compute(attempt.atoms(), folder, attempt.rung)
    except NotConvergedError as error:
        outcome, cause = Outcome.NOT_CONVERGED, str(error)
    except OtherStructureError as error:
        outcome, cause = Outcome.REJECTED, str(error)
    except Exception as error:  # whatever a foreign code raises fails this attempt only
        traceback.print_exc()
        outcome, cause = Outcome.CRASHED, f"{type(error).__name__}: {error}".strip()
    seconds = time.perf_counter() - clock
    stress = None if computation is None else computation.stress_eV_per_A3
    return AttemptResult(
        outcome=outcome,
        cause=cause,
        energy_eV=None if computation is None else computation.energy_eV,
        forces_eV_per_A=None if computation is None else computation.forces_eV_per_A.tolist(),
        stress_eV_per_A3=None if stress is None else stress.tolist(),
        rung=attempt.rung,
        engine_seconds=seconds,
        engine_version=engine.version_in(folder) or version,
        host_class=describe_host(),
        started_utc=started,
    )


def _run_in_folder(engine: Engine, version: str, folder: Path) -> AttemptResult:
    with _log_to(folder / LOG_FILE):
        os.chdir(folder)
        result = run_engine(engine, version, Attempt.read(folder))
        for pattern in engine.scratch:
            for path in folder.glob(pattern):
                path.unlink()
        try:
            result.write(folder)
        except OSError as error:
            return AttemptResult(
                Outcome.CRASHED, trouble=f"{folder}: the result cannot be written ({error})"
            )
        finally:
            os.chdir("/")  # the folder may be removed, or its disk unmounted
    return result


def _take_standard_streams() -> tuple[TextIO, TextIO]:
    # Engines print to standard output and read standard input: neither may be the worker's pipe.
    requests = os.fdopen(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return requests, answers


def _answer(answers: TextIO, message: dict[str, str]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send everything that this process prints, C and Fortran included, to a file."""
    kept = os.dup(1), os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (*kept, log):
            os.close(descriptor)


def _die_with_parent() -> None:
    # Only Linux can do this; elsewhere the closed pipe ends an idle process at once, and a busy
    # one after its label.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    main()
