"""Ask a program something, in a time that a user waits for."""

import subprocess
import tempfile
from collections.abc import Sequence

LONGEST_S = 15.0


def ask(command: Sequence[str], *, longest_s: float = LONGEST_S) -> tuple[int | None, str]:
    """Run a program without input in an empty folder, and return its exit status and output.

    Args:
        command: The program and its arguments.
        longest_s: It is ended after this time, in s.

    Returns None in place of the status of a program that cannot be started or was ended; errors
    that it prints are part of the output.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            finished = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                timeout=longest_s,
                check=False,
                text=True,
                errors="replace",
            )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {longest_s:g} s"
    except OSError as error:
        return None, str(error)
    return finished.returncode, finished.stdout


def first_line(text: str) -> str:
    """Return the first line that is not empty.

    >>> first_line("\\n  slurm 22.05.8\\nmore")
    'slurm 22.05.8'
    """
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
