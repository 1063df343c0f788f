"""What engines that are programs of their own have in common: the command and data files."""

import gzip
import hashlib
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from entrove.errors import LabelError
from entrove.execution.settings import CORES_VARIABLE


def fill_command(command: str) -> str:
    """Put the worker's number of cores where the command says `{cores}`.

    Then each rank has one core, so the threads of every rank are set to one.
    """
    if "{cores}" not in command:
        return command
    os.environ["OMP_NUM_THREADS"] = "1"
    return command.replace("{cores}", os.environ.get(CORES_VARIABLE, "1"))


def check_command(engine: str, command: str, program: str) -> None:
    """Raise `LabelError` when the first word of the command, or `program`, is not on PATH."""
    words = shlex.split(fill_command(command))
    needed = [word for word in words[:1] if word != program] + [
        word for word in words if program in word
    ][:1]
    for word in needed:
        if shutil.which(word) is None:
            raise LabelError(
                f"engine {engine}: the program '{word}' of command '{command}' is not on PATH; "
                "install it, load its module, or write its full path under labelling: engine: "
                "command"
            )


def refuse_keys(settings: Mapping[str, object], refused: Mapping[str, str], where: str) -> None:
    """Raise `ValueError`, with the remedy, for the first key that only Entrove may set."""
    for key in settings:
        remedy = refused.get(key.lower())
        if remedy is not None:
            raise ValueError(f"'{key}' cannot be given in {where}: {remedy}")


def hash_file(engine: str, path: Path) -> str:
    """Content hash of a file that belongs to the level of theory, such as a pseudopotential.

    A file that is compressed by gzip counts by what it holds.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return hashlib.sha256(content).hexdigest()[:16]
    except OSError as error:
        raise LabelError(
            f"engine {engine}: cannot read {path} ({error.strerror}); check the path"
        ) from error
