"""Turn a training job into the configuration of `nequip-train`.

Loss, average and schedule are those of `TrainingConfig`, with NequIP's own parts: coefficients of
the loss are normalised to sum to one, so that `gradient_clip` is a larger one relative to the
gradient, and the cosine has no warm-up and falls once per epoch. Adam does not see the factor. The
running average has SevenNet's warm-up here: min(ema_decay, (1 + step) / (10 + step)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrove.models.torch_settings import resolve_device
from entrove.training.config import TrainingConfig
from entrove.training.job import Job

LOSS_NAME = "weighted_sum"
WATCHED = f"val0_epoch/{LOSS_NAME}"


@dataclass(frozen=True)
class Start:
    """The model that a training starts from: its description for NequIP, species and cutoff."""

    model: dict[str, Any]
    type_names: Sequence[str]
    cutoff_A: float


def settings(
    job: Job,
    folder: Path,
    start: Start,
    *,
    watched: bool,
    with_stress: bool,
    replayed_with: int = 0,
) -> dict[str, Any]:
    """Configuration of one run.

    Args:
        job: The request.
        folder: That of the training, with `trained.xyz` and, if they are used, `watched.xyz` and
            `seen.xyz`: what is trained on, and then what is replayed.
        start: The model that the training starts from.
        watched: Whether labels are set aside. Without them the training labels take their place,
            which NequIP needs for its running average; they then decide nothing.
        with_stress: Whether there is a stress to learn. Where a structure has none it is NaN,
            which is not counted.
        replayed_with: Number of labels that are trained on, if structures are replayed with them.
    """
    config = job.config
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": job.seed,
            "train_file_path": str(folder / ("seen.xyz" if replayed_with else "trained.xyz")),
            "val_file_path": str(folder / ("watched.xyz" if watched else "trained.xyz")),
            "transforms": [
                {
                    "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                    "model_type_names": list(start.type_names),
                },
                {
                    "_target_": "nequip.data.transforms.NeighborListTransform",
                    "r_max": start.cutoff_A,
                },
                *_unknown_stress(with_stress),
            ],
            "train_dataloader": _replaying_loader(job, replayed_with)
            if replayed_with
            else _loader(config.batch_size, shuffle=True),
            "val_dataloader": _loader(config.batch_size, shuffle=False),
        },
        "trainer": _trainer(job, folder, watched),
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": config.ema_decay,
            "loss": _loss(config, with_stress),
            "val_metrics": _loss(config, with_stress),
            "optimizer": _optimizer(config),
            "lr_scheduler": _schedule(config),
            "model": start.model,
        },
        "global_options": {"allow_tf32": False},
        "hydra": {"run": {"dir": str(folder / "hydra")}, "job": {"chdir": False}},
    }


def saved_model(base: str) -> dict[str, Any]:
    """Describe a package or checkpoint as it is."""
    if base.endswith(".ckpt"):
        return {"_target_": "nequip.model.ModelFromCheckpoint", "checkpoint_path": base}
    return {"_target_": "nequip.model.ModelFromPackage", "package_path": base}


def shifted_model(base: str, shifts_eV: Mapping[str, float]) -> dict[str, Any]:
    """Describe a package or checkpoint with new energies per species, in eV."""
    return {
        "_target_": "nequip.model.modify",
        "modifiers": [{"modifier": "modify_PerTypeScaleShift", "shifts": dict(shifts_eV)}],
        "model": saved_model(base),
    }


def _loader(batch_size: int, *, shuffle: bool) -> dict[str, Any]:
    return {
        "_target_": "torch.utils.data.DataLoader",
        "batch_size": batch_size,
        "shuffle": shuffle,
    }


def _replaying_loader(job: Job, labels: int) -> dict[str, Any]:
    return {
        "_target_": "entrove.training.nequip.batches.replaying_loader",
        "labels": labels,
        "share": job.config.replay,
        "batch_size": job.config.batch_size,
        "seed": job.seed,
    }


def _unknown_stress(with_stress: bool) -> list[dict[str, Any]]:
    return [{"_target_": "nequip.data.transforms.AddNaNStressTransform"}] if with_stress else []


def _optimizer(config: TrainingConfig) -> dict[str, Any]:
    optimizer: dict[str, Any] = {
        "_target_": "torch.optim.Adam",
        "lr": config.fixed_learning_rate,
    }
    if config.strategy == "frozen":
        optimizer["param_groups"] = {
            "_target_": "entrove.training.nequip.last_interaction.train_last_interaction"
        }
    return optimizer


def _loss(config: TrainingConfig, with_stress: bool) -> dict[str, Any]:
    """Huber losses as in `LossConfig`; NequIP's stress has ASE's sign and unit here."""
    loss = config.loss
    terms: list[tuple[str, Any, float, float]] = [
        (
            "energy",
            {"_target_": "nequip.data.PerAtomModifier", "field": "total_energy"},
            loss.energy_weight,
            loss.energy_delta_eV_per_atom,
        ),
        ("forces", "forces", loss.force_weight, loss.force_delta_eV_per_A),
    ]
    if with_stress:
        terms.append(("stress", "stress", loss.stress_weight, loss.stress_delta_eV_per_A3))
    return {
        "_target_": "nequip.train.MetricsManager",
        "metrics": [
            {
                "name": name,
                "field": field,
                "coeff": weight,
                "metric": {
                    "_target_": "entrove.training.nequip.known_components.HuberOfKnown",
                    "delta": delta,
                },
                "ignore_nan": name == "stress",
            }
            for name, field, weight, delta in terms
        ],
    }


def _schedule(config: TrainingConfig) -> dict[str, Any]:
    if config.schedule == "cosine":
        scheduler: dict[str, Any] = {
            "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
            "T_max": config.fixed_epochs,
        }
    else:
        scheduler = {
            "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
            "factor": config.plateau_factor,
            "patience": config.plateau_patience,
        }
    return {"scheduler": scheduler, "monitor": WATCHED, "interval": "epoch", "frequency": 1}


def _checkpoint(
    folder: Path, name: str, monitor: str | None, *, save_last: bool
) -> dict[str, Any]:
    return {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": str(folder),
        "filename": name,
        "enable_version_counter": False,
        "monitor": monitor,
        "save_last": save_last,
    }


def _trainer(job: Job, folder: Path, watched: bool) -> dict[str, Any]:
    config = job.config
    callbacks: list[dict[str, Any]] = [
        # Without watched labels the newest epoch is the best one.
        _checkpoint(folder, "state-best", WATCHED if watched else None, save_last=not watched),
        # `save_last` of a checkpoint with a monitor has the best epoch, too, not the last one.
        *([_checkpoint(folder, "last", None, save_last=False)] if watched else []),
        {
            "_target_": "entrove.training.nequip.progress.ReportEpochs",
            "folder": str(folder),
            "watched": watched,
        },
    ]
    if watched:
        callbacks.append(
            {
                "_target_": "lightning.pytorch.callbacks.EarlyStopping",
                "monitor": WATCHED,
                "patience": config.stop_patience,
            }
        )
    return {
        "_target_": "lightning.Trainer",
        "max_epochs": config.fixed_epochs,
        "accelerator": "gpu" if resolve_device(job.device).type == "cuda" else "cpu",
        "devices": 1,
        "deterministic": "warn",
        "gradient_clip_val": config.gradient_clip,
        "enable_progress_bar": False,
        "logger": False,
        "callbacks": callbacks,
    }
