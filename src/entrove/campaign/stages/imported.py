"""Labels from elsewhere that a campaign trains on: how they are entered and withdrawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove import provenance
from entrove.campaign.workspace import Workspace, is_imported
from entrove.labelling.labels import Label
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.moments import UNKNOWN, copy_moments, key_of, magnetic_state
from entrove.labelling.store.nearby import Geometries
from entrove.labelling.store.superseded import Superseded
from entrove.structures import (
    content_hash,
    copy_structure,
    energy_of,
    forces_of,
    has_stress,
    read_structures,
    stress_of,
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
    files: Workspace, labelled: Sequence[Atoms], superseded: Sequence[Superseded] = ()
) -> tuple[int, int]:
    """Add labels to those that the campaign trains on from its next round on.

    Args:
        files: The campaign, which must not run meanwhile.
        labelled: Structures from `to_train_on`. One that is there already is replaced.
        superseded: Labels whose place others have taken, which are trained on no more. The
            campaign takes those of its own picks from the cache again.

    Returns how many were entered, and how many were left out because they are in the validation
    set, exactly or within the decimals of a file.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    held_out = Geometries(read_structures(files.round(0).hold_out, may_be_empty=True))
    free = [atoms for atoms in labelled if not held_out.have(atoms)]
    kept = {key_of(atoms): atoms for atoms in free}
    gone = _Labels(superseded)
    if superseded:
        _keep_if(files.dataset, lambda atoms: not gone.have(atoms))
    before = {
        key_of(atoms): atoms
        for atoms in read_structures(files.imported, may_be_empty=True)
        if not gone.have(atoms)
    }
    write_structures(files.imported, list((before | kept).values()))
    return len(kept), len(labelled) - len(free)


class _Labels:
    """Imported labels, to be found again on the structures that carry them."""

    def __init__(self, labels: Sequence[Superseded]) -> None:
        self._labels: dict[str, list[Superseded]] = {}
        for label in labels:
            self._labels.setdefault(label.structure_hash, []).append(label)

    def have(self, atoms: Atoms) -> bool:
        """Whether a structure carries one of them; one of any state may be kept with a state."""
        if not (self._labels and _is_from_file(atoms)):
            return False
        return any(
            # Files of earlier versions do not say the import.
            atoms.info.get(provenance.IMPORT, label.import_id) == label.import_id
            and label.moments in (UNKNOWN, magnetic_state(atoms))
            for label in self._labels.get(content_hash(atoms), ())
        )


def _keep_if(path: Path, is_good: Callable[[Atoms], bool]) -> None:
    """Take the structures out of a file that are not good; it is written only if there are any."""
    structures = read_structures(path, may_be_empty=True)
    kept = [atoms for atoms in structures if is_good(atoms)]
    if len(kept) < len(structures):
        write_structures(path, kept)


def withdraw_import(files: Workspace, cache: LabelCache, import_id: int) -> Withdrawal:
    """Remove an import from the cache, and from what the campaign trains on.

    Args:
        files: The campaign, which must not run meanwhile; it need not have been started.
        cache: Its cache.
        import_id: Number of the import.

    The labels that remain are trained on at the next run. Raises `LabelError` when there is no
    such import.
    """
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


def imports_changed(files: Workspace) -> bool:
    """Whether labels were imported or withdrawn since the dataset was last written."""
    dataset = read_structures(files.dataset, may_be_empty=True)
    wanted = {_fingerprint(atoms) for atoms in files.training_labels() if is_imported(atoms)}
    return wanted != {_fingerprint(atoms) for atoms in dataset if is_imported(atoms)}


def withdrawn_since(files: Workspace, learnt: Sequence[Atoms]) -> int:
    """Count the imported labels among those that a model has learnt that are in use no more.

    Args:
        files: The campaign.
        learnt: Labels that the model was trained on.

    They were withdrawn with their import, or corrected by another one.
    """
    in_use = {_fingerprint(atoms) for atoms in files.training_labels()}
    return sum(
        _fingerprint(atoms) not in in_use
        for atoms in learnt
        if provenance.IMPORT in atoms.info or is_imported(atoms)
    )


def drop_imported(files: Workspace, withdrawn: dict[str, str]) -> None:
    """Remove labels that a round has withdrawn, by `LabelRow.key`, from the imported ones."""
    _keep_if(files.imported, lambda atoms: key_of(atoms) not in withdrawn)


def _fingerprint(atoms: Atoms) -> tuple[str, str]:
    # With its values: a corrected import has the same structures.
    stress = stress_of(atoms) if has_stress(atoms) else np.zeros(0)
    values = np.concatenate([[energy_of(atoms)], forces_of(atoms).ravel(), stress])
    # Zero has one sign.
    return key_of(atoms), " ".join(f"{value + 0.0:.6f}" for value in np.round(values, 6))


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
