"""What to do about an error of SQLite: a full disk, missing permissions, another process."""

from collections.abc import Mapping

_FREE_SPACE = "free some disk space, then start again: {kept}"
_NOT_WRITABLE = "it cannot be written; check the permissions of the file and its folder"
_REMEDIES = {
    "locked": "another process keeps it locked; wait for that process or stop it, then start "
    "again",
    "locking protocol": "its file system has no file locks; give a path on one that has them",
    "full": f"the disk is full; {_FREE_SPACE}",
    "No space": f"the disk is full; {_FREE_SPACE}",
    "disk I/O": f"the disk failed or is full; {_FREE_SPACE}",
    "readonly": _NOT_WRITABLE,
    "read-only": _NOT_WRITABLE,
    "Permission": _NOT_WRITABLE,
    "unable to open": "it cannot be opened; check that its folder exists and can be written",
}
"""What to do, by a part of the message of SQLite or of the operating system."""


def find_remedy(
    error: Exception, of_this_file: Mapping[str, str], *, kept: str, otherwise: str
) -> str:
    """Say what to do about an error of SQLite or of the operating system.

    Args:
        error: The error.
        of_this_file: Remedies that differ from file to file, by a part of the message.
        kept: What a full disk does not take away, as a sentence.
        otherwise: The remedy for all other errors.

    >>> import sqlite3
    >>> error = sqlite3.OperationalError("database or disk is full")
    >>> find_remedy(error, {}, kept="labels are kept", otherwise="look at the file")
    'the disk is full; free some disk space, then start again: labels are kept'
    """
    text = str(error)
    for key, remedy in (*of_this_file.items(), *_REMEDIES.items()):
        if key in text:
            return remedy.format(kept=kept)
    return otherwise
