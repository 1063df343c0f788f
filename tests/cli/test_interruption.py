"""Ctrl-C is never lost, and does nothing once a command has ended."""

import signal
import subprocess
import sys

import pytest

DISPLAYS = ("PlainProgress(Console())", "LiveProgress(Console(force_terminal=True))")

DROPPED = """
import os, signal, sys, time
from rich.console import Console
from entrove.cli.interruption import listen
from entrove.cli.progress import LiveProgress, PlainProgress

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

# What a shell starts in the background ignores Ctrl-C, as these tests may be.
signal.signal(signal.SIGINT, signal.default_int_handler)
listen()
progress = {display}
progress.stage_started(1, "label", "labels", 3, "labels")
Finalised()  # Python drops what is raised in __del__
print("went on")
try:
    progress.advanced(1)
except KeyboardInterrupt:
    print("stopped")
"""

AT_THE_END = """
import atexit, os, signal, sys, time

def press():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)

atexit.register(press)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["entrove", "--version"]
from entrove.cli.main import run
run()
"""

IGNORED = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from entrove.cli.interruption import listen, raise_if_asked
listen()
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.2)
raise_if_asked()
"""


TERMINATED = """
import os, signal, sys
from entrove.cli import main
from entrove.cli.interruption import listen

def wait_for_label(**_):
    child = os.fork()
    if not child:  # as a worker of multiprocessing: SIGTERM ends it, and nothing is raised
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(9)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("jobs are ended")

main.app.registered_commands.clear()
main.app.command("label")(lambda: wait_for_label())
main.app.command("other")(lambda: None)
sys.argv = ["entrove", "label"]
main.run()
"""


def run_code(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("display", DISPLAYS)
def test_an_interrupt_that_python_drops_stops_at_the_next_report(display: str):
    done = run_code(DROPPED.format(display=display))
    assert "went on" in done.stdout
    assert done.stdout.rstrip().endswith("stopped"), done.stderr


def test_an_interrupt_after_the_end_changes_nothing():
    done = run_code(AT_THE_END)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("entrove ")


def test_sigterm_ends_a_command_in_order():
    done = run_code(TERMINATED)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout.splitlines() == ["child -15", "jobs are ended"]
    assert done.stderr == (
        "entrove: stopped; what is finished is kept, and the same command continues from here\n"
    )


def test_a_process_that_ignores_interrupts_goes_on():
    assert run_code(IGNORED).returncode == 0
