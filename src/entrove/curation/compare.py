"""What two sets add to each other, what they have in common, and whether their labels agree."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from entrove.counts import format_count
from entrove.curation.drawing import lines_of_text, scatter, table
from entrove.curation.novelty import WhitenedSets
from entrove.curation.picking import feature_map
from entrove.curation.sources import Paths, RefusedFrame, UsableFrames, several
from entrove.entropy.dataset import EntropyDataset
from entrove.files import replace_text
from entrove.fingerprints.lengths import look_ahead
from entrove.formats import LabelKeys
from entrove.formats.addresses import without_password
from entrove.selection.config import SelectionConfig
from entrove.selection.duplicates import NearDuplicates
from entrove.selection.pool import FeaturePool, collect_pool
from entrove.structures import energy_of

COVERED_SHARE = 0.95
"""A frame is covered by a set when it adds no more to it than so many of its own frames do."""

LISTED = 10


@dataclass(frozen=True)
class ComparedFrame:
    """A frame, and what it adds to the other set, in nats."""

    source: str
    index: int
    gain: float


@dataclass(frozen=True, eq=False)
class Side:
    """One of two sets.

    `nats` is the information of the set alone, `adds` what it adds to the other one. `covered` is
    the share of its frames that the other set covers (see `COVERED_SHARE`), `new` are those that
    add most to it. `points` are the frames in the common map.
    """

    name: str
    frames: int
    atoms: int
    labelled: int
    nats: float
    adds: float
    covered: float
    new: tuple[ComparedFrame, ...] = field(repr=False)
    points: Float[np.ndarray, "frames 2"] = field(repr=False)
    refused: tuple[RefusedFrame, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class CommonFrame:
    """A structure that both sets hold, also rotated, translated or permuted.

    `distance` is that of the features, 0 for equal structures; `energy_offset_eV_per_atom` is the
    energy of B minus that of A, None where one of them has none.
    """

    in_a: tuple[str, int]
    in_b: tuple[str, int]
    distance: float
    energy_offset_eV_per_atom: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two sets add to each other, and what both hold."""

    a: Side
    b: Side
    features: str
    common: tuple[CommonFrame, ...] = field(repr=False)

    @property
    def offsets_eV_per_atom(self) -> Float[np.ndarray, " pairs"]:
        """Energies of B minus those of A for structures that both have labelled."""
        found = (frame.energy_offset_eV_per_atom for frame in self.common)
        return np.array([offset for offset in found if offset is not None])

    def summary(self) -> list[str]:
        """Say in a few lines how the sets differ."""
        lines = []
        for one, other in ((self.a, self.b), (self.b, self.a)):
            lines.append(
                f"{one.name}: {one.frames} frames, {one.atoms} atoms, {one.labelled} with energy, "
                f"{one.nats:.4g} nats"
            )
            lines.append(
                f"  adds {one.adds:.4g} nats to {other.name}, which covers "
                f"{100 * one.covered:.1f} % of its frames"
            )
            if one.refused:
                lines.append(f"  {format_count(len(one.refused), 'frame')} could not be used")
        lines.append(f"in common: {len(self.common)} structures of {self.b.name}")
        offsets = self.offsets_eV_per_atom
        if len(offsets):
            lines.append(
                f"their energies in {self.b.name} are {1000 * np.median(offsets):+.4g} meV/atom "
                f"from those in {self.a.name} (median of {len(offsets)}; from "
                f"{1000 * offsets.min():+.4g} to {1000 * offsets.max():+.4g})"
            )
        elif self.common:
            lines.append("no structure has an energy in both, so that labels cannot be compared")
        return lines

    def html(self) -> str:
        """Return a page that needs no other file."""
        new = "".join(
            f"<h2>Frames of {one.name} that add most to {other.name}</h2>"
            + table(
                ("file", "frame", "adds"),
                [(f.source, str(f.index), f"{f.gain:.3g} nats") for f in one.new],
            )
            for one, other in ((self.a, self.b), (self.b, self.a))
        )
        return (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Comparison</title>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'></head>"
            f"<body style='font-family:sans-serif'>{self._repr_html_()}{new}</body></html>\n"
        )

    def write_html(self, path: str | Path) -> None:
        """Write the page."""
        replace_text(path, self.html())

    def write_json(self, path: str | Path) -> None:
        """Write numbers, new frames and common structures."""
        replace_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, new frames and common structures as JSON values."""
        sides = [
            {
                "name": side.name,
                "frames": side.frames,
                "nats": side.nats,
                "adds_nats": side.adds,
                "covered": side.covered,
                "new": [[frame.source, frame.index, frame.gain] for frame in side.new],
                "refused": [str(frame) for frame in side.refused],
            }
            for side in (self.a, self.b)
        ]
        common = [
            [*frame.in_a, *frame.in_b, frame.distance, frame.energy_offset_eV_per_atom]
            for frame in self.common
        ]
        return {"a": sides[0], "b": sides[1], "features": self.features, "common": common}

    def _repr_html_(self) -> str:
        groups = {side.name: side.points for side in (self.a, self.b)}
        picture = scatter(groups, "both sets", "first principal axis", "second principal axis")
        return lines_of_text(self.summary()) + picture


def compare(
    a: Paths,
    b: Paths,
    *,
    features: str = "fingerprint",
    model: str = "7net-0",
    keys: LabelKeys | None = None,
) -> Comparison:
    """Compare two sets of structures, labelled or not.

    Args:
        a: Files or folders of the first set.
        b: Files or folders of the second.
        features: "fingerprint", or "model" for the last layer of `model`.
        model: A name or file that `entrove.models.load` knows.
        keys: Names of labels in the files instead of the usual ones.

    Returns a `Comparison`. Features are whitened on both sets together.
    Raises `StructureError` for a set without a frame that can be used.
    """
    paths_a, paths_b = several(a), several(b)
    read_a, read_b = (
        _Read(UsableFrames(paths, keys or LabelKeys(), for_features=True))
        for paths in (paths_a, paths_b)
    )
    seen_a, of_a = look_ahead(read_a.structures())
    seen_b, of_b = look_ahead(read_b.structures())
    made = feature_map(features, model, [*seen_a, *seen_b])
    dataset = EntropyDataset("information", "per_atom", features=made)
    settings = SelectionConfig(storage="float32")
    pool = collect_pool(chain(of_a, of_b), dataset, settings)
    sets = WhitenedSets(pool, len(read_a.places), dataset.config.ridge)
    points = sets.map_of_means()
    names = _names(paths_a, paths_b)
    sides = [
        _side(name, read, sets, points, first=first)
        for name, read, first in zip(names, (read_a, read_b), (True, False), strict=True)
    ]
    return Comparison(
        sides[0],
        sides[1],
        features=features if features == "fingerprint" else f"{features} of {model}",
        common=tuple(_common(pool, read_a, read_b, settings.duplicate_tolerance)),
    )


class _Read:
    """What is kept of the frames of a set while it is streamed."""

    def __init__(self, frames: UsableFrames) -> None:
        self.frames = frames
        self.places: list[tuple[str, int]] = []
        self.energies_eV_per_atom: list[float | None] = []
        self.atoms = 0

    def structures(self) -> Iterator[Atoms]:
        for frame in self.frames:
            atoms = frame.atoms
            if atoms is None:
                continue
            self.places.append((frame.source, frame.index))
            has_energy = "energy" in frame.labels
            self.energies_eV_per_atom.append(energy_of(atoms) / len(atoms) if has_energy else None)
            self.atoms += len(atoms)
            yield atoms
        if not self.places:
            raise self.frames.nothing_left()


def _side(
    name: str,
    read: _Read,
    sets: WhitenedSets,
    points: Float[np.ndarray, "frames 2"],
    *,
    first: bool,
) -> Side:
    gains = sets.gains(of_first=first)
    usual = np.quantile(sets.leave_one_out_gains(of_first=not first), COVERED_SHARE)
    best = np.argsort(-gains, kind="stable")[:LISTED].tolist()
    return Side(
        name=name,
        frames=len(read.places),
        atoms=read.atoms,
        labelled=sum(energy is not None for energy in read.energies_eV_per_atom),
        nats=sets.nats(first),
        adds=sets.nats_together() - sets.nats(not first),
        covered=float((gains <= usual).mean()),
        new=tuple(
            ComparedFrame(source, index, float(gains[row]))
            for row in best
            for source, index in [read.places[row]]
        ),
        points=points[: sets.n_first] if first else points[sets.n_first :],
        refused=tuple(read.frames.refused),
    )


def _common(
    pool: FeaturePool, read_a: _Read, read_b: _Read, tolerance: float
) -> Iterable[CommonFrame]:
    """Structures of B that are in A, the nearest of A for each."""
    n_first = len(read_a.places)
    by_hash = {pool.hashes[position]: position for position in reversed(range(n_first))}
    near = NearDuplicates(pool, tolerance)
    for position in range(n_first):
        near.remember(position)
    for row, place in enumerate(read_b.places):
        position = n_first + row
        equal = by_hash.get(pool.hashes[position])
        found = near.find(position) if equal is None else (equal, 0.0)
        if found is None:
            continue
        of_a, of_b = read_a.energies_eV_per_atom[found[0]], read_b.energies_eV_per_atom[row]
        offset = None if of_a is None or of_b is None else of_b - of_a
        yield CommonFrame(read_a.places[found[0]], place, found[1], offset)


def _names(a: Sequence[str | Path], b: Sequence[str | Path]) -> tuple[str, str]:
    """File names where they tell the sets apart, paths otherwise."""
    short = tuple(", ".join(Path(path).name for path in side) for side in (a, b))
    if short[0] != short[1]:
        return short[0], short[1]
    long_a, long_b = (", ".join(str(path) for path in side) for side in (a, b))
    return without_password(long_a), without_password(long_b)
