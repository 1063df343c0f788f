"""Ctrl-C that is never lost, and harmless once everything is done.

Python drops an exception that is raised while it cleans up, `KeyboardInterrupt` as any other: a
Ctrl-C at such a moment would stop nothing. So it is remembered, and raised again when progress is
reported next.
"""

import signal
from types import FrameType


class _Asked:
    """Whether Ctrl-C was pressed since the command began."""

    ever = False


def listen() -> None:
    """Remember Ctrl-C from now on; it is raised as before, too.

    A process that was told to ignore it, as by `nohup`, does so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def raise_if_asked() -> None:
    """Raise `KeyboardInterrupt` when Ctrl-C was pressed and the exception has got lost."""
    if _Asked.ever:
        raise KeyboardInterrupt


def ignore() -> None:
    """Ignore Ctrl-C from now on: everything is done, and only the interpreter has yet to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _remember(number: int, frame: FrameType | None) -> None:
    _Asked.ever = True
    signal.default_int_handler(number, frame)
