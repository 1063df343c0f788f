"""What running a command line gives."""

from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]
"""Called with the arguments of `entrove`; returns exit code, output and errors."""
