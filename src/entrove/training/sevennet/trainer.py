"""What training needs to know of SevenNet."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from entrove.errors import ModelError
from entrove.models.sevennet.files import IN_WHEEL, TO_DOWNLOAD, pretrained_checkpoint
from entrove.training.trainers import StartingModel

if TYPE_CHECKING:
    import entrove.models.loaded


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

    def find_starting_model(self, base: str) -> StartingModel:
        """Find the checkpoint of a packaged model, or else a checkpoint file, as `load` does."""
        known = IN_WHEEL + TO_DOWNLOAD
        if base in known:
            return StartingModel(base, pretrained_checkpoint(base), base)
        path = Path(base)
        if path.is_file():
            return StartingModel(str(path.resolve()), path, path.name)
        raise ModelError(f"{base}: no such file, and no packaged model ({', '.join(known)})")

    def check_trainable(
        self,
        base: str,
        evaluated: "entrove.models.loaded.LoadedModel",
        structures: Sequence[Atoms],
        *,
        refit_reference_energies: bool,
        strategies: Collection[str],
        device: str,
    ) -> None:
        """Nothing to check: what is evaluated is trained, and has all that a strategy needs."""
