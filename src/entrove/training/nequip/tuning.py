"""Fine-tune a NequIP or Allegro model on labelled structures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.loaded import LoadedModel
from entrove.models.nequip.files import find_trainable_model
from entrove.models.nequip.loading import load_nequip
from entrove.models.nequip.model import NequIPModel
from entrove.models.prediction import predict
from entrove.structures import copy_structure
from entrove.training.config import TrainingConfig
from entrove.training.job import Epoch, Job
from entrove.training.launch import available_device, check_labels, hash_of_file, run_job
from entrove.training.trained_model import TrainedModel, training_set_hash

SAME_ENERGY_EV_PER_ATOM = 5e-3
SAME_FORCE_EV_PER_A = 2e-2
"""A compiled model and its package agree within these, also with the short mantissa of TF32; two models do not."""

RATTLE_A = 0.1


def check_trainable(
    base: str | Path,
    evaluated: LoadedModel,
    config: TrainingConfig,
    structures: Sequence[Atoms],
    *,
    device: str = "auto",
) -> None:
    """Check, before there are labels, that `fine_tune` can start from `base`, whose evaluating side is `evaluated`.

    Raises `ModelError` where `fine_tune` would, and when `evaluated` was compiled from another model than
    the package that would be trained: then `structures`, slightly rattled, get other energies or forces.
    """
    assert isinstance(evaluated.model, NequIPModel)
    trained = evaluated
    if evaluated.model.network.compiled:
        path = find_trainable_model(base)
        trained = load_nequip(str(path), device=device)
        trained.check_species(structures)
        require_same_predictions(evaluated, trained, structures)
    if config.refit_reference_energies:
        assert isinstance(trained.model, NequIPModel)
        trained.model.network.energies_per_species()


def require_same_predictions(
    evaluated: LoadedModel, trained: LoadedModel, structures: Sequence[Atoms]
) -> None:
    """Raise `ModelError` when two models give rattled structures different energies or forces."""
    samples = [copy_structure(atoms) for atoms in structures]
    for seed, atoms in enumerate(samples):
        atoms.rattle(RATTLE_A, seed=seed)
    energy, force = 0.0, 0.0
    for ours, theirs in zip(predict(evaluated, samples), predict(trained, samples), strict=True):
        change = abs(ours.get_potential_energy() - theirs.get_potential_energy()) / len(ours)
        energy = max(energy, change)
        force = max(force, float(np.abs(ours.get_forces() - theirs.get_forces()).max()))
    if energy > SAME_ENERGY_EV_PER_ATOM or force > SAME_FORCE_EV_PER_A:
        raise ModelError(
            f"{evaluated.name}, which is evaluated, and {trained.name}, which is trained, are different models: "
            f"energies differ by {energy:.3g} eV/atom, forces by {force:.3g} eV/A; compile this package again"
        )


def fine_tune(
    structures: Sequence[Atoms],
    base: str | Path,
    folder: Path,
    config: TrainingConfig,
    *,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainedModel:
    """Tune a package (`*.nequip.zip`), a checkpoint (`*.ckpt`) or a named foundation model, in a process of its own.

    The tuned model is a package, `model.nequip.zip`; compile it for speed. The same call on the same
    folder continues an interrupted run after its last epoch, and returns at once when it is done. NequIP's own
    training loop runs: equal seeds give equal runs, but bitwise equality over interruptions is not promised.

    Raises `ModelError` when the model cannot be trained or does not know an element, a label is missing,
    the loss diverges, or `folder` holds another run.
    """
    require("nequip", extra="nequip")
    check_labels(structures)
    path = find_trainable_model(base)
    job = Job(
        base=str(path.resolve()),
        base_hash=hash_of_file(path),
        device=available_device(device),
        threads=threads,
        seed=seed,
        labels_hash=training_set_hash(structures),
        config=config.model_copy(
            update={"committee_size": 1, "head_noise": 0.0, "framework": "nequip"}
        ),
    )
    return run_job(
        "entrove.training.nequip.worker",
        structures,
        Path(folder).resolve(),
        job,
        on_epoch,
    )
