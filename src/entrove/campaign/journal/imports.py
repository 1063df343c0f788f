"""Which imported labels the models of a campaign have not learnt yet, or learnt and lost."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Labelled, Trained
from entrove.campaign.workspace import Workspace, came_with_import, is_imported
from entrove.labelling.store.moments import key_of
from entrove.structures import (
    energy_of,
    forces_of,
    has_stress,
    is_readable,
    read_structures,
    stress_of,
)
from entrove.training.trained_model import LABELS_FILE


def imports_changed(files: Workspace) -> bool:
    """Whether labels were imported or withdrawn since the dataset was last written."""
    dataset = read_structures(files.dataset, may_be_empty=True)
    wanted = {_fingerprint(atoms) for atoms in files.training_labels() if is_imported(atoms)}
    return wanted != {_fingerprint(atoms) for atoms in dataset if is_imported(atoms)}


def _withdrawn_since(files: Workspace, learnt: Sequence[Atoms]) -> int:
    in_use = {_fingerprint(atoms) for atoms in files.training_labels()}
    return sum(_fingerprint(atoms) not in in_use for atoms in learnt if came_with_import(atoms))


def withdrawn_labels_learnt(files: Workspace, ledger: Ledger, round_index: int) -> int:
    """Count the imported labels that the model of a round has learnt and that are in use no more.

    They were withdrawn with their import, or corrected by another one. 0 for a round that has
    trained nothing yet.
    """
    trained = ledger.find(round_index, Trained)
    if trained is None:
        return 0
    member = (files.folder / trained.checkpoint).parent
    return _withdrawn_since(files, read_structures(member / LABELS_FILE, may_be_empty=True))


def imports_wait(files: Workspace, ledger: Ledger) -> bool:
    """Whether the next run trains the last model again, for labels that came or went since.

    They were imported or withdrawn. Files that are damaged are restored first, and say nothing.
    """
    last = max(ledger.each(Labelled), default=0)
    if not last or not all(is_readable(path) for path in (files.dataset, files.imported)):
        return False
    return imports_changed(files) or withdrawn_labels_learnt(files, ledger, last) > 0


def _fingerprint(atoms: Atoms) -> tuple[str, str]:
    # With its values: a corrected import has the same structures.
    stress = stress_of(atoms) if has_stress(atoms) else np.zeros(0)
    values = np.concatenate([[energy_of(atoms)], forces_of(atoms).ravel(), stress])
    # Zero has one sign.
    return key_of(atoms), " ".join(f"{value + 0.0:.6f}" for value in np.round(values, 6))
