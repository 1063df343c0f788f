"""Check that the models of a configuration can be loaded, evaluate the seeds, and be tuned."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import KeyPath, problem_at
from entrove.errors import EntroveError, ModelError
from entrove.models.committee import committee_of
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import try_on
from entrove.models.registry import (
    FILE_SUFFIXES,
    NAMES,
    explain_untrainable,
    framework_of,
    load,
    split_modal,
)
from entrove.training.bundle import checkpoint_of
from entrove.training.config import require_published_settings
from entrove.training.trainers import trainer_for


def check_tuned_model(
    config_path: Path, config: CampaignConfig, seeds: Sequence[Atoms]
) -> tuple[str, LoadedModel]:
    """Load the model that is tuned; also its name as `load` takes it.

    Raises `ConfigError` when it cannot be loaded, evaluated or trained.
    """
    key_path = ("model", "name")
    given = config.model.name
    try:
        name = resolve_model(config_path, given)
        base, _ = split_modal(name)
        framework = framework_of(base)
        if framework is None:
            # A misspelt name or a broken calculator is the better explanation, so try it first.
            _load(config_path, key_path, name, config, seeds)
        if framework is None or not framework.trains(base):
            raise ModelError(
                f"{explain_untrainable(given)}; name the model that is tuned here, "
                f"and give {given} as model.explore_with"
            )
        if framework.name != config.training.framework and config.training.preset:
            raise problem_at(
                config_path,
                ("training", "preset"),
                f"{config.training.preset} is for {config.training.framework} models, but {given} "
                f"is a {framework.name} model; remove it",
            )
        if framework.name != config.training.framework:
            raise problem_at(
                config_path,
                ("training", "framework"),
                f"got '{config.training.framework}', but {given} is a {framework.name} model; "
                f"set training.framework to '{framework.name}'",
            )
        trainer = trainer_for(framework.name)
        trainer.find_starting_model(base)  # before minutes are spent on loading
    except ModelError as error:
        raise problem_at(config_path, key_path, str(error)) from error
    try:
        require_published_settings(base, config.training)
    except ModelError as error:
        raise problem_at(config_path, ("training", "preset"), str(error)) from error
    model = _load(config_path, key_path, name, config, seeds)
    try:
        trainer.check_trainable(
            base,
            model,
            seeds,
            refit_reference_energies=config.training.refit_reference_energies,
            strategies=config.training.strategies,
            device=config.model.device,
        )
    except EntroveError as error:
        raise problem_at(config_path, key_path, str(error)) from error
    return name, model


def check_explorer(
    config_path: Path, config: CampaignConfig, seeds: Sequence[Atoms]
) -> LoadedModel | None:
    """Load the model or committee that explores instead of the tuned one; None if none is given.

    Raises `ConfigError` when it cannot be loaded, or cannot evaluate the seeds with their stress.
    """
    given, key_path = config.model.explore_with, ("model", "explore_with")
    if given is None:
        return None
    if isinstance(given, str):
        return _load_explorer(config_path, key_path, given, config, seeds)
    members = [
        _load_explorer(config_path, (*key_path, index), name, config, seeds)
        for index, name in enumerate(given)
    ]
    try:
        return committee_of(members)
    except EntroveError as error:
        raise problem_at(config_path, key_path, str(error)) from error


def resolve_model(config_path: Path, given: str) -> str:
    """Turn a model of a configuration into what `load` takes.

    That is an absolute path, a name or an import path. Packaged names come first; a file or model
    bundle is relative to the configuration. Raises `ModelError` for a file that does not exist and
    for a folder that is no bundle.
    """
    folder = config_path.parent.absolute()
    base, modal = split_modal(given, folder)
    if base in NAMES:
        return given
    path = folder / base
    if path.is_file():
        return str(path) if modal is None else f"{path}@{modal}"
    if path.is_dir():
        return checkpoint_of(path)
    if base.endswith(FILE_SUFFIXES) or ("/" in given and ":" not in given):
        raise ModelError(
            f"{path}: no such file; check the path, which is relative to this configuration"
        )
    return given


def _load_explorer(
    config_path: Path,
    key_path: KeyPath,
    given: str,
    config: CampaignConfig,
    seeds: Sequence[Atoms],
) -> LoadedModel:
    try:
        name = resolve_model(config_path, given)
    except ModelError as error:
        raise problem_at(config_path, key_path, str(error)) from error
    model = _load(config_path, key_path, name, config, seeds)
    if not model.model.compute_stress:
        raise problem_at(
            config_path,
            key_path,
            f"{given} gives no stress, and without it cells cannot be relaxed at a pressure; "
            "choose another model",
        )
    return model


def _load(
    config_path: Path, key_path: KeyPath, name: str, config: CampaignConfig, seeds: Sequence[Atoms]
) -> LoadedModel:
    try:
        model = load(name, device=config.model.device)
        model.check_species(seeds)
        try_on(model, seeds)
    except EntroveError as error:
        raise problem_at(config_path, key_path, str(error)) from error
    return model
