"""Settings of the training stage."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from entrove.errors import ModelError
from entrove.execution.settings import LocalTrainings, TrainingExecution
from entrove.settings import Settings
from entrove.training.trainers import TRAINERS, TrainableFramework, trainer_for

Strategy = Literal["naive", "frozen", "lora"]

LEAST_LEFT_OUT_BY = 2
"""Fewest members of a committee that have a spread."""


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


class LoraConfig(Settings):
    """Low-rank updates: W + (alpha / rank) A B for each weight matrix W (arXiv:2106.09685)."""

    rank: int = Field(default=4, ge=1, le=128, description="Columns of A and rows of B.")
    alpha: float = Field(
        default=4.0,
        gt=0,
        description="The product of A and B counts alpha / rank. A larger one has the effect of a "
        "larger learning_rate.",
    )


class Recipe(Settings):
    """A strategy with a learning rate, one of those that cross-validation compares."""

    strategy: Strategy = Field(default="naive", description="As training.strategy.")
    learning_rate: float = Field(gt=0, le=1, description="Highest step of Adam.")
    epochs: int | None = Field(
        default=None, ge=1, description="Passes over the labels; null: as training.epochs."
    )

    @model_serializer(mode="wrap")
    def _without_usual_epochs(self, write: Callable[["Recipe"], dict[str, Any]]) -> dict[str, Any]:
        """Leave out epochs that are not set: hashes stay as they were before there were any."""
        values = write(self)
        if self.epochs is None:
            values.pop("epochs", None)
        return values

    @property
    def settings(self) -> str:
        """The learning rate and, where it has its own, the epochs, in words."""
        epochs = "" if self.epochs is None else f" in {self.epochs} epochs"
        return f"{self.learning_rate:g}{epochs}"

    def __str__(self) -> str:
        return f"{self.strategy} {self.settings}"


DEFAULT_RECIPES = (
    Recipe(strategy="naive", learning_rate=1e-3),
    Recipe(strategy="naive", learning_rate=3e-4),
    Recipe(strategy="naive", learning_rate=3e-3),
    Recipe(strategy="frozen", learning_rate=3e-3),
)
"""What is compared by default, as far as the framework knows the strategy."""


class CrossValidationConfig(Settings):
    """How training.learning_rate: auto chooses, from the training labels alone."""

    folds: int = Field(
        default=3,
        ge=2,
        le=20,
        description="Parts of the training labels. Each recipe is trained once for each part, on "
        "the labels of the other parts, and judged by the loss on this one.",
    )
    at_least_labels: int = Field(
        default=8,
        ge=4,
        description="With fewer training labels than this nothing is compared: the first recipe "
        "is used.",
    )
    recipes: tuple[Recipe, ...] = Field(
        default=(),
        description="What is compared, as [{strategy: naive, learning_rate: 0.001}, ...]. The "
        "first one is used unless another is better by more than the standard error. Empty: "
        "naive at 0.001, 0.0003 and 0.003, and frozen at 0.003 unless weights are random.",
    )

    @model_validator(mode="after")
    def _recipes_differ(self) -> "CrossValidationConfig":
        names = [str(recipe) for recipe in self.recipes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"recipes lists {', '.join(twice)} twice; remove one of them")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "allegro-oam-l": {
        "framework": "nequip",
        "epochs": 200,
        "batch_size": 4,
        "learning_rate": 5e-5,
        "schedule": "plateau",
        "plateau_factor": 0.5,
        "plateau_patience": 15,
        "gradient_clip": 0.015,
        "ema_decay": 0.999,
        "stop_patience": 30,
        "loss": {
            "energy_weight": 1.0,
            "force_weight": 1.0,
            "stress_weight": 0.01,
            "energy_delta_eV_per_atom": 0.01,
            "force_delta_eV_per_A": 0.01,
            "stress_delta_eV_per_A3": 0.1,
        },
    },
}
"""Settings that were published for a foundation model, for the keys that are not given.

allegro-oam-l: those of Wang, Rao and Zhu, arXiv:2605.20384 (2026), with which they have tuned
Allegro-OAM-L; their four batches of one structure for a step are one batch of four here.
"""


EPOCHS_OF_AUTO = (25, 100)
STEPS_OF_AUTO = 2500
"""With `epochs: auto`, the fewest and most epochs, and the gradient steps between them."""

STOP_FRACTION_OF_PLATEAU = 0.1
"""The share of labels that is set aside by default where the schedule watches their loss."""


class TrainingConfig(Settings):
    """How the foundation model is tuned to the labels."""

    preset: Literal["allegro-oam-l"] | None = Field(
        default=None,
        description="Published settings for all keys that are not given. allegro-oam-l: framework "
        "nequip, at most 200 epochs, learning_rate 5e-5, schedule plateau, gradient_clip 0.015, "
        "ema_decay 0.999, weights 1 : 1 : 0.01 in the loss, with which Allegro-OAM-L was tuned "
        "to 100 to 800 labels.",
    )
    framework: TrainableFramework = Field(
        default="sevennet",
        description="Training code; it must be the one that the foundation model comes from.",
    )
    strategy: Strategy = Field(
        default="naive",
        description="naive: all weights are tuned; frozen: those of the last interaction and of "
        "the energy head only; lora: a low-rank update of each weight matrix "
        "(SevenNet). The last two want a learning_rate about three times as large as naive. With "
        "learning_rate: auto the strategy is chosen too.",
    )
    lora: LoraConfig | None = Field(
        default=None, description="Low-rank updates of strategy lora; empty: the defaults."
    )
    replay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of what the steps see that the untuned model labels: "
        "dimers of all pairs of species, and snapshots of the exploration. They cost no DFT, and "
        "keep what the model knew, repulsion at short distances above all. 0: none.",
    )
    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="Most passes over the training labels. auto: as many as make 2500 gradient "
        "steps, but 25 at least and 100 at most, so that a few labels are learnt as well as many.",
    )
    batch_size: int = Field(default=4, ge=1, description="Structures per gradient step.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        default=1e-3,
        description="Highest step of Adam, at most 1. auto: it is chosen, with the strategy, by "
        "cross-validation on the training labels, which takes a training for each recipe and fold "
        "before that of the model.",
    )
    cross_validation: CrossValidationConfig = Field(
        default=CrossValidationConfig(),
        description="How learning_rate: auto chooses.",
    )
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
    stop_fraction: float | None = Field(
        default=None,
        ge=0,
        lt=0.5,
        description="Share of the training labels that is set aside to stop early and to pick the "
        "best epoch; validation labels are never used for this. null: a tenth with schedule "
        "plateau, and none with cosine, whose steps become small by themselves.",
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
    executor: TrainingExecution = Field(
        default=LocalTrainings(),
        description="Where models are trained; slurm and parsl need files that all machines see.",
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
    member_labels: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Fraction of the labels that every member of a committee but the first learns "
        "from. Below 1 each label is left out by at least two of them, as 0.5 does in a committee "
        "of 5, so that spreads are calibrated on training labels.",
    )

    @property
    def left_out_by(self) -> int:
        """Number of members of a committee that leave a label out, the same for each label.

        >>> TrainingConfig(committee_size=5, member_labels=0.5).left_out_by
        2
        """
        others = self.committee_size - 1
        return min(round((1 - self.member_labels) * others), max(others - 1, 0))

    @property
    def fixed_learning_rate(self) -> float:
        """The learning rate as a number; `ValueError` while it is still to be chosen."""
        if self.learning_rate == "auto":
            raise ValueError("learning_rate is auto: it has not been chosen yet")
        return self.learning_rate

    @property
    def fixed_epochs(self) -> int:
        """The epochs as a number; `ValueError` while the number of labels is not known."""
        if self.epochs == "auto":
            raise ValueError("epochs is auto: it depends on the number of labels")
        return self.epochs

    def for_labels(self, count: int) -> "TrainingConfig":
        """Return these settings with the epochs as a number, for this many training labels.

        >>> [TrainingConfig().for_labels(count).epochs for count in (8, 100, 200, 800)]
        [100, 100, 50, 25]
        """
        if self.epochs != "auto":
            return self
        steps = math.ceil(max(count, 1) / self.batch_size)
        fewest, most = EPOCHS_OF_AUTO
        epochs = min(most, max(fewest, math.ceil(STEPS_OF_AUTO / steps)))
        return self.model_copy(update={"epochs": epochs})

    @property
    def set_aside(self) -> float:
        """`stop_fraction`, or its default for the schedule."""
        if self.stop_fraction is None:
            return STOP_FRACTION_OF_PLATEAU if self.schedule == "plateau" else 0.0
        return self.stop_fraction

    @property
    def low_rank(self) -> LoraConfig:
        """`lora`, or its defaults."""
        return self.lora or LoraConfig()

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What `learning_rate: auto` compares; the first is the one to use in case of doubt."""
        known = trainer_for(self.framework).strategies
        return self.cross_validation.recipes or tuple(
            recipe for recipe in DEFAULT_RECIPES if recipe.strategy in known
        )

    @property
    def strategies(self) -> frozenset[Strategy]:
        """The strategy, or those that `learning_rate: auto` compares."""
        if self.learning_rate == "auto":
            return frozenset(recipe.strategy for recipe in self.recipes)
        return frozenset({self.strategy})

    @property
    def unread(self) -> frozenset[str]:
        """Sections without effect on what is learnt: trainings are not told apart by them."""
        unread = {
            "cross_validation": self.learning_rate != "auto",
            "lora": "lora" not in self.strategies,
            "executor": True,
            "preset": True,
            "member_labels": self.committee_size == 1,
        }
        return frozenset(name for name, is_unread in unread.items() if is_unread)

    @property
    def trials(self) -> int:
        """Most trainings of the cross-validation; 0 without one."""
        if self.learning_rate != "auto":
            return 0
        return self.cross_validation.folds * len(self.recipes)

    @property
    def most_epochs(self) -> int | None:
        """Most epochs of all trainings for a model; None while `epochs` depends on the labels.

        >>> TrainingConfig(epochs=50).most_epochs, TrainingConfig().most_epochs
        (50, None)
        """
        if self.epochs == "auto":
            return None
        epochs = self.epochs
        trials = [recipe.epochs or epochs for recipe in self.recipes] if self.trials else []
        of_trials = self.cross_validation.folds * sum(trials)
        return of_trials + self.committee_size * max(epochs, *trials, 0)

    def describe_trials(self) -> str:
        """Say what the cross-validation costs; empty without one."""
        if not self.trials:
            return ""
        folds = self.cross_validation.folds
        return (
            f"learning_rate: auto compares {len(self.recipes)} recipes in {folds} folds: "
            f"{self.trials} trainings on {folds - 1} of {folds} parts of the labels, before the "
            "model is trained"
        )

    def with_recipe(self, recipe: Recipe) -> "TrainingConfig":
        """Return these settings with what a recipe says."""
        return self.model_copy(update=recipe.model_dump(exclude_none=True))

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: Any) -> Any:
        """Keys that are given win; a loss that is given in part keeps the preset's other parts."""
        preset = PRESETS.get(given.get("preset") or "") if isinstance(given, dict) else None
        if preset is None:
            return given
        filled = preset | given
        if isinstance(given.get("loss"), dict):
            filled["loss"] = preset["loss"] | given["loss"]
        return filled

    @model_validator(mode="after")
    def _strategy_is_supported(self) -> "TrainingConfig":
        wanted = (self.strategy, *(recipe.strategy for recipe in self.cross_validation.recipes))
        for strategy in wanted:
            # All trainers know naive. To ask one loads torch, for which settings must not wait.
            if strategy == "naive":
                continue
            known = trainer_for(self.framework).strategies
            if strategy not in known:
                raise ValueError(
                    f"strategy={strategy} is not for framework {self.framework}, which has "
                    f"{' and '.join(known)}; choose one of them"
                )
        if self.strategy != "naive" and self.learning_rate == "auto":
            raise ValueError(
                f"strategy={self.strategy} has no effect with learning_rate: auto, which chooses "
                "the strategy too; remove it, or list what is to be compared, as "
                f"cross_validation: {{recipes: [{{strategy: {self.strategy}, learning_rate: "
                "0.003}, ...]}"
            )
        if self.lora is not None and "lora" not in wanted:
            raise ValueError(
                f"lora (rank {self.lora.rank}, alpha {self.lora.alpha:g}) is for strategy: lora "
                f"of framework sevennet, but strategy is {self.strategy}; remove it, or set "
                "strategy: lora"
            )
        return self

    @model_validator(mode="after")
    def _labels_are_left_out_twice(self) -> "TrainingConfig":
        if self.member_labels < 1 and self.left_out_by < LEAST_LEFT_OUT_BY:
            needed = math.ceil(LEAST_LEFT_OUT_BY / (1 - self.member_labels))
            raise ValueError(
                f"member_labels={self.member_labels:g} with committee_size={self.committee_size}: "
                f"each label would be left out by {self.left_out_by} members, and a spread needs "
                f"two; set committee_size to {needed + 1} or more, or member_labels lower"
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


def require_published_settings(base: str, config: TrainingConfig) -> None:
    """Raise `ModelError` when a model with a preset would be tuned at the rate of another one.

    Args:
        base: The model that is tuned.
        config: Its training settings, with `preset` or a `learning_rate` of the user's where
            `base` is a name of `PRESETS`.
    """
    if base not in PRESETS or config.preset or "learning_rate" in config.model_fields_set:
        return
    published = PRESETS[base]["learning_rate"]
    raise ModelError(
        f"{base} was published with a learning rate of {published:g}, and the default of "
        f"{config.learning_rate} is for other models; set training.preset to '{base}', or "
        "training.learning_rate to a value of your own"
    )
