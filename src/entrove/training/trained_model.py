"""The result of a training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove.structures import (
    as_written,
    canonical_order,
    content_hash,
    energy_of,
    has_stress,
    read_structures,
)
from entrove.training.choice import Choice

LABELS_FILE = "labels.xyz"
"""The labels that were learnt, in the folder of a training."""

SAME_VALUE = 1e-6
"""Values of labels in eV, eV/A and eV/A^3 that differ by less are equal: files keep 8 decimals."""


@dataclass(frozen=True)
class TrainedModel:
    """A tuned model on disk.

    `checkpoint` is a file that the framework's own loaders read. `base` is the public name, or the
    name of the file, of the model that was tuned, and `base_hash` the SHA-256 of its file.
    `reference_shifts_eV` has been added to the model's energy per species. `accepted` is None
    until the model has been compared with its foundation model on validation labels. `choice` says
    how strategy and learning rate were chosen; None where they were given. With `random_weights`
    there is no foundation model, and `base` is the architecture.
    """

    folder: Path
    checkpoint: Path
    framework: str
    base: str
    base_hash: str
    seed: int
    epochs_run: int
    best_epoch: int
    training_loss: float
    watched_loss: float | None
    reference_shifts_eV: dict[str, float]
    training_labels: int
    training_set_hash: str
    seconds: float
    accepted: bool | None = None
    choice: Choice | None = None
    random_weights: bool = False

    def labels_learnt(self) -> frozenset[str]:
        """Content hashes of the labels it has learnt from; empty where they are not kept."""
        kept = read_structures(self.folder / LABELS_FILE, may_be_empty=True)
        return frozenset(content_hash(atoms) for atoms in kept)


def same_labels(first: Sequence[Atoms], second: Sequence[Atoms]) -> bool:
    """Whether two sets of labels agree to what files keep: energies, forces and stresses.

    Args:
        first, second: Labelled structures in any order; those of equal content hash are compared,
            their atoms in the same order. A structure may have several labels.
    """
    ones, others = _by_structure(first), _by_structure(second)
    return len(ones) == len(others) and all(
        one == other and _same_label(atoms, of_other)
        for (one, atoms), (other, of_other) in zip(ones, others, strict=True)
    )


def _by_structure(labels: Sequence[Atoms]) -> list[tuple[str, Atoms]]:
    """Labels with the content hash that they have in a file, sorted by it and by energy."""
    rows = [(content_hash(as_written(atoms)), atoms) for atoms in labels]
    return sorted(rows, key=lambda row: (row[0], energy_of(row[1])))


def _same_label(first: Atoms, second: Atoms) -> bool:
    def values(atoms: Atoms) -> list[np.ndarray]:
        # As they are learnt, whatever constraints the structure has.
        forces = np.asarray(atoms.get_forces(apply_constraint=False))
        stress = atoms.get_stress(apply_constraint=False) if has_stress(atoms) else np.zeros(0)
        return [
            np.atleast_1d(energy_of(atoms)),
            forces[canonical_order(as_written(atoms))],
            np.asarray(stress),
        ]

    return all(
        one.shape == other.shape
        and np.allclose(one, other, rtol=0.0, atol=SAME_VALUE, equal_nan=True)
        for one, other in zip(values(first), values(second), strict=True)
    )


def training_set_hash(structures: Sequence[Atoms]) -> str:
    """Hash structures and labelled energies (to 1e-6 eV), in whatever order they come.

    Structures count as files keep them, so that labels have one hash before and after.
    """
    rows = sorted(
        f"{content_hash(as_written(atoms))} {energy_of(atoms):.6f}" for atoms in structures
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:32]
