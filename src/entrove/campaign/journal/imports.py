"""Which imported labels the models of a campaign have not learnt yet, or learnt and lost."""

from collections.abc import Iterable

import numpy as np
from ase import Atoms

from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Trained
from entrove.campaign.workspace import Workspace, came_with_import, is_imported
from entrove.labelling.store.moments import key_of
from entrove.structures import (
    energy_of,
    forces_of,
    has_stress,
    read_structures,
    stress_of,
)
from entrove.training.trained_model import LABELS_FILE


def imports_wait(files: Workspace, ledger: Ledger, rounds: Iterable[int]) -> bool:
    """Whether labels were imported, withdrawn or corrected that a campaign has not dealt with yet.

    Args:
        files: The campaign.
        ledger: Its finished stages.
        rounds: Those whose models count.

    Raises `StructureError` for damaged files; the next run restores most of them.
    """
    return _imports_changed(files) or any(
        withdrawn_labels_learnt(files, ledger, index) for index in rounds
    )


def withdrawn_labels_learnt(files: Workspace, ledger: Ledger, round_index: int) -> int:
    """Count the imported labels that the model of a round has learnt and that are in use no more.

    They were withdrawn with their import, or corrected by another one. 0 for a round that has
    trained nothing yet.
    """
    trained = ledger.find(round_index, Trained)
    if trained is None:
        return 0
    member = (files.folder / trained.checkpoint).parent
    learnt = read_structures(member / LABELS_FILE, may_be_empty=True)
    imported = [atoms for atoms in learnt if came_with_import(atoms)]
    if not imported:
        return 0
    in_use = {_fingerprint(atoms) for atoms in files.training_labels()}
    return sum(_fingerprint(atoms) not in in_use for atoms in imported)


def _imports_changed(files: Workspace) -> bool:
    """Whether labels were imported or withdrawn since the dataset was last written."""
    if not files.imported.is_file():
        return False
    dataset = read_structures(files.dataset, may_be_empty=True)
    wanted = {_fingerprint(atoms) for atoms in files.training_labels() if is_imported(atoms)}
    return wanted != {_fingerprint(atoms) for atoms in dataset if is_imported(atoms)}


def _fingerprint(atoms: Atoms) -> tuple[str, str]:
    # With its values: a corrected import has the same structures.
    stress = stress_of(atoms) if has_stress(atoms) else np.zeros(0)
    values = np.concatenate([[energy_of(atoms)], forces_of(atoms).ravel(), stress])
    # Zero has one sign.
    return key_of(atoms), " ".join(f"{value + 0.0:.6f}" for value in np.round(values, 6))
