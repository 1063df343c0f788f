"""Frames on disk in binary while a set is audited, so that memory does not grow with the set.

Two temporary files: one record of fixed size per frame, read as an array that the operating system
pages in, and the atoms of all frames one after the other.
"""

import os
import tempfile
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from ase import Atoms

from entrove.errors import StructureError
from entrove.structures import content_hash

RECORD = np.dtype(
    [
        ("file", "i4"),
        ("index", "i8"),
        ("source", "i4"),
        ("formula", "i4"),
        ("atoms", "i4"),
        ("offset", "i8"),
        ("pbc", "?", (3,)),
        ("cell", "f8", (3, 3)),
        ("energy", "f8"),
        ("smearing", "f8"),
        ("stress", "f8", (6,)),
        ("temperature", "f4"),
        ("has_forces", "?"),
        ("isolated", "?"),
        ("usable", "?"),
        ("against", "?"),
        ("content", "S32"),
    ]
)
"""What is kept of each frame; a label that a frame does not have is not a number.

`smearing` is the free energy less the energy, `content` what `content_hash` gives, empty
for a cell that has none. `source` and `formula` number the sources and reduced compositions in
`Spool.sources` and `Spool.formulas`. `usable` frames have no blocker, and take part in fits and
comparisons.
"""


class Spool:
    """Frames that were read, in the order in which they were."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="entrove-audit-")
        self._records = open(os.path.join(self._folder.name, "records"), "w+b")  # noqa: SIM115
        self._atoms = open(os.path.join(self._folder.name, "atoms"), "w+b")  # noqa: SIM115
        self._offset = 0
        self._count = 0
        self.files: list[str] = []
        self.sources: list[str] = []
        self.formulas: list[str] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._mapped: np.ndarray | None = None

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mapped = None
        self._records.close()
        self._atoms.close()
        self._folder.cleanup()

    def __len__(self) -> int:
        return self._count

    def append(
        self,
        atoms: Atoms,
        *,
        file: str,
        index: int,
        source: str,
        formula: str,
        temperature_K: float,
        isolated: bool,
        usable: bool,
        against: bool,
    ) -> None:
        """Write one frame with its labels."""
        results = getattr(atoms.calc, "results", {})
        forces = results.get("forces")
        record = np.zeros((), dtype=RECORD)
        record["file"] = self._number("file", file, self.files)
        record["source"] = self._number("source", source, self.sources)
        record["formula"] = self._number("formula", formula, self.formulas)
        record["index"], record["atoms"], record["offset"] = index, len(atoms), self._offset
        record["pbc"], record["cell"] = atoms.pbc, atoms.cell.array
        record["energy"] = results.get("energy", np.nan)
        record["smearing"] = results.get("free_energy", np.nan) - record["energy"]
        record["stress"] = results.get("stress", np.nan)
        record["temperature"] = temperature_K
        record["has_forces"], record["isolated"] = forces is not None, isolated
        record["usable"], record["against"] = usable, against
        record["content"] = _content_of(atoms)
        parts = [atoms.numbers.astype("i4").tobytes(), atoms.positions.astype("f8").tobytes()]
        if forces is not None:
            parts.append(np.asarray(forces, dtype="f8").tobytes())
        for part in parts:
            self._atoms.write(part)
            self._offset += len(part)
        self._records.write(record.tobytes())
        self._count += 1

    @property
    def records(self) -> np.ndarray:
        """All records, as an array on disk whose changes are kept."""
        if self._mapped is None or len(self._mapped) != self._count:
            self._records.flush()
            self._atoms.flush()
            self._mapped = (
                np.memmap(self._records, dtype=RECORD, mode="r+", shape=(self._count,))
                if self._count
                else np.zeros(0, dtype=RECORD)
            )
        return self._mapped

    def column(self, shape: tuple[int, ...], dtype: str = "f8") -> np.ndarray:
        """Return a new array on disk with one row per frame, filled with zeros."""
        if not self._count:
            return np.zeros((0, *shape), dtype=dtype)
        handle, path = tempfile.mkstemp(dir=self._folder.name)
        os.close(handle)
        return np.memmap(path, dtype=dtype, mode="w+", shape=(self._count, *shape))

    def structures(self, frames: Sequence[int] | np.ndarray) -> list[Atoms]:
        """Read structures back: species, positions, cell and periodicity."""
        return [self._read(int(frame))[0] for frame in frames]

    def forces(self, frames: Sequence[int] | np.ndarray) -> list[np.ndarray | None]:
        """Read forces back, in eV/A; None where a frame has none."""
        return [self._read(int(frame))[1] for frame in frames]

    def with_forces(
        self, frames: Sequence[int] | np.ndarray
    ) -> tuple[list[Atoms], list[np.ndarray | None]]:
        """Read structures and forces together."""
        both = [self._read(int(frame)) for frame in frames]
        return [atoms for atoms, _ in both], [forces for _, forces in both]

    def _read(self, frame: int) -> tuple[Atoms, np.ndarray | None]:
        record = self.records[frame]
        count, has_forces = int(record["atoms"]), bool(record["has_forces"])
        length = count * (4 + 24 + (24 if has_forces else 0))
        data = os.pread(self._atoms.fileno(), length, int(record["offset"]))
        numbers = np.frombuffer(data, "i4", count)
        values = np.frombuffer(data, "f8", offset=4 * count).reshape(-1, count, 3)
        atoms = Atoms(numbers=numbers, positions=values[0], cell=record["cell"], pbc=record["pbc"])
        return atoms, values[1].copy() if has_forces else None

    def _number(self, kind: str, name: str, names: list[str]) -> int:
        key = (kind, name)
        if key not in self._numbers:
            self._numbers[key] = len(names)
            names.append(name)
        return self._numbers[key]


def _content_of(atoms: Atoms) -> str:
    """The hash of the content, empty for a cell without a volume along its periodic directions."""
    try:
        return content_hash(atoms)
    except StructureError:
        return ""
