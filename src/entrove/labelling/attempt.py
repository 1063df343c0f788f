"""One try at one label: what the engine is given, and how it ended, as files of the try's folder.

The atoms of an attempt are in canonical order, so that a result found in the folder later fits every
structure of the same content hash.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove.errors import LabelError
from entrove.labelling.labels import Outcome

REQUEST_FILE = "attempt.json"
RESULT_FILE = "result.json"
LOG_FILE = "engine.log"


@dataclass(frozen=True)
class Attempt:
    """A request to one engine process: `engine` is the engine's settings as JSON.

    After `labels_per_process` requests the process is replaced by a fresh one.
    """

    folder: str
    engine: str
    numbers: list[int]
    positions_A: list[list[float]]
    cell_A: list[list[float]]
    pbc: list[bool]
    rung: int
    time_limit_s: float
    labels_per_process: int = 50

    def atoms(self) -> Atoms:
        """The structure, in canonical order."""
        return Atoms(
            numbers=self.numbers, positions=self.positions_A, cell=self.cell_A, pbc=self.pbc
        )

    def write(self) -> None:
        """Create the folder and store the request there."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REQUEST_FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: str | Path) -> "Attempt":
        """Read back what `write` stored."""
        return cls(**json.loads((Path(folder) / REQUEST_FILE).read_text()))


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended. Energies in eV, lengths in Angstrom, forces in canonical atom order.

    `trouble` is set, and nothing else counts, when the machine failed and not the calculation: the
    disk is full, the folder cannot be written, the engine is not installed where the worker runs.
    """

    outcome: Outcome
    cause: str = ""
    energy_eV: float | None = None
    forces_eV_per_A: list[list[float]] | None = None
    stress_eV_per_A3: list[list[float]] | None = None
    rung: int = 0
    engine_seconds: float = 0.0
    engine_version: str = ""
    host_class: str = ""
    started_utc: str = ""
    trouble: str = ""

    def write(self, folder: str | Path) -> None:
        """Store the end in one step: a reader sees all of it or nothing, also after a power cut."""
        path = Path(folder) / RESULT_FILE
        partial = path.with_name(f".{RESULT_FILE}.{os.getpid()}.partial")
        try:
            with partial.open("w") as handle:
                handle.write(json.dumps(asdict(self)))
                handle.flush()
                os.fsync(handle.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: str | Path) -> "AttemptEnd | None":
        """Read back what `write` stored; None when the attempt never ended."""
        try:
            text = (Path(folder) / RESULT_FILE).read_text()
        except FileNotFoundError:
            return None
        fields = json.loads(text)
        return cls(**fields | {"outcome": Outcome(fields["outcome"])})


@dataclass(frozen=True)
class AttemptFolder:
    """All attempts at one structure: `root/attempt-1`, `root/attempt-2`, ..."""

    root: Path

    @classmethod
    def of(cls, work_folder: Path, structure_hash: str) -> "AttemptFolder":
        """The folder of a structure inside the labels' work folder."""
        return cls(work_folder / structure_hash[:2] / structure_hash)

    def ends(self) -> list[tuple[Path, AttemptEnd]]:
        """Folder and end of each finished attempt, first one first. Interrupted ones do not count."""
        found = ((folder, AttemptEnd.read(folder)) for folder in self._folders())
        return [(folder, end) for folder, end in found if end is not None]

    def next_folder(self) -> Path:
        """A folder that no attempt has used, not even an interrupted one whose engine may still run."""
        folders = self._folders()
        number = 1 + (_number(folders[-1]) if folders else 0)
        return self.root / f"attempt-{number}"

    def release(self) -> None:
        """Set finished attempts aside, so that the next one starts at the foot of the ladder."""
        for folder, _ in self.ends():
            number = 1
            while (aside := self.root / f"released-{number}-{folder.name}").exists():
                number += 1
            folder.rename(aside)

    def remove(self) -> None:
        """Delete every attempt at this structure."""
        try:
            shutil.rmtree(self.root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise LabelError(
                f"{self.root}: cannot be removed ({error}); check the permissions"
            ) from error

    def _folders(self) -> list[Path]:
        # By number, not by name: attempt-10 comes after attempt-9.
        return sorted(self.root.glob("attempt-*"), key=_number)


def _number(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def describe_atoms(atoms: Atoms, order: np.ndarray) -> dict[str, list]:
    """The fields of an `Attempt` that hold the structure, its atoms taken in `order`."""
    return {
        "numbers": atoms.numbers[order].tolist(),
        "positions_A": atoms.positions[order].tolist(),
        "cell_A": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }
