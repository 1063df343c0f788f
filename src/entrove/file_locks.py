"""Locks of files, which the system releases when a process dies, and file systems without them."""

import errno
import fcntl
from typing import IO, Any

from entrove.errors import ConfigError

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


class NoFileLocksError(ConfigError):
    """A file lies on a file system that has no locks."""


def try_to_lock(handle: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file without waiting; return False when another process has it.

    Args:
        handle: The file; the lock ends when it is closed.
        shared: Whether other processes may have a shared lock, too.

    Raises `NoFileLocksError` where the file system has no locks.
    """
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise NoFileLocksError(
            f"{handle.name}: this file system has no file locks ({error.strerror}), by which two "
            "processes are kept out of one folder; give a folder on another file system "
            "('entrove doctor --folder FOLDER' tries one), or have this one mounted with locks "
            "(Lustre: the option flock; NFS: the service rpc.statd)"
        ) from error
    return True
