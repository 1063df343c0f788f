"""Ctrl-C and SIGTERM that are never lost, and Ctrl-C that is harmless once everything is done.

SIGTERM is what `kill`, `scancel`, a batch system at the end of a walltime and a machine that is
shut down send. It ends a command as Ctrl-C does: workers and jobs end with it.

Python drops an exception that is raised while it cleans up, `KeyboardInterrupt` as any other: a
Ctrl-C at such a moment would stop nothing. So it is remembered, and raised again when progress is
reported next.
"""

import os
import signal
from types import FrameType


class _Asked:
    """Whether Ctrl-C was pressed, or SIGTERM sent, since the command began."""

    ever = False
    by_sigterm = False
    process = 0
    """The one that listens, and not those that are forked from it."""


def listen() -> None:
    """Remember Ctrl-C and SIGTERM from now on; both raise `KeyboardInterrupt`.

    A process that was told to ignore one of them, as by `nohup`, does so.
    """
    _Asked.process = os.getpid()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _remember_sigterm)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def raise_if_asked() -> None:
    """Raise `KeyboardInterrupt` when the command was stopped and the exception has got lost."""
    if _Asked.ever:
        raise KeyboardInterrupt


def was_by_sigterm() -> bool:
    """Return whether the command was stopped by SIGTERM."""
    return _Asked.by_sigterm


def ignore() -> None:
    """Ignore Ctrl-C from now on: everything is done, and only the interpreter has yet to end.

    SIGTERM ends the process at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGTERM) is _remember_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _remember(number: int, frame: FrameType | None) -> None:
    _Asked.ever = True
    signal.default_int_handler(number, frame)


def _remember_sigterm(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _Asked.process:  # forked: it has nothing to keep or to end
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    _Asked.ever = _Asked.by_sigterm = True
    signal.default_int_handler(number, frame)
