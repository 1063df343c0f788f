"""Write and read the folder of a bundle, and load the potential in it.

A bundle is written beside its place and moved there in one step, and is never changed afterwards.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pydantic import ValidationError
from torch_sim.models.interface import ModelInterface

from entrove._version import __version__
from entrove.errors import ConfigError, ModelError
from entrove.files import hash_of_file, replace_text, replacing
from entrove.models.licence import licence_of
from entrove.models.registry import load
from entrove.structures import write_structures
from entrove.training.bundle.card import write_card
from entrove.training.bundle.packages import packages_of
from entrove.training.bundle.record import (
    BUNDLE_VERSION,
    READABLE_VERSIONS,
    Bundle,
    CheckResult,
    PartErrors,
    Regime,
    Weights,
)
from entrove.training.trained_model import TrainedModel, training_set_hash

FILE_NAME = "bundle.json"
CARD = "MODEL_CARD.md"
VALIDATION = "validation.xyz"
TEST = "test.xyz"
EXAMPLES = "examples.xyz"

WRITTEN_AGAIN = "copy the folder again, or, in a campaign, let 'entrove run' write it again"


def check_bundle_folder(folder: Path) -> None:
    """Raise `ModelError` unless a bundle can be written to a folder; an older one is replaced."""
    if folder.exists() and not folder.is_dir():
        raise ModelError(f"{folder} is a file; a model bundle is a folder, choose another name")
    if folder.exists() and any(folder.iterdir()) and not (folder / FILE_NAME).is_file():
        raise ModelError(
            f"{folder} holds files that are not a model bundle; choose another folder, or remove "
            "it"
        )


def write_bundle(
    folder: Path,
    members: Sequence[TrainedModel],
    *,
    species: Sequence[str],
    level_of_theory_hash: str,
    level_of_theory: str,
    metrics: Mapping[str, float],
    regime: Regime,
    modal: str | None = None,
    name: str = "",
    chosen_on_validation: bool = False,
    training_structures: Mapping[str, int] = MappingProxyType({}),
    training_settings: Mapping[str, Any] = MappingProxyType({}),
    errors: Sequence[PartErrors] = (),
    test_errors: Sequence[PartErrors] = (),
    checks: Sequence[CheckResult] = (),
    validation: Sequence[Atoms] = (),
    test: Sequence[Atoms] = (),
    examples: Sequence[Atoms] = (),
) -> Bundle:
    """Write tuned models as a bundle; a bundle that is there already is replaced.

    Args:
        folder: Where the bundle will be.
        members: The potential, then other members of a committee.
        species: Chemical symbols that the training labels hold.
        level_of_theory_hash: Hash of the level of theory of the labels.
        level_of_theory: The level of theory, described.
        metrics: Errors on validation labels; names carry the unit.
        regime: Where the potential was trained and validated.
        modal: Fidelity of a multi-fidelity model.
        name: Name of the campaign.
        chosen_on_validation: Whether the validation labels chose the model among those of several
            rounds.
        training_structures: Number of training labels of each phase and kind.
        training_settings: Settings of the training.
        errors: Errors on validation labels by phase and kind, of the foundation model and of the
            potential.
        test_errors: The same on test labels, which took no part in any decision.
        checks: Results of checks of physical properties.
        validation, test: The labelled structures on which the errors were measured; kept in the
            bundle.
        examples: A structure of each phase, with which a user can try the potential.

    Raises `ModelError` when there is no member, the members were tuned from different models or
    labels, or `folder` holds something that is not a bundle.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name
    _check_members(members)
    check_bundle_folder(folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "weights").mkdir(parents=True)
    weights = [_copy_weights(partial, index, member) for index, member in enumerate(members)]
    for file, structures in ((VALIDATION, validation), (TEST, test), (EXAMPLES, examples)):
        if structures:
            write_structures(partial / file, structures)
    first = members[0]
    bundle = Bundle(
        version=BUNDLE_VERSION,
        entrove_version=__version__,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        framework=first.framework,
        foundation_model=first.base,
        foundation_sha256=first.base_hash,
        random_weights=first.random_weights,
        modal=modal,
        weights=tuple(weights),
        species=tuple(species),
        reference_shifts_eV=first.reference_shifts_eV,
        level_of_theory_hash=level_of_theory_hash,
        level_of_theory=level_of_theory,
        training_set_hash=first.training_set_hash,
        training_labels=first.training_labels,
        accepted=first.accepted,
        metrics=dict(metrics),
        chosen_on_validation=chosen_on_validation,
        regime=regime,
        name=name,
        training_structures=dict(training_structures),
        training_settings=dict(training_settings),
        learning_rate_choice=first.choice,
        validation=tuple(errors),
        test=tuple(test_errors),
        test_set_hash=training_set_hash(test) if test else "",
        validation_set_hash=training_set_hash(validation) if validation else "",
        checks=tuple(checks),
        packages=packages_of(first.framework),
        foundation_licence="none: there is no foundation model"
        if first.random_weights
        else licence_of(first.base),
    )
    replace_text(partial / FILE_NAME, bundle.model_dump_json(indent=2) + "\n")
    replace_text(partial / CARD, write_card(bundle))
    _put_in_place(partial, folder)
    return bundle


def read_bundle(folder: str | Path) -> Bundle:
    """Read and check a bundle: schema, and the hash of every file of weights.

    Raises `ModelError` when the folder is no bundle, is damaged, or was written by a later
    version.
    """
    folder = Path(folder)
    path = folder / FILE_NAME
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a model bundle: it has no {FILE_NAME}; "
            "give the folder of a campaign's model"
        )
    try:
        bundle = Bundle.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(_explain_invalid(path, error)) from error
    if bundle.version not in READABLE_VERSIONS:
        raise ModelError(_other_version(path, bundle.version))
    for weights in bundle.weights:
        file = folder / weights.file
        if not file.is_file():
            raise ModelError(f"{folder}: {weights.file} is missing; {WRITTEN_AGAIN}")
        if hash_of_file(file) != weights.sha256:
            raise ModelError(
                f"{folder}: {weights.file} is damaged (its SHA-256 differs); {WRITTEN_AGAIN}"
            )
    return bundle


def load_model(
    path: str | Path,
    *,
    device: str = "auto",
    kind: Literal["ase", "torchsim"] = "ase",
    member: int = 0,
) -> BaseCalculator | ModelInterface:
    """Load a potential from its bundle.

    Energies are those of the level of theory of the labels: nothing has to be added.

    Args:
        path: The folder of the bundle, such as a campaign's `model`.
        device: "auto" (CUDA where there is a device), "cpu" or "cuda".
        kind: "ase" for an ASE calculator, "torchsim" for a torch-sim model that takes batches.
        member: A model of a committee; 0 is the potential itself.

    Raises `ConfigError` for another `kind`, `ModelError` for a folder that is not a sound bundle,
    and `EntroveError` with the install command when the framework of the weights is not installed.
    """
    if kind not in ("ase", "torchsim"):
        raise ConfigError(
            f"kind={kind!r}, but a bundle is loaded as 'ase' (an ASE calculator) or 'torchsim' (a "
            "torch-sim model); for another program export it: entrove export FOLDER --to lammps"
        )
    loaded = load(str(checkpoint_of(path, member=member)), device=device)
    return loaded.calculator() if kind == "ase" else loaded.model


def checkpoint_of(path: str | Path, *, member: int = 0) -> str:
    """Path of a member's checkpoint for `entrove.models.load`, with the fidelity if any."""
    bundle = read_bundle(path)
    if not 0 <= member < len(bundle.weights):
        raise ModelError(
            f"{path} has {len(bundle.weights)} members; member={member} is not one of them"
        )
    file = str(Path(path) / bundle.weights[member].file)
    return file if bundle.modal is None else f"{file}@{bundle.modal}"


def remove_bundle(folder: Path) -> bool:
    """Remove a bundle; return whether there was one. Other folders stay as they are."""
    if not (folder / FILE_NAME).is_file():
        return False
    retired = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(retired)
    shutil.rmtree(retired, ignore_errors=True)
    return True


def _copy_weights(folder: Path, index: int, member: TrainedModel) -> Weights:
    # All suffixes: a package is known by its `.nequip.zip`.
    name = PurePosixPath("weights") / f"member-{index}{''.join(member.checkpoint.suffixes)}"
    with replacing(folder / name) as unfinished:
        shutil.copyfile(member.checkpoint, unfinished)
    return Weights(file=str(name), sha256=hash_of_file(folder / name), seed=member.seed)


def _check_members(members: Sequence[TrainedModel]) -> None:
    if not members:
        raise ModelError("a bundle needs at least one trained model")
    first = members[0]
    for member in members[1:]:
        for name in ("framework", "base"):
            if getattr(member, name) != getattr(first, name):
                raise ModelError(
                    f"the members of a committee differ in {name}; train them from one model"
                )
        learnt = member.labels_learnt()
        in_part = bool(learnt) and learnt < first.labels_learnt()
        if member.training_set_hash != first.training_set_hash and not in_part:
            raise ModelError(
                "a member of the committee has learnt from other labels than the first one; train "
                "them on one set, or on parts of it"
            )


def _put_in_place(partial: Path, folder: Path) -> None:
    """Move the new bundle to its place; the old one disappears only after that."""
    retired = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(retired)
    partial.rename(folder)
    shutil.rmtree(retired, ignore_errors=True)


def _explain_invalid(path: Path, error: ValidationError) -> str:
    problems: list[dict[str, Any]] = [dict(problem) for problem in error.errors()]
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    return (
        f"{path}: {where}: {first['msg']}; "
        f"the bundle is damaged or was written by another version of Entrove; {WRITTEN_AGAIN}"
    )


def _other_version(path: Path, version: int) -> str:
    return (
        f"{path}: bundle version {version}, but Entrove {__version__} reads versions "
        f"{' and '.join(map(str, READABLE_VERSIONS))}; install the version of Entrove that wrote "
        "it (key entrove_version)"
    )
