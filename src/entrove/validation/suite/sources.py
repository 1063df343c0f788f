"""A model by name, file, import path or bundle, and what a bundle knows besides."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from entrove.errors import ModelError
from entrove.files import hash_of_file
from entrove.models.committee import committee_of
from entrove.models.loaded import LoadedModel
from entrove.models.registry import NAMES, load, split_modal
from entrove.structures import read_structures
from entrove.training.bundle import (
    EXAMPLES,
    TEST,
    VALIDATION,
    Bundle,
    checkpoint_of,
    read_bundle,
)
from entrove.training.trained_model import training_set_hash
from entrove.training.trainers import trainer_for
from entrove.validation.suite.subject import phase_of

logger = logging.getLogger(__name__)

VALIDATION_LABELS = "validation labels, which chose the model"
HELD_OUT_LABELS = "validation labels, which took no part in training"
TEST_LABELS = "test labels, which took no part in any decision"


@dataclass(frozen=True)
class Source:
    """A model, and what it brings: of a bundle its crystals, labels and regime.

    Attributes:
        model: The model itself.
        committee: All members of a bundle that has several; None for a single one.
        base: Name of the model that it was tuned from; None where it is not known or not there.
        base_sha256: SHA-256 of its file; empty where it is not known.
        framework: Framework of a bundle; empty without one.
        base_shifts_eV: Energy in eV per atom of each species that tuning added to it.
        is_tuned: Whether its zero of energy is that of labels, as that of a bundle is.
        phases: Crystals of the campaign by phase.
        labelled: Its test labels, which took no part in any decision; without any its validation
            labels.
        labelled_as: Which of these they are, in a phrase that follows their number.
        pressures_GPa, temperatures_K: Its regime, empty without one.
    """

    model: LoadedModel
    committee: LoadedModel | None = None
    base: str | None = None
    base_sha256: str = ""
    framework: str = ""
    base_shifts_eV: Mapping[str, float] | None = None
    is_tuned: bool = False
    phases: Mapping[str, Atoms] = field(default_factory=dict)
    labelled: Sequence[Atoms] = ()
    labelled_as: str = "labels"
    pressures_GPa: tuple[float, ...] = ()
    temperatures_K: tuple[float, ...] = ()

    def is_base(self, name_or_path: str) -> bool:
        """Whether this is the model that it was tuned from, by the bytes of its file."""
        return name_or_path == self.base or (
            self.base_sha256 != "" and _sha256_of(self.framework, name_or_path) == self.base_sha256
        )


def open_source(name_or_path: str | Path, *, device: str) -> Source:
    """Load a model by what `entrove.models.load` takes, or the folder of a bundle.

    As there, a name is that model also where a folder has the same name.

    Raises `ModelError` when there is no such model, or the folder is no sound bundle.
    """
    name_or_path, folder = str(name_or_path), Path(name_or_path)
    if split_modal(name_or_path)[0] in NAMES or not folder.is_dir():
        return Source(load(name_or_path, device=device))
    bundle = read_bundle(folder)
    examples = read_structures(folder / EXAMPLES, may_be_empty=True)
    tests = _read_labels(folder / TEST, bundle.test_set_hash)
    validation = _read_labels(folder / VALIDATION, bundle.validation_set_hash)
    validation_as = VALIDATION_LABELS if bundle.chosen_on_validation else HELD_OUT_LABELS
    members = [
        load(checkpoint_of(folder, member=member), device=device)
        for member in range(len(bundle.weights))
    ]
    return Source(
        model=members[0],
        committee=committee_of(members) if len(members) > 1 else None,
        base=foundation_of(bundle),
        base_sha256=bundle.foundation_sha256,
        framework=bundle.framework,
        base_shifts_eV=bundle.reference_shifts_eV or None,
        is_tuned=True,
        phases={
            phase_of(atoms) or f"example_{index}": atoms
            for index, atoms in reversed(list(enumerate(examples)))
        },
        labelled=tests or validation,
        labelled_as=TEST_LABELS if tests else validation_as,
        pressures_GPa=bundle.regime.pressures_GPa,
        temperatures_K=bundle.regime.temperatures_K,
    )


def _read_labels(file: Path, expected: str) -> list[Atoms]:
    """Labels of a bundle; raises `ModelError` for others than those that it was written with.

    A file that is not there has none, and bundles of earlier versions have no hash.
    """
    labelled = read_structures(file, may_be_empty=True)
    if labelled and expected and training_set_hash(labelled) != expected:
        raise ModelError(
            f"{file}: structures or energies differ from those that the bundle was written with; "
            "restore the file, or remove it and give labels with --data"
        )
    return labelled


def foundation_of(bundle: Bundle) -> str | None:
    """Return the model that a bundle was tuned from, as `load` takes it; None if it is not here.

    There is none of random weights. A file beside the program may have the same name and be
    another model.
    """
    if bundle.random_weights:
        return None
    name = bundle.foundation_model
    if name not in NAMES:
        problem = "a file, which a bundle does not hold"
        if Path(name).is_file() and bundle.foundation_sha256:
            same = _sha256_of(bundle.framework, name) == bundle.foundation_sha256
            problem = "" if same else "another one than the file of this name here"
    elif bundle.foundation_sha256 and _sha256_of(bundle.framework, name) not in (
        None,
        bundle.foundation_sha256,
    ):
        problem = "another version than that of this name here"
    else:
        problem = ""
    if problem:
        logger.warning(
            "the model is not compared with %s, which it was tuned from: that is %s; give it with "
            "--against",
            name,
            problem,
        )
        return None
    return name if bundle.modal is None else f"{name}@{bundle.modal}"


def _sha256_of(framework: str, name_or_path: str) -> str | None:
    """SHA-256 of the file of a model; None where there is no such model to train."""
    base, _ = split_modal(name_or_path)
    try:
        return hash_of_file(trainer_for(framework).find_starting_model(base).file)
    except ModelError:
        return None
