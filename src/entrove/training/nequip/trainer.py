"""What training needs to know of NequIP and Allegro."""

from collections.abc import Collection, Sequence

import numpy as np
from ase import Atoms

from entrove.errors import ModelError
from entrove.models.loaded import LoadedModel
from entrove.models.nequip.files import FOUNDATION_MODELS, find_trainable_model
from entrove.models.nequip.loading import load_nequip
from entrove.models.nequip.model import NequIPModel
from entrove.models.prediction import predict
from entrove.structures import copy_structure, forces_of
from entrove.training.nequip.from_scratch import find_architecture, read_architecture
from entrove.training.nequip.last_interaction import names_of_last_interaction
from entrove.training.trainers import StartingModel

SAME_ENERGY_EV_PER_ATOM = 5e-3
SAME_FORCE_EV_PER_A = 2e-2
"""A compiled model and its package agree within these, even with TF32; two models do not."""

RATTLE_A = 0.1


class NequIPTrainer:
    """Tunes packages, checkpoints and named models, see `entrove.training.trainers.Trainer`.

    NequIP's own training loop runs: equal seeds give equal runs, but bitwise equality over
    interruptions is not promised. The tuned model is a package; compile it for speed.
    """

    worker = "entrove.training.nequip.worker"
    checkpoint = "model.nequip.zip"
    takes_fidelities = False
    takes_head_noise = False
    strategies = ("naive", "frozen")

    def find_starting_model(self, base: str) -> StartingModel:
        """Find a package or checkpoint, the package of a named model, or an architecture."""
        architecture = find_architecture(base)
        if architecture is not None:
            read_architecture(architecture)  # what is wrong with it is said at once
        path = architecture or find_trainable_model(base)
        known_as = base if base in FOUNDATION_MODELS else path.name
        return StartingModel(str(path.resolve()), path, known_as, trained=architecture is None)

    def check_trainable(
        self,
        base: str,
        evaluated: LoadedModel,
        structures: Sequence[Atoms],
        *,
        refit_reference_energies: bool,
        strategies: Collection[str] = ("naive",),
        device: str = "auto",
    ) -> None:
        """Check that what is trained is what is evaluated, and has what the settings need.

        That are energies per species that can be refitted, and, for strategy frozen, a last
        interaction and a readout.
        A compiled `evaluated` may come from another model than the package that would be trained:
        then `structures`, slightly rattled, get other energies or forces.
        """
        trained = evaluated
        assert isinstance(trained.model, NequIPModel)
        if trained.model.network.compiled:
            trained = load_nequip(str(find_trainable_model(base)), device=device)
            trained.check_species(structures)
            require_same_predictions(evaluated, trained, structures)
        assert isinstance(trained.model, NequIPModel)
        if refit_reference_energies:
            trained.model.network.energies_per_species()
        if "frozen" in strategies:
            weights = trained.model.network.module.named_parameters()
            names_of_last_interaction(name for name, _ in weights)


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
        force = max(force, float(np.abs(forces_of(ours) - forces_of(theirs)).max()))
    if energy > SAME_ENERGY_EV_PER_ATOM or force > SAME_FORCE_EV_PER_A:
        raise ModelError(
            f"{evaluated.name}, which is evaluated, and {trained.name}, which is trained, are "
            f"different models: energies differ by {energy:.3g} eV/atom, forces by "
            f"{force:.3g} eV/A; compile this package again"
        )
