"""Labels from elsewhere, computed with the same settings, from a file of any format."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from entrove import provenance
from entrove.counts import format_count
from entrove.errors import LabelError
from entrove.formats import Frame, LabelKeys, read_frames
from entrove.formats.addresses import database_address, without_password
from entrove.labelling.attempt import AttemptResult
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.sanity import (
    SanityLimits,
    find_implausible_value,
    find_impossible_structure,
)
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.contradictions import describe_contradiction
from entrove.labelling.store.file_conventions import FileConventions, judge_conventions
from entrove.structures import content_hash

_TURNED = "a known structure in another orientation, with the same label; not stored again"
_NO_STRESS = "a crystal without stress: its energy and forces count alone"


@dataclass(frozen=True)
class Refusal:
    """A structure of a file that was left out.

    Attributes:
        source: The file inside, where a folder was imported; empty for the file itself.
        index: Its position in the file, from 0.
        cause: Why.
    """

    source: str
    index: int
    cause: str

    @property
    def where(self) -> str:
        """The structure as messages about the file or folder name it."""
        return f"{self.source}: structure {self.index}".removeprefix(": ")


@dataclass(frozen=True)
class ImportReport:
    """What became of the labels of a file.

    Attributes:
        stored: Number of labels that are new in the cache.
        known: Number of labels that were there already, with the same values.
        refused: Each structure that was left out, and why.
        replaced: Number of labels that took the place of an earlier import: with `replacing`, and
            where the earlier one has no stress.
        conventions: What was done with the units, signs and names of the file, one line each.
        import_id: Number of the import, by which it can be withdrawn; None when nothing was
            stored.
    """

    stored: int
    known: int
    refused: tuple[Refusal, ...]
    replaced: int = 0
    conventions: tuple[str, ...] = ()
    import_id: int | None = None


def import_labels(
    path: str | Path,
    level: LevelOfTheory,
    cache: LabelCache,
    limits: SanityLimits | None = None,
    *,
    keys: LabelKeys | None = None,
    replacing: bool = False,
    on_label: Callable[[Atoms, Label], None] | None = None,
) -> ImportReport:
    """Put the labelled structures of a file into the cache, as labels of this level of theory.

    Args:
        path: A file in any format that `entrove.formats.read_frames` reads. The energy that counts
            is the free energy where the file has one: it is what forces are the derivative of.
            An energy that `keys` names counts alone.
        level: The level of theory. That the labels were computed at it is the caller's
            responsibility.
        cache: Where the labels are stored.
        limits: What is implausible; by default the limits of a configuration that sets none.
        keys: Names of the labels in the file, where they are not the usual ones.
        replacing: Whether a label that differs takes the place of one that was imported earlier.
            Labels that were computed always stay.
        on_label: Called with each structure whose label is now in the cache, and that label. For
            a copy of a known one in another orientation, or with other decimals, that is the
            structure that the cache knows.

    Returns how many labels are new and how many were known, in this or another orientation.
    Refused, one by one and with the reason: structures that cannot be read, that say of themselves
    that they did not converge, lack energy or forces, are implausible, contradict a label that is
    known, or whose own `info["entrove_level_of_theory"]` names another level.

    Raises `LabelError` when the file holds no usable label at all, or when its stresses or its
    energies contradict what they are derivatives of, over the whole file.
    """
    limits = limits or SanityLimits()
    conventions = judge_conventions(path, keys)
    import_id = cache.add_import(level, _full_name(path), "\n".join(conventions.described))
    counts, notes = Counter[str](), Counter[str]()
    refused: list[Refusal] = []
    for frame in read_frames(path, keys):
        notes.update(frame.notes)
        atoms = frame.atoms
        result, problem = _read_label(frame, level, conventions)
        problem = problem or (find_impossible_structure(atoms, limits) if atoms else "")
        problem = problem or find_implausible_value(result, len(atoms or ()), limits)
        if problem or atoms is None:
            refused.append(_refuse(frame, path, problem))
            continue
        label = _to_label(atoms, level, result, frame, import_id)
        present = cache.find(atoms, level)
        turned = None
        if present is None or not present.converged:
            turned = cache.find_turned(atoms, level)
        if turned is not None:
            atoms, label = turned.atoms, turned.turn_back(label)
            present = cache.find(atoms, level)
        what, difference = _settle(label, present, atoms, replacing)
        if difference:
            refused.append(_refuse(frame, path, difference))
            counts["contradict"] += 1
            continue
        counts[what] += 1
        if what == "stored":
            cache.put(atoms, label, level, state_is_known=False)
        elif what == "replaced":
            cache.correct(atoms, label, level)
        else:
            assert present is not None  # it is known
            atoms, label = cache.find_stored(atoms, level) or (atoms, present)
            notes[_TURNED] += turned is not None
        notes[_NO_STRESS] += label.lacks_stress_of(atoms)
        if on_label is not None:
            on_label(atoms, label)
    if not counts["stored"] + counts["replaced"]:
        cache.withdraw_import(import_id)
        import_id = None
    _require_usable(path, counts, refused)
    described = [
        f"{note} (in {format_count(count, 'frame')})" for note, count in notes.items() if count
    ]
    return ImportReport(
        counts["stored"],
        counts["known"],
        tuple(refused),
        counts["replaced"],
        (*described, *conventions.described),
        import_id,
    )


def _require_usable(path: str | Path, counts: Counter[str], refused: Sequence[Refusal]) -> None:
    """Raise `LabelError` for a file of which nothing was stored or is known."""
    shown = without_password(str(path))
    if counts["contradict"] and counts.total() == counts["contradict"]:
        raise LabelError(
            f"{shown}: nothing was imported, all usable labels of {len(refused)} structures "
            f"contradict labels that are known ({refused[-1].where}: {refused[-1].cause})"
        )
    if not counts.total():
        first = f"{refused[0].where}: {refused[0].cause}" if refused else "it is empty"
        raise LabelError(
            f"{shown}: none of {len(refused)} structures has a usable label (first: {first}); the "
            "file needs energy (eV) and forces (eV/A)"
        )


def _settle(label: Label, present: Label | None, atoms: Atoms, replacing: bool) -> tuple[str, str]:
    """What becomes of a label ("stored", "known" or "replaced"), or why it is refused."""
    if present is None or not present.converged:
        return "stored", ""
    is_imported = present.import_id is not None
    if difference := describe_contradiction(label, present):
        # Two labels of one file are no correction of one another.
        is_earlier = is_imported and present.import_id != label.import_id
        return ("replaced", "") if is_earlier and replacing else ("", difference)
    adds_stress = present.lacks_stress_of(atoms) and not label.lacks_stress_of(atoms)
    return ("replaced" if is_imported and adds_stress else "known"), ""


def _refuse(frame: Frame, path: str | Path, cause: str) -> Refusal:
    is_inside = database_address(path) is None and Path(frame.source) != Path(path)
    source = str(Path(frame.source).relative_to(path)) if is_inside else ""
    return Refusal(source, frame.index, cause)


def _read_label(
    frame: Frame, level: LevelOfTheory, conventions: FileConventions
) -> tuple[AttemptResult, str]:
    """The numbers of a frame as a finished attempt, and why they are no label."""
    atoms = frame.atoms
    label = {} if atoms is None else conventions.label_of(atoms)
    result = AttemptResult(
        outcome=Outcome.CONVERGED,
        energy_eV=label.get("energy"),
        forces_eV_per_A=label["forces"].tolist() if "forces" in label else None,
        stress_eV_per_A3=voigt_6_to_full_3x3_stress(label["stress"]).tolist()
        if "stress" in label
        else None,
    )
    if frame.problem or atoms is None:
        return result, frame.problem
    if frame.converged is False:
        return result, "it says of itself that it did not converge"
    own_level = str(atoms.info.get(provenance.LEVEL_OF_THEORY, level.hash))
    if own_level not in (level.hash, level.without_version().hash):
        return result, f"its own level of theory is {own_level}, and this one is {level.hash}"
    missing = [name for name in ("energy", "forces") if name not in label]
    if not missing:
        return result, ""
    hints = [note for note in frame.notes if note.startswith("no ")]
    return result, "; ".join([f"it has no {missing[0]}", *hints])


def _to_label(
    atoms: Atoms, level: LevelOfTheory, result: AttemptResult, frame: Frame, import_id: int
) -> Label:
    return Label(
        structure_hash=content_hash(atoms),
        level_of_theory=level.hash,
        outcome=result.outcome,
        folder=f"{_full_name(frame.source)}#{frame.index}",
        energy_eV=result.energy_eV,
        forces_eV_per_A=np.array(result.forces_eV_per_A, dtype=float),
        stress_eV_per_A3=None
        if result.stress_eV_per_A3 is None
        else np.array(result.stress_eV_per_A3, dtype=float),
        attempts=0,
        engine=level.engine,
        engine_version=f"imported from {Path(frame.source).name}",
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        import_id=import_id,
    )


def _full_name(source: str | Path) -> str:
    """The full path of a file, or the address of a database without its password."""
    address = database_address(source)
    return str(Path(source).absolute()) if address is None else without_password(address)
