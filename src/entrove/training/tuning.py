"""Fine-tuning, whatever the framework of the model."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms

from entrove.errors import ModelError
from entrove.training.config import TrainingConfig
from entrove.training.job import Epoch
from entrove.training.nequip import tuning as nequip
from entrove.training.sevennet import tuning as sevennet
from entrove.training.trained_model import TrainedModel


def fine_tune(
    structures: Sequence[Atoms],
    base: str | Path,
    folder: Path,
    config: TrainingConfig,
    *,
    seed: int = 0,
    head_noise: float = 0.0,
    modal: str | None = None,
    device: str = "auto",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainedModel:
    """Tune `base` with the code that `config.framework` names; see `sevennet.fine_tune` and `nequip.fine_tune`.

    `head_noise` and `modal` are for SevenNet models; a NequIP model raises `ModelError` when given them.
    """
    if config.framework == "sevennet":
        return sevennet.fine_tune(
            structures,
            base,
            folder,
            config,
            seed=seed,
            head_noise=head_noise,
            modal=modal,
            device=device,
            threads=threads,
            on_epoch=on_epoch,
        )
    if modal is not None or head_noise > 0:
        raise ModelError(
            f"framework nequip has no fidelities (modal={modal}) and no head_noise ({head_noise}); leave them out"
        )
    return nequip.fine_tune(
        structures,
        base,
        folder,
        config,
        seed=seed,
        device=device,
        threads=threads,
        on_epoch=on_epoch,
    )
