"""One attempt at one label: what the engine is given and what came of it, as files of its folder.

The atoms of an attempt are in canonical order, so that a result found in the folder later fits
every structure of the same content hash.
"""

import functools
import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove.errors import LabelError
from entrove.files import replace_text
from entrove.labelling.labels import Outcome

REQUEST_FILE = "attempt.json"
RESULT_FILE = "result.json"
LOG_FILE = "engine.log"


@dataclass(frozen=True)
class Attempt:
    """A request to one engine process: `engine` is the engine's settings as JSON.

    `moments` are initial magnetic moments in Bohr magnetons, for an engine that computes spin.

    `rung` is the rung of the engine's retry ladder (see `entrove.labelling.engines.base.Engine`).
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
    moments: list[float] | None = None

    @classmethod
    def of(
        cls,
        atoms: Atoms,
        order: np.ndarray,
        *,
        folder: Path,
        engine: str,
        rung: int,
        time_limit_s: float,
        labels_per_process: int = 50,
    ) -> "Attempt":
        """The request to label `atoms`, taken in `order`."""
        return cls(
            folder=str(folder),
            engine=engine,
            numbers=atoms.numbers[order].tolist(),
            positions_A=atoms.positions[order].tolist(),
            cell_A=atoms.cell.array.tolist(),
            pbc=atoms.pbc.tolist(),
            rung=rung,
            time_limit_s=time_limit_s,
            labels_per_process=labels_per_process,
            moments=atoms.get_initial_magnetic_moments()[order].tolist()
            if atoms.has("initial_magmoms")
            else None,
        )

    def atoms(self) -> Atoms:
        """The structure, in the order of the attempt."""
        return Atoms(
            numbers=self.numbers,
            positions=self.positions_A,
            cell=self.cell_A,
            pbc=self.pbc,
            magmoms=self.moments,
        )

    def write(self) -> None:
        """Create the folder and store the request there."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Not replaced in one step, which waits for the disk: only the engine process that is asked
        # next reads it, and after a crash the next attempt has another folder.
        (folder / REQUEST_FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: str | Path) -> "Attempt":
        """Read back what `write` stored."""
        return cls(**json.loads((Path(folder) / REQUEST_FILE).read_text()))


@dataclass(frozen=True)
class AttemptResult:
    """What came of an attempt. Energies in eV, lengths in Angstrom, atoms in the attempt's order.

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
        """Store the result: a reader sees all of it or nothing, also after a power cut."""
        replace_text(Path(folder) / RESULT_FILE, json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: str | Path) -> "AttemptResult | None":
        """Read back what `write` stored; None when the attempt never finished.

        A file that was emptied or cut, by a disk that failed or a copy that was interrupted, is no
        result either.
        """
        try:
            fields = json.loads((Path(folder) / RESULT_FILE).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return cls(**fields | {"outcome": Outcome(fields["outcome"])})


@dataclass(frozen=True)
class AttemptFolder:
    """All attempts at one structure: `root/attempt-1`, `root/attempt-2`, ..."""

    root: Path

    @classmethod
    def of(cls, work_folder: Path, key: str) -> "AttemptFolder":
        """The folder inside the labels' work folder, by what the label is known by.

        That is the content hash of the structure, with its magnetic state where it has one, see
        `entrove.labelling.store.moments.label_key`.
        """
        return cls(work_folder / key[:2] / key)

    @classmethod
    def of_all_states(cls, work_folder: Path, structure_hash: str) -> "list[AttemptFolder]":
        """The folders that exist for a structure, one for each magnetic state that was asked."""
        inside = work_folder / structure_hash[:2]
        return [cls(root) for root in sorted(inside.glob(f"{structure_hash}*")) if root.is_dir()]

    @property
    def key(self) -> str:
        """What the label is known by."""
        return self.root.name

    def results(self) -> list[tuple[Path, AttemptResult]]:
        """Folder and result of each attempt that finished, first one first."""
        found = ((folder, AttemptResult.read(folder)) for folder in self._folders())
        return [(folder, result) for folder, result in found if result is not None]

    def next_folder(self, after: int = 0) -> Path:
        """A folder that no attempt has used.

        Not even an interrupted one: its engine may still run and write there.

        Args:
            after: Number of the last attempt that the caller knows of. A network file system may
                not show its folder yet.
        """
        folders = self._folders()
        number = 1 + max(after, attempt_number(folders[-1]) if folders else 0)
        return self.root / f"attempt-{number}"

    def release(self) -> None:
        """Rename finished attempts, so that the next one starts on the first rung again."""
        for folder, _ in self.results():
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
        return sorted(self.root.glob("attempt-*"), key=attempt_number)


def attempt_number(folder: Path) -> int:
    """Number of an attempt, from the name of its folder."""
    return int(folder.name.rpartition("-")[2])


@functools.cache
def describe_host() -> str:
    """Architecture, processor and its cores: 'x86_64, Xeon Gold 6230, 40 processors'."""
    model = platform.processor() or "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = (
            line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        )
        model = next(names, model).rpartition(":")[2].strip()
    return f"{platform.machine()}, {model}, {os.cpu_count()} processors"
