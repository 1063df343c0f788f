"""What every training process does: end with its parent, and report errors to it."""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from entrove.errors import EntroveError, ModelError

EXIT_USER_ERROR = 2
EXIT_ORPHANED = 3
EXIT_DIVERGED = 4


class DivergenceError(ModelError):
    """The loss of a training is no longer finite."""


def serve(run_job: Callable[[Path], object], configure: Callable[[int], None]) -> int:
    """Run the job in the folder that the command line names; the exit code of the process.

    `configure` gets the number of CPU threads before anything is loaded. An `EntroveError` is
    written to `error.txt` for the parent to raise; anything else is a traceback in the log.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    folder = Path(sys.argv[1])
    _end_with_parent()
    configure(json.loads((folder / "job.json").read_text())["threads"])
    try:
        run_job(folder)
    except EntroveError as error:
        (folder / "error.txt").write_text(str(error))
        return EXIT_DIVERGED if isinstance(error, DivergenceError) else EXIT_USER_ERROR
    return 0


def _end_with_parent() -> None:
    """Exit when standard input closes: the parent holds its other end until it dies."""

    def wait_for_end_of_input() -> None:
        # Below Python's buffers: their lock would be held at the interpreter's own shutdown.
        while os.read(0, 1024):
            pass
        os._exit(EXIT_ORPHANED)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
