"""Which frameworks can be tuned, and what training needs to know of each.

Each is one line of `TRAINERS` and one folder here. The trainers are named by import path and
loaded on first use: the settings of a campaign need the names only, and must not wait for torch.
"""

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ase import Atoms

    from entrove.models.loaded import LoadedModel

TRAINERS = {
    "sevennet": "entrove.training.sevennet.trainer:SevenNetTrainer",
    "nequip": "entrove.training.nequip.trainer:NequIPTrainer",
}

if TYPE_CHECKING:
    TrainableFramework = str
else:  # the values that settings and bundles allow
    TrainableFramework = Literal[tuple(TRAINERS)]


@dataclass(frozen=True)
class StartingModel:
    """The model that a training starts from.

    `name` is a packaged name or an absolute path, as the worker loads it; the bytes of `file` say
    which model it is, and `known_as` what a reader calls it: its public name, or that of its file.
    An architecture with random weights is not `trained`: it predicts nothing.
    """

    name: str
    file: Path
    known_as: str
    trained: bool = True


@runtime_checkable
class Trainer(Protocol):
    """What training needs to know of a framework.

    `worker` is the module that is run as a process of its own, with the folder of the job as its
    argument, and `checkpoint` the name of the file that it leaves there. `strategies` are those of
    `TrainingConfig` that it knows. A framework that cannot choose a fidelity, or cannot perturb
    the energy head, refuses `modal` or `head_noise`.
    """

    worker: str
    checkpoint: str
    takes_fidelities: bool
    takes_head_noise: bool
    strategies: tuple[str, ...]

    def find_starting_model(self, base: str) -> StartingModel:
        """Find the checkpoint to train for a name or path without fidelity.

        Raises `ModelError`, with the remedy, when it is not on this machine or cannot be trained.
        """
        ...

    def check_trainable(
        self,
        base: str,
        evaluated: "LoadedModel",
        structures: "Sequence[Atoms]",
        *,
        refit_reference_energies: bool,
        strategies: Collection[str],
        device: str,
    ) -> None:
        """Check, before there are labels, that training can start from `base`.

        `evaluated` is `base` as `entrove.models.load` loads it, `structures` are like those that
        it will be trained on, by one of `strategies`. Raises `ModelError` where training would
        fail.
        """
        ...


def trainer_for(framework: str) -> Trainer:
    """Return the trainer of a framework, one of the keys of `TRAINERS`."""
    module, _, name = TRAINERS[framework].partition(":")
    return getattr(importlib.import_module(module), name)()
