"""End a command when its campaign is gone: `python -m ...execution.watchdog OWNER COMMAND...`.

Parsl's processes outlive a campaign that is killed with SIGKILL: its interchange for good, its
workers for two minutes, each keeping a core busy with a label that nobody waits for. This program
runs the command, and ends it with everything it started as soon as the process OWNER is gone. What
it leaves in its folder for temporary files, as killed processes do, is removed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

POLL_S = 0.2


def with_watchdog(command: Sequence[str]) -> list[str]:
    """The command that runs `command` and ends it when this process is gone."""
    watchdog = [sys.executable, "-m", "entrove.execution.watchdog"]
    return [*watchdog, str(os.getpid()), *command]


def main(arguments: list[str]) -> int:
    """Run the command until it ends, the owner is gone, or SIGTERM; return its exit code."""
    owner, command = int(arguments[0]), arguments[1:]
    # Ctrl-C in a terminal reaches the whole process group; only the campaign decides what it
    # means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _raise_exit)
    # A short name: the sockets in it have paths of about a hundred characters at most.
    with TemporaryDirectory(prefix="entrove-", ignore_cleanup_errors=True) as temporary:
        return _run(command, os.environ | {"TMPDIR": temporary}, owner)


def _run(command: Sequence[str], environment: Mapping[str, str], owner: int) -> int:
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while process.poll() is None and os.getppid() == owner:
            time.sleep(POLL_S)
    finally:
        if process.poll() is None:
            # psutil is imported late: most of the time nothing has to be killed.
            from entrove.execution.process_tree import kill_process_tree

            kill_process_tree(process.pid)
    return process.returncode or 0


def _raise_exit(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
