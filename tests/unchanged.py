"""A folder in which nothing may be written.

Tests may run as root, whom no permission refuses: that nothing was written shows in the times and
contents of the folder and its files. SQLite's own files beside a cache, which are gone again when
it is closed, show in the time of the folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Take the permissions to write away, and assert that everything stays as it is."""
    folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    before = _snapshot(folder)
    for path in folders:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o755)
    assert _snapshot(folder) == before


def _snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *folder.rglob("*"))
    }
