"""Read labelled structures from any file, one after the other."""

from collections.abc import Iterator
from pathlib import Path

from entrove.errors import StructureError
from entrove.formats.ase_files import read_by_ase, read_database
from entrove.formats.extxyz import read_extxyz
from entrove.formats.frame import Frame, LabelKeys

_COMPRESSED = {".gz", ".bz2", ".xz"}


def read_frames(path: str | Path, keys: LabelKeys | None = None) -> Iterator[Frame]:
    """Yield the frames of a file, one at a time, so that it need not fit in memory.

    Args:
        path: A file; its format is told by its name and content.
        keys: Names of labels to take instead of the usual ones.

    Yields a `Frame` for each structure, in order. A broken one carries its `problem`, and reading
    continues after it.
    Raises `StructureError` when there is no such file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.xyz"
    >>> _ = path.write_text("1\\nREF_energy=-1.5\\nSi 0 0 0\\n1\\nREF_energy=?\\nSi 0 0 0\\n")
    >>> good, broken = read_frames(path)
    >>> good.atoms.get_potential_energy(), good.notes, broken.index
    (-1.5, ('energy is REF_energy',), 1)
    """
    keys = keys or LabelKeys()
    if str(path).startswith(("postgresql://", "mysql://", "mariadb://")):
        yield from read_database(str(path), keys)
        return
    path = Path(path)
    if not path.exists():
        raise StructureError(f"{path}: no such file; check the path")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    if suffixes and suffixes[-1] in (".xyz", ".extxyz"):
        yield from read_extxyz(path, keys)
    elif suffixes and suffixes[-1] == ".db":
        yield from read_database(path, keys)
    else:
        yield from read_by_ase(path, keys)
