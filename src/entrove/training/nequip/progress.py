"""A callback in NequIP's training loop that writes `progress.jsonl`, as SevenNet's worker does."""

import math
import time
from pathlib import Path
from typing import Any

import lightning

from entrove.training.job import Epoch, append_epoch, keep_epochs
from entrove.training.nequip.settings import LOSS_NAME, WATCHED
from entrove.training.worker_process import DivergenceError


class ReportEpochs(lightning.Callback):
    """Write a line to `progress.jsonl` after each epoch."""

    def __init__(self, folder: str, watched: bool) -> None:
        self.folder = Path(folder)
        self.watched = watched
        self.start = 0.0

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Drop lines of epochs that a resumed run will do again."""
        del pl_module
        self.start = time.monotonic() - keep_epochs(self.folder, trainer.current_epoch)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Report the epoch; raises `DivergenceError` when a loss is no longer finite."""
        metrics = trainer.callback_metrics
        # The module enters this into the metrics only after the callbacks have run.
        metrics_manager: Any = pl_module.loss
        loss = float(metrics_manager.compute(prefix="")[LOSS_NAME])
        watched_loss = float(metrics[WATCHED]) if self.watched else None
        number = trainer.current_epoch + 1
        for what, value in (("loss", loss), ("watched loss", watched_loss)):
            if value is not None and not math.isfinite(value):
                raise DivergenceError(
                    f"the {what} of epoch {number} is {value}; lower learning_rate or look for a "
                    "damaged label"
                )
        epoch = Epoch(
            number=number,
            epochs=int(trainer.max_epochs or 0),
            training_loss=loss,
            watched_loss=watched_loss,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
        )
        append_epoch(self.folder, epoch, time.monotonic() - self.start)
