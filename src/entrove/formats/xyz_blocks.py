"""An (extended) XYZ file cut into its frames, as text, also where some of them are broken.

ASE's reader stops for good at the first frame that is damaged. Here the cut is made by lines that
hold one integer only, which no line of an atom does, so that reading continues with the next
frame. The text of a frame is kept as it is in the file, and can be copied byte for byte.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Literal, cast

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
READ_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What reading a file raises where it ends early or is damaged, compressed or not."""


@dataclass(slots=True)
class XyzBlock:
    """The lines of one frame with their ends, from the number of atoms on.

    `line` is the number of the first line in the file, from 1. `problem` says why the block is no
    whole frame.
    """

    index: int
    line: int
    n_atoms: int
    lines: list[str]
    problem: str = ""

    @property
    def comment(self) -> str:
        """The second line, without its end."""
        return self.lines[1].strip() if len(self.lines) > 1 else ""


def is_compressed(path: str | Path) -> bool:
    """Whether a file is compressed by its name: .gz, .bz2 or .xz."""
    return Path(path).suffix.lower() in _OPENERS


def without_compression(path: str | Path) -> Path:
    """Return a path without the ending of a compression, if it has one.

    >>> without_compression("Cu.cif.gz").name, without_compression("Cu.cif").name
    ('Cu.cif', 'Cu.cif')
    """
    return Path(path).with_suffix("") if is_compressed(path) else Path(path)


def open_text(path: str | Path, mode: Literal["rt", "wt"] = "rt") -> TextIOWrapper:
    """Open a text file to read or write, compressed where its name says so.

    Bytes that are no UTF-8, and line ends, survive reading and writing.
    """
    opener = _OPENERS.get(Path(path).suffix.lower(), open)
    handle = opener(path, mode, encoding="utf-8", errors="surrogateescape", newline="\n")
    return cast("TextIOWrapper", handle)


def iterate_xyz_blocks(path: str | Path) -> Iterator[XyzBlock]:
    """Yield the frames of an XYZ file as text, in constant memory.

    Raises `OSError` when the file cannot be opened.
    """
    with open_text(path) as handle:
        yield from _Cutter(handle).blocks()


def atom_count(line: str) -> int | None:
    """Return the number of atoms where `line` is one integer that is not negative."""
    if len(line) > 24:
        return None
    text = line.strip()
    return int(text) if text.isascii() and text.isdigit() else None


class _Cutter:
    """Reads lines, with one step back, and puts them together to blocks."""

    def __init__(self, handle: TextIOWrapper) -> None:
        self._handle = handle
        self._returned: list[str] = []
        self._number = 0
        self._read_error = ""

    def blocks(self) -> Iterator[XyzBlock]:
        index = 0
        while line := self._next():
            if index == 0 and self._number == 1:
                line = line.removeprefix("\ufeff")
            if not line.strip():
                continue
            yield self._block(index, line)
            index += 1
        if self._read_error:
            yield XyzBlock(index, self._number, 0, [], f"reading stopped: {self._read_error}")

    def _next(self) -> str:
        """The next line, or "" at the end of the file or where it cannot be read."""
        self._number += 1
        if self._returned:
            return self._returned.pop()
        try:
            return self._handle.readline()
        except READ_ERRORS as error:
            self._read_error = str(error) or type(error).__name__
            return ""

    def _return(self, line: str) -> None:
        self._number -= 1
        if line:
            self._returned.append(line)

    def _block(self, index: int, line: str) -> XyzBlock:
        block = XyzBlock(index, self._number, 0, [line])
        n_atoms = atom_count(line)
        if n_atoms is None:
            block.problem = f"'{_start(line)}' where the number of atoms should be"
            self._skip(block)
            return block
        block.n_atoms = n_atoms
        comment = self._next()
        if not comment or (atom_count(comment) is not None and self._comment_follows()):
            self._return(comment)
            block.problem = "the frame ends after the number of atoms"
            return block
        block.lines.append(comment)
        for n_read in range(n_atoms):
            line = self._next()
            if not line or atom_count(line) is not None:
                self._return(line)
                where = "the file ends" if not line else "the next frame begins"
                block.problem = f"{where} after {n_read} of {n_atoms} atoms"
                return block
            block.lines.append(line)
        block.lines += self._lines_after_atoms()
        surplus = [line for line in block.lines[2 + n_atoms :] if not line.startswith("VEC")]
        if surplus:
            block.problem = (
                f"{n_atoms} atoms are announced, but '{_start(surplus[0])}' follows the last one"
            )
        elif n_atoms == 0:
            block.problem = "a frame without atoms"
        return block

    def _lines_after_atoms(self) -> list[str]:
        """Lines between the last atom and the next number of atoms, but empty ones.

        Where a frame has lost its number of atoms, they are lines of that frame: none.
        """
        lines: list[str] = []
        while (line := self._next()) and atom_count(line) is None:
            lines.append(line)
        self._return(line)
        if any(_is_comment(line) for line in lines):
            for line in reversed(lines):
                self._return(line)
            return []
        return [line for line in lines if line.strip()]

    def _comment_follows(self) -> bool:
        line = self._next()
        self._return(line)
        return _is_comment(line)

    def _skip(self, block: XyzBlock) -> None:
        """Add to the block whatever comes before the next number of atoms, but empty lines."""
        while line := self._next():
            if atom_count(line) is not None:
                self._return(line)
                return
            if line.strip():
                block.lines.append(line)


def _is_comment(line: str) -> bool:
    text = line.lower()
    return "lattice=" in text or "properties=" in text


def _start(line: str) -> str:
    text = line.strip()
    return text if len(text) <= 40 else text[:37] + "..."
