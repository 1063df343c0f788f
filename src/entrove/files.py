"""Replace a file in one step, find out beforehand whether it can be written, and hash it.

A reader, or a restart after a crash, sees the old file or the new one, never a part of it.
"""

import hashlib
import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from entrove.errors import ConfigError


@contextmanager
def replacing(path: str | Path) -> Generator[Path]:
    """Yield a path to write to; the file written there replaces `path` when the block ends.

    The content is on disk before the name changes, so that not even a power cut leaves half a
    file. When the block raises, `path` stays as it was and the unfinished file is removed. The
    name of the unfinished file has the suffix of `path`, from which some writers take the format.
    Where `path` is a symbolic link, the file that it names is replaced, and the link stays.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "notes.txt") as unfinished:
    ...     _ = unfinished.write_text("done")
    >>> (folder / "notes.txt").read_text(), len(list(folder.iterdir()))
    ('done', 1)
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()
    unfinished = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield unfinished
        with unfinished.open("rb") as handle:
            os.fsync(handle.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def refuse_overwriting(targets: Iterable[str | Path | None], inputs: Iterable[str | Path]) -> None:
    """Raise `ConfigError` when a file that is to be written is one that is read."""
    read = {Path(path).resolve(): path for path in inputs}
    for target in targets:
        if target is not None and Path(target).resolve() in read:
            raise ConfigError(
                f"{target} would be overwritten, and it is read; write to another file"
            )


def require_writable(what: str, folder: Path) -> None:
    """Raise `ConfigError` unless files can be written into a folder, or it can be created.

    Args:
        what: What the user gave, with which the message begins.
        folder: The folder; it need not exist.
    """
    place = folder.absolute()
    while not os.path.exists(place):  # not `Path.exists`, which raises where nothing may be read
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"{what}: {place} is a file; give another path")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{what}: you may not write into the folder {place}; give another path, or change its "
            "permissions"
        )
    try:
        # Some file systems refuse what the permissions allow, and others are full.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ConfigError(
            f"{what}: nothing can be written there ({error.strerror}); give another path, or "
            "check permissions and free space"
        ) from error


def replace_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, replacing `path` in one step."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def hash_of_file(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
