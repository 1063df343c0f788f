"""What one training is asked for, checked, whatever its framework."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from entrove.errors import ModelError
from entrove.execution.running import Programs
from entrove.files import hash_of_file
from entrove.models.registry import FRAMEWORKS, explain_untrainable, framework_of
from entrove.models.torch_settings import resolve_device
from entrove.structures import has_stress
from entrove.training.config import Recipe, TrainingConfig, require_published_settings
from entrove.training.job import Job
from entrove.training.replay import replay_hash, replay_structures
from entrove.training.trained_model import training_set_hash
from entrove.training.trainers import StartingModel, Trainer, trainer_for


@dataclass(frozen=True)
class Request:
    """A training that can be started; see `make_request` for what the fields mean."""

    structures: Sequence[Atoms]
    base: str
    start: StartingModel
    config: TrainingConfig
    seed: int
    head_noise: float
    snapshots: Sequence[Atoms]
    modal: str | None
    device: str
    threads: int

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What `learning_rate: auto` compares; random weights are not held fixed."""
        return tuple(
            recipe
            for recipe in self.config.recipes
            if self.start.trained or recipe.strategy == "naive"
        )

    def replayed(self) -> list[Atoms]:
        """Structures that the untuned model labels."""
        if self.config.replay == 0:
            return []
        return replay_structures(self.structures, self.snapshots, seed=self.seed)

    def job(self) -> Job:
        """The request as it is written for the process that trains."""
        # What this training does not read must not make a finished one look like another.
        ignored: dict[str, Any] = {"committee_size": 1, "head_noise": 0.0, "member_labels": 1.0}
        fields = TrainingConfig.model_fields
        ignored |= {name: fields[name].default for name in self.config.unread}
        return Job(
            base=self.start.name,
            base_hash=hash_of_file(self.start.file),
            base_known_as=self.start.known_as,
            random_weights=not self.start.trained,
            modal=self.modal,
            device=self.device,
            threads=self.threads,
            seed=self.seed,
            head_noise=self.head_noise,
            labels_hash=training_set_hash(self.structures),
            replay_hash=replay_hash(self.replayed()),
            config=self.config.model_copy(update=ignored),
        )

    def with_config(self, config: TrainingConfig) -> "Request":
        """The same training with other settings."""
        return replace(self, config=config)

    def with_structures(self, structures: Sequence[Atoms]) -> "Request":
        """The same training on other labels."""
        return replace(self, structures=structures)

    def model_name(self, model: str | Path) -> str:
        """Name of a model for `entrove.models.load`: with the fidelity, if any."""
        return str(model) if self.modal is None else f"{model}@{self.modal}"


def make_request(
    structures: Sequence[Atoms],
    base: str | Path,
    config: TrainingConfig,
    *,
    seed: int,
    head_noise: float,
    snapshots: Sequence[Atoms],
    modal: str | None,
    device: str,
    threads: int,
    where: Programs | None = None,
) -> Request:
    """Check what `entrove.training.tuning.fine_tune` was given; `where` is where it will run.

    Raises `ModelError` when the model cannot be found or trained, a label is missing, or the
    framework cannot do what is asked; and `EntroveError` when its package is not installed.
    """
    base, elsewhere = str(base), where is not None and where.elsewhere
    framework, trainer = config.framework, trainer_for(config.framework)
    _check_supported(framework, trainer, modal=modal, head_noise=head_noise)
    require_published_settings(base, config)
    owner = framework_of(base)
    if owner is not None and not owner.trains(base):
        raise ModelError(explain_untrainable(base))
    next(known for known in FRAMEWORKS if known.name == framework).require_installed()
    check_labels(structures)
    start = trainer.find_starting_model(base)
    if not start.trained:
        _check_from_scratch(start, config)
    return Request(
        structures=structures,
        base=base,
        start=start,
        config=config.for_labels(len(structures)),
        seed=seed,
        head_noise=head_noise,
        snapshots=snapshots,
        modal=modal,
        # Elsewhere the machine that trains decides what "auto" means.
        device=device if elsewhere else str(resolve_device(device)),
        threads=threads if where is None else where.threads(threads),
    )


def check_labels(structures: Sequence[Atoms]) -> None:
    """Raise `ModelError` unless there are structures, all with energy and forces.

    Neither these nor the stress of a crystal may have a number that is not finite.
    """
    if not structures:
        raise ModelError("no labels to train on; label at least one structure")
    for index, atoms in enumerate(structures):
        results = {} if atoms.calc is None else atoms.calc.results
        if "energy" not in results or "forces" not in results:
            raise ModelError(
                f"structure {index} of {len(structures)} has no label; "
                "training needs energy and forces"
            )
        used = ("energy", "forces", "stress") if has_stress(atoms) else ("energy", "forces")
        for quantity in used:
            if not np.isfinite(np.asarray(results[quantity], dtype=float)).all():
                raise ModelError(
                    f"structure {index} of {len(structures)} ({atoms.get_chemical_formula()}) has "
                    f"a number in its {quantity} that is not finite; correct this label, or leave "
                    "the structure out"
                )


def _check_supported(
    framework: str, trainer: Trainer, *, modal: str | None, head_noise: float
) -> None:
    refused = {
        f"no fidelities (modal={modal})": modal is not None and not trainer.takes_fidelities,
        f"no head_noise ({head_noise})": head_noise > 0 and not trainer.takes_head_noise,
    }
    given = [text for text, is_refused in refused.items() if is_refused]
    if given:
        raise ModelError(f"framework {framework} has {' and '.join(given)}; leave them out")


def _check_from_scratch(start: StartingModel, config: TrainingConfig) -> None:
    """Raise `ModelError` for what needs a trained model to start from."""
    listed = (recipe.strategy for recipe in config.cross_validation.recipes)
    chosen = listed if config.learning_rate == "auto" else (config.strategy,)
    refused = sorted({f"strategy={strategy}" for strategy in chosen if strategy != "naive"})
    if config.replay > 0:
        refused.append(f"replay={config.replay:g}")
    if refused:
        raise ModelError(
            f"{start.known_as} starts from random weights, which know nothing that "
            f"{' and '.join(refused)} could keep; leave it out, or tune a trained model"
        )
