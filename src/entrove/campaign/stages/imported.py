"""Labels from elsewhere that a campaign trains on: how they are entered and withdrawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove import provenance
from entrove.campaign.workspace import Workspace
from entrove.labelling.labels import Label
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.contradictions import describe_differences
from entrove.labelling.store.moments import copy_moments, key_of, says_moments
from entrove.labelling.store.nearby import Geometries
from entrove.structures import (
    content_hash,
    copy_structure,
    is_readable,
    read_structures,
    write_structures,
)


@dataclass(frozen=True)
class Withdrawal:
    """What was removed with an import.

    Attributes:
        labels: Number of labels removed from the cache.
        trained_on: Number of them that were training labels of the campaign.
        validated_on: Number of them in the validation or test set, where they stay.
    """

    labels: int
    trained_on: int
    validated_on: int


def to_train_on(atoms: Atoms, label: Label) -> Atoms:
    """Return a structure with its label as `enter_imported` takes it."""
    labelled = label.attach(copy_structure(atoms))
    copy_moments(atoms, labelled)
    labelled.info[provenance.ROUND] = 0
    for key in (provenance.POOL, provenance.KIND, provenance.PHASE):
        labelled.info[key] = provenance.IMPORTED
    return labelled


def enter_imported(
    files: Workspace, labelled: Sequence[Atoms], cache: LabelCache
) -> tuple[int, int]:
    """Add labels to those that the campaign trains on from its next round on.

    Args:
        files: The campaign, which must not run meanwhile.
        labelled: Structures from `to_train_on`. One that is there already is replaced.
        cache: Its cache. Labels whose place others have taken there are trained on no more.

    Returns how many were entered, and how many were left out because they are in the validation
    set, exactly or within the decimals of a file.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    take_corrections(files, cache)
    held_out = Geometries(read_structures(files.round(0).hold_out, may_be_empty=True))
    free = [atoms for atoms in labelled if not held_out.have(atoms)]
    # A later file of the same command may have corrected them.
    kept = {key_of(atoms): atoms for atoms in _Corrections(cache).apply(free)}
    before = {key_of(atoms): atoms for atoms in read_structures(files.imported, may_be_empty=True)}
    write_structures(files.imported, list((before | kept).values()))
    return len(kept), len(labelled) - len(free)


def take_corrections(files: Workspace, cache: LabelCache) -> int:
    """Bring what the campaign trains on up to date with imports that were corrected since.

    Args:
        files: The campaign, which must not run meanwhile.
        cache: Its cache. A label that it does not hold is corrected by nothing, and stays.

    Imported labels become the corrected ones; those of the campaign's own picks are removed, and
    the next run takes them from the cache again, which knows them by the picks themselves then.

    Returns how many labels were out of date.
    """
    corrections = _Corrections(cache)
    removed = 0
    # The next run restores a damaged one from the cache.
    if is_readable(files.dataset):
        removed = _keep_if(files.dataset, corrections.leave)
    imported = read_structures(files.imported, may_be_empty=True)
    corrected = sum(corrections.concern(atoms) for atoms in imported)
    if corrected:
        kept = {key_of(atoms): atoms for atoms in corrections.apply(imported)}
        write_structures(files.imported, list(kept.values()))
    return removed + corrected


def corrected_held_out(files: Workspace, cache: LabelCache) -> int:
    """Count the labels of the validation and test set that were corrected since.

    Args:
        files: The campaign, which may run meanwhile.
        cache: Its cache.

    The next run takes the corrected ones, and validates all models again. Files that cannot be
    read hold none: their labels are taken from the cache in any case.
    """
    corrections = _Corrections(cache)
    return sum(corrections.concern(atoms) for atoms in _read_intact(files.validation, files.test))


def drop_corrected_held_out(files: Workspace, cache: LabelCache) -> None:
    """Take the labels out of the validation and test set that were corrected since.

    Args:
        files: The campaign, which must not run meanwhile, and labels both sets again.
        cache: Its cache.

    A stage that labels stores what these files hold and the cache does not: a wrong label would
    come back to it as one that was computed, which no import corrects.
    """
    corrections = _Corrections(cache)
    for path in (files.validation, files.test):
        if is_readable(path):
            _keep_if(path, lambda atoms: not corrections.concern(atoms))


class _Corrections:
    """The imported labels that the cache holds others for.

    Which ones is told by what the cache holds now, so that an import that was interrupted, or
    made for another campaign that shares the cache, counts as any other.
    """

    def __init__(self, cache: LabelCache) -> None:
        self._cache = cache
        self._levels = {level.hash: level for level in cache.levels()}
        self._imports = cache.imports()

    def concern(self, atoms: Atoms) -> bool:
        """Whether another label has taken the place of the one that a structure carries."""
        return self._current(atoms) is not atoms

    def leave(self, atoms: Atoms) -> bool:
        """Whether a structure keeps its label.

        Otherwise the label that counts now is stored for this very structure, too, so that it is
        found by its key where the file of the correction has fewer decimals.
        """
        if not self.concern(atoms):
            return True
        self._cache.get(atoms, self._levels[str(atoms.info[provenance.LEVEL_OF_THEORY])])
        return False

    def apply(self, structures: Sequence[Atoms]) -> list[Atoms]:
        """The structures, with the labels that have taken the place of theirs.

        One whose place was taken by a label of a magnetic state that it does not say is left out.
        """
        return [current for atoms in structures if (current := self._current(atoms)) is not None]

    def _current(self, atoms: Atoms) -> Atoms | None:
        """The structure and label, as they are stored, that count now: `atoms`, if unchanged."""
        level = self._levels.get(str(atoms.info.get(provenance.LEVEL_OF_THEORY)))
        if level is None or not _is_from_file(atoms):
            return atoms
        label = self._cache.find(atoms, level)
        if label is None:
            return None if self._has_gone(atoms, level) else atoms
        if not label.converged or label.import_id is None:
            return atoms
        carried = Label.from_atoms(atoms)
        adds_stress = carried.lacks_stress_of(atoms) and not label.lacks_stress_of(atoms)
        if not (adds_stress or describe_differences(carried, label)):
            return atoms
        return to_train_on(*(self._cache.find_stored(atoms, level) or (atoms, label)))

    def _has_gone(self, atoms: Atoms, level: LevelOfTheory) -> bool:
        """Whether a label that says no moments was corrected by one that says them."""
        # Another cache may have labels of this state beside it, which correct nothing.
        return (
            not says_moments(atoms)
            and self._cache.knows_import(atoms, level)
            and self._was_stored(atoms)
        )

    def _was_stored(self, atoms: Atoms) -> bool:
        """Whether it is of an import that this cache knows."""
        engine = str(atoms.info[provenance.ENGINE])
        return any(
            # Files of earlier versions do not say the import.
            int(atoms.info.get(provenance.IMPORT, record.id)) == record.id
            # Labels from a folder name the file inside.
            and (
                engine.endswith(f"imported from {Path(record.source).name}")
                or Path(record.source).is_dir()
            )
            for record in self._imports
        )


def _read_intact(*paths: Path) -> list[Atoms]:
    return [
        atoms
        for path in paths
        if is_readable(path)
        for atoms in read_structures(path, may_be_empty=True)
    ]


def _keep_if(path: Path, is_good: Callable[[Atoms], bool]) -> int:
    """Take the structures out of a file that are not good; it is written only if there are any.

    Returns how many they were.
    """
    structures = read_structures(path, may_be_empty=True)
    kept = [atoms for atoms in structures if is_good(atoms)]
    if len(kept) < len(structures):
        write_structures(path, kept)
    return len(structures) - len(kept)


def withdraw_import(files: Workspace, cache: LabelCache, import_id: int) -> Withdrawal:
    """Remove an import from the cache, and from what the campaign trains on.

    Args:
        files: The campaign, which must not run meanwhile; it need not have been started.
        cache: Its cache.
        import_id: Number of the import.

    The labels that remain are trained on at the next run. Raises `LabelError` when there is no
    such import.
    """
    # What an import has corrected goes with it, and not only if a run came between.
    take_corrections(files, cache)
    sources = [record.source for record in cache.imports() if record.id == import_id]
    withdrawn = cache.withdraw_import(import_id)
    labels, hashes = len(withdrawn), set(withdrawn)
    removed: set[str] = set()
    for path in (files.imported, files.dataset):
        structures = read_structures(path, may_be_empty=True)
        kept = [
            atoms
            for atoms in structures
            if not (_is_of_import(atoms, import_id, sources) and _is_computed_now(atoms, cache))
            and (not _was_imported(atoms, hashes) or _is_still_known(atoms, cache))
        ]
        if len(kept) < len(structures):
            removed |= {key_of(atoms) for atoms in structures} - {key_of(atoms) for atoms in kept}
            write_structures(path, kept)
    held_out = files.held_out_labels()
    held = [atoms for atoms in held_out if _was_imported(atoms, hashes)]
    validated_on = sum(not _is_still_known(atoms, cache) for atoms in held)
    return Withdrawal(labels, len(removed), validated_on)


def drop_imported(files: Workspace, withdrawn: dict[str, str]) -> None:
    """Remove labels that a round has withdrawn, by `LabelRow.key`, from the imported ones."""
    _keep_if(files.imported, lambda atoms: key_of(atoms) not in withdrawn)


def _was_imported(atoms: Atoms, hashes: set[str]) -> bool:
    return _is_from_file(atoms) and content_hash(atoms) in hashes


def _is_from_file(atoms: Atoms) -> bool:
    return "imported from" in str(atoms.info.get(provenance.ENGINE, ""))


def _is_of_import(atoms: Atoms, import_id: int, sources: Sequence[str]) -> bool:
    if provenance.IMPORT in atoms.info:
        return int(atoms.info[provenance.IMPORT]) == import_id
    # Files of earlier versions have the name of the source alone.
    engine = str(atoms.info.get(provenance.ENGINE, ""))
    return any(engine.endswith(f"imported from {Path(source).name}") for source in sources)


def _is_computed_now(atoms: Atoms, cache: LabelCache) -> bool:
    label = cache.get(atoms, str(atoms.info[provenance.LEVEL_OF_THEORY]))
    return label is not None and label.import_id is None


def _is_still_known(atoms: Atoms, cache: LabelCache) -> bool:
    """Whether the cache has a label in the magnetic state of a structure, of another import."""
    return cache.get(atoms, str(atoms.info[provenance.LEVEL_OF_THEORY])) is not None
