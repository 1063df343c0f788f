"""Settings of the training stage."""

from typing import Literal

from pydantic import Field, model_validator

from entrove.settings import Settings
from entrove.training.trainers import TRAINERS, TrainableFramework, trainer_for


class LossConfig(Settings):
    """A Huber loss on energy per atom, force components and stress components.

    L = sum over q of weight_q * mean(H(error_q; delta_q)), with H(x; d) = x^2 / 2 below d and
    d (|x| - d / 2) above (Huber, Ann. Math. Stat. 35, 73 (1964)). Units: eV/atom, eV/A, eV/A^3.
    """

    energy_weight: float = Field(default=1.0, ge=0, description="Weight of the energy per atom.")
    force_weight: float = Field(default=1.0, ge=0, description="Weight of the force components.")
    stress_weight: float = Field(
        default=100.0, ge=0, description="Weight of the stress components."
    )
    energy_delta_eV_per_atom: float = Field(
        default=0.01,
        gt=0,
        description="Energy error in eV/atom above which the loss grows linearly.",
    )
    force_delta_eV_per_A: float = Field(
        default=0.01, gt=0, description="Force error in eV/A above which the loss grows linearly."
    )
    stress_delta_eV_per_A3: float = Field(
        default=0.001,
        gt=0,
        description="Stress error in eV/A^3 above which the loss grows linearly.",
    )


class TrainingConfig(Settings):
    """How the foundation model is tuned to the labels."""

    framework: TrainableFramework = Field(
        default="sevennet",
        description="Training code; it must be the one that the foundation model comes from.",
    )
    strategy: Literal["naive", "frozen"] = Field(
        default="naive",
        description="naive: all weights are tuned; frozen: those of the last interaction and of "
        "the energy head only (SevenNet), with a learning_rate about three times as large.",
    )
    replay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each batch, beside its labels, that the untuned model labels: "
        "dimers of all pairs of species, and snapshots of the exploration. They cost no DFT, and "
        "keep what the model knew, repulsion at short distances above all (SevenNet). 0: none.",
    )
    epochs: int = Field(default=25, ge=1, description="Most passes over the training labels.")
    batch_size: int = Field(default=4, ge=1, description="Structures per gradient step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Highest step of Adam.")
    schedule: Literal["cosine", "plateau"] = Field(
        default="cosine",
        description="cosine: warm up over the first twentieth of the steps, then fall to zero at "
        "the last epoch, which suits few labels; plateau: multiply by plateau_factor when the "
        "watched loss has not improved for plateau_patience epochs.",
    )
    plateau_factor: float = Field(
        default=0.5, gt=0, lt=1, description="Factor of the plateau schedule."
    )
    plateau_patience: int = Field(
        default=15, ge=1, description="Epochs without improvement before the factor."
    )
    gradient_clip: float = Field(
        default=1.0,
        gt=0,
        description="Largest norm of the gradient; a longer one is scaled down to it.",
    )
    ema_decay: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="Memory of the running average of the weights, which is the model that is "
        "kept. The first steps use less: min(ema_decay, (1 + step) / (10 + step)).",
    )
    loss: LossConfig = Field(default=LossConfig(), description="What is made small.")
    refit_reference_energies: bool = Field(
        default=True,
        description="Move the model's energy per species to the level of theory of the labels "
        "first.",
    )
    stop_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=0.5,
        description="Share of the training labels that is set aside to stop early and to pick the "
        "best epoch; validation labels are never used for this.",
    )
    stop_at_least_labels: int = Field(
        default=60,
        ge=2,
        description="With fewer training labels than this, none is set aside: all epochs are run.",
    )
    stop_patience: int = Field(
        default=30,
        ge=1,
        description="Epochs without improvement of the set-aside loss before training ends.",
    )
    committee_size: int = Field(
        default=1,
        ge=1,
        le=32,
        description="Models that are tuned; more than one gives a spread of predictions.",
    )
    head_noise: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Random change of the energy head's weights before training, relative to "
        "their own spread, for every member of a committee but the first.",
    )

    @model_validator(mode="after")
    def _strategy_is_supported(self) -> "TrainingConfig":
        if self.strategy != "naive" and not trainer_for(self.framework).takes_strategies:
            raise ValueError(
                f"strategy={self.strategy} is not for framework {self.framework}, which tunes all "
                "weights; remove it"
            )
        return self

    @model_validator(mode="after")
    def _replay_is_supported(self) -> "TrainingConfig":
        if self.replay > 0 and not trainer_for(self.framework).takes_replay:
            able = [name for name in TRAINERS if trainer_for(name).takes_replay]
            raise ValueError(
                f"replay={self.replay:g} is for framework {' or '.join(able)}; remove it"
            )
        return self

    @model_validator(mode="after")
    def _head_noise_is_supported(self) -> "TrainingConfig":
        if self.head_noise > 0 and not trainer_for(self.framework).takes_head_noise:
            able = [name for name in TRAINERS if trainer_for(name).takes_head_noise]
            raise ValueError(
                f"head_noise={self.head_noise:g} is for framework {' or '.join(able)}; remove it: "
                f"members of a {self.framework} committee differ in the order of the labels"
            )
        return self
