"""Frames of one or several files that can be used, and those that cannot, with the reason."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove.errors import StructureError
from entrove.formats import Frame, LabelKeys, read_frames
from entrove.formats.addresses import without_password

Paths = str | Path | Iterable[str | Path]
"""One file or folder, or several."""

NOT_CONVERGED = "the electronic steps did not converge"
SHOWN_REASONS = 10
LEAST_DISTANCE_A = 1e-3
ALL_PAIRS = 200
"""Up to so many atoms, all pairs are compared; beyond it a search of neighbours is faster."""
LEAST_VOLUME_PER_ATOM_A3 = 0.5
"""Denser than any matter; the sphere of an atom would hold millions of images."""


@dataclass(frozen=True)
class RefusedFrame:
    """A frame that was left out: the file, its position in it, and why."""

    source: str
    index: int
    reason: str

    def __str__(self) -> str:
        """The frame and the reason, as messages show them."""
        return f"{self.source}: frame {self.index}: {self.reason}"


@dataclass
class UsableFrames:
    """Streams the frames that can be used, and keeps what was said about all of them.

    A frame is refused when it cannot be read, when its electronic steps did not converge (unless
    `unconverged` takes such frames, too, whose labels are no use then), or when it is periodic
    without a volume; with `for_features` also when it is too dense or when two atoms are at one
    place. `notes` counts what was done with conventions, by text, and `labels` are those that
    occur, and `crystals` is whether a frame is periodic in all directions.
    """

    paths: tuple[str | Path, ...]
    keys: LabelKeys = field(default_factory=LabelKeys)
    for_features: bool = False
    unconverged: bool = False
    refused: list[RefusedFrame] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    used: int = 0
    labels: set[str] = field(default_factory=set[str])
    crystals: bool = False

    def __iter__(self) -> Iterator[Frame]:
        """Read all files from the start."""
        self.refused.clear()
        self.notes.clear()
        self.used = 0
        self.labels.clear()
        self.crystals = False
        for path in self.paths:
            for frame in read_frames(path, self.keys):
                reason = reason_against(frame, unconverged=self.unconverged)
                if not reason and self.for_features and frame.atoms is not None:
                    reason = reason_against_features(frame.atoms)
                self.labels.update(frame.labels)
                self.crystals |= frame.atoms is not None and bool(frame.atoms.pbc.all())
                if reason:
                    self.refused.append(RefusedFrame(frame.source, frame.index, reason))
                    continue
                self.notes.update(frame.notes)
                self.used += 1
                yield frame

    def check_keys(self) -> None:
        """Raise `StructureError` when no frame has a label that the keys name."""
        self.keys.refuse_missing(self.labels, self.paths, crystals=self.crystals)

    def nothing_left(self) -> StructureError:
        """The error for files without a single usable frame."""
        files = without_password(", ".join(str(path) for path in self.paths))
        if not self.refused:
            return StructureError(f"{files}: no frames; give a file with at least one structure")
        first = "\n".join(str(frame) for frame in self.refused[:SHOWN_REASONS])
        return StructureError(f"{files}: none of {len(self.refused)} frames can be used:\n{first}")


def several(paths: Paths) -> tuple[str | Path, ...]:
    """Return the paths as a tuple, also where one is given."""
    return (paths,) if isinstance(paths, str | Path) else tuple(paths)


def reason_against(frame: Frame, *, unconverged: bool = False) -> str:
    """Return why a frame cannot be used, or "".

    With `unconverged` it may be one whose electronic steps did not converge.
    """
    if frame.problem or frame.atoms is None:
        return frame.problem
    if frame.converged is False and not unconverged:
        told = next((note for note in frame.notes if note.startswith("not converged")), "")
        return told or f"{NOT_CONVERGED}, says the frame"
    cell, pbc = frame.atoms.cell, frame.atoms.pbc
    # `complete` puts a vector of length 1 in the place of one without length.
    if not cell.lengths()[pbc].all():
        return "periodic, but a cell vector of a periodic direction has no length"
    if pbc.any() and not cell.complete().volume > 0:
        return "periodic, but the cell has no volume"
    return ""


def reason_against_features(atoms: Atoms) -> str:
    """Return why a structure has no fingerprints, or ""."""
    if atoms.pbc.all() and atoms.cell.volume < LEAST_VOLUME_PER_ATOM_A3 * len(atoms):
        return f"{atoms.cell.volume / len(atoms):.3g} A^3 per atom, denser than any matter"
    pair = _pair_at_one_place(atoms)
    return "" if pair is None else f"atoms {pair[0]} and {pair[1]} are at one place"


def _pair_at_one_place(atoms: Atoms) -> tuple[int, int] | None:
    if len(atoms) > ALL_PAIRS:
        from ase.neighborlist import neighbor_list

        first, second = neighbor_list("ij", atoms, LEAST_DISTANCE_A)
    else:
        # Of two atoms at one place, the nearest image is that of rounded fractions.
        lattice = atoms.cell.complete().array
        fractions = atoms.positions @ np.linalg.inv(lattice)
        apart = fractions[:, None] - fractions
        apart -= np.where(atoms.pbc, np.round(apart), 0.0)
        squares = np.square(apart @ lattice).sum(-1)
        first, second = np.nonzero(np.triu(squares < LEAST_DISTANCE_A**2, 1))
    return (int(first[0]), int(second[0])) if len(first) else None
