"""The result of a training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.structures import content_hash, read_structures
from entrove.training.choice import Choice
from entrove.training.config import TrainingConfig

LABELS_FILE = "labels.xyz"
"""The labels that were learnt, in the folder of a training."""


@dataclass(frozen=True)
class TrainedModel:
    """A tuned model on disk.

    `checkpoint` is a file that the framework's own loaders read. `base` is the public name, or the
    name of the file, of the model that was tuned, and `base_hash` the SHA-256 of its file.
    `reference_shifts_eV` has been added to the model's energy per species. `accepted` is None
    until the model has been compared with its foundation model on validation labels. `choice` says
    how strategy and learning rate were chosen; None where they were given.
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

    def labels_learnt(self) -> frozenset[str]:
        """Content hashes of the labels it has learnt from; empty where they are not kept."""
        kept = read_structures(self.folder / LABELS_FILE, may_be_empty=True)
        return frozenset(content_hash(atoms) for atoms in kept)

    def settings_of(self, config: TrainingConfig) -> TrainingConfig:
        """Return settings of a training with the recipe that was chosen, if one was."""
        return config if self.choice is None else config.with_recipe(self.choice.recipe)


def training_set_hash(structures: Sequence[Atoms]) -> str:
    """Hash structures and labelled energies (to 1e-6 eV), in whatever order they come."""
    rows = sorted(
        f"{content_hash(atoms)} {atoms.get_potential_energy():.6f}" for atoms in structures
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:32]
