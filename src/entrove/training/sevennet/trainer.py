"""What training needs to know of SevenNet."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from entrove.errors import ModelError
from entrove.models.loaded import LoadedModel
from entrove.models.sevennet.loading import SEVENNET, pretrained_checkpoint
from entrove.training.trainers import StartingModel


class SevenNetTrainer:
    """Tunes packaged SevenNet models and checkpoints, see `entrove.training.trainers.Trainer`.

    On CPUs, equal inputs with an equal number of threads give bitwise equal weights, interrupted
    or not. The tuned model is a checkpoint that SevenNet's own loaders read.
    """

    worker = "entrove.training.sevennet.worker"
    checkpoint = "model.pth"
    takes_fidelities = True
    takes_head_noise = True
    strategies = ("naive", "frozen", "lora")
    takes_replay = True

    def find_starting_model(self, base: str) -> StartingModel:
        """Find a checkpoint file, or that of a packaged model."""
        path = Path(base)
        if path.is_file():
            return StartingModel(str(path.resolve()), path)
        if base not in SEVENNET.models:
            raise ModelError(
                f"{base}: no such file, and no packaged model ({', '.join(SEVENNET.models)})"
            )
        return StartingModel(base, pretrained_checkpoint(base))

    def check_trainable(
        self,
        base: str,
        evaluated: LoadedModel,
        structures: Sequence[Atoms],
        *,
        refit_reference_energies: bool,
        device: str,
    ) -> None:
        """Nothing to check: what is evaluated is trained, and it has energies per species."""
