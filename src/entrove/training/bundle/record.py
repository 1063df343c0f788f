"""The schema of `bundle.json`: what a reader of a paper asks about a potential."""

from typing import Any

from pydantic import Field

from entrove.settings import Settings
from entrove.training.choice import Choice
from entrove.training.trainers import TrainableFramework

BUNDLE_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 1, of release 0.1, has none of the keys below `regime`."""

ALL = "all"
"""Phase and kind of the row over all structures, as in `entrove.validation`."""

NOT_RECORDED = "not recorded"


class Regime(Settings):
    """Where the potential was trained and validated; outside, it is an extrapolation.

    Empty is what the labels do not say.
    """

    phases: tuple[str, ...] = Field(description="Names of the phases of the seeds.")
    pressures_GPa: tuple[float, ...] = Field(description="Pressures in GPa.")
    temperatures_K: tuple[float, ...] = Field(description="Temperatures in K.")

    def describe(self) -> dict[str, str]:
        """Phases, pressures and temperatures in words, by what they are."""

        def listed(values: tuple[float, ...], unit: str) -> str:
            return f"{', '.join(f'{value:g}' for value in values)} {unit}" if values else ""

        known = {
            "phases": ", ".join(self.phases),
            "pressures": listed(self.pressures_GPa, "GPa"),
            "temperatures": listed(self.temperatures_K, "K"),
        }
        return {name: text or NOT_RECORDED for name, text in known.items()}


class Weights(Settings):
    """A checkpoint in the bundle."""

    file: str = Field(description="Path inside the bundle, with forward slashes.")
    sha256: str = Field(description="SHA-256 of the file.")
    seed: int = Field(description="Seed it was trained with.")


class PartErrors(Settings):
    """Errors on one part of the validation set, of the untuned model and of this one.

    The names carry the unit, such as `force_mae_meV_per_A`; a bound of an interval ends in `_low`
    or `_high`. None stands for what could not be measured.
    """

    phase: str = Field(description="Phase of the structures; 'all' for every one.")
    kind: str = Field(description="Kind of the structures; 'all' for every one.")
    structures: int = Field(ge=0, description="Number of structures.")
    untuned: dict[str, float | None] = Field(
        default={}, description="Errors of the foundation model."
    )
    tuned: dict[str, float | None] = Field(description="Errors of this potential.")
    judged: tuple[str, ...] = Field(
        default=(),
        description="Names of the errors whose ratio to those of the foundation model has a known "
        "confidence interval; none in bundles of release 0.1.",
    )
    worse: tuple[str, ...] = Field(
        default=(), description="Those of them that are larger beyond the interval."
    )
    larger: tuple[str, ...] = Field(
        default=(), description="Those that are larger, and not negligibly, but within it."
    )


class CheckResult(Settings):
    """The result of one check of the potential, such as its elastic constants."""

    name: str = Field(description="Name of the check.")
    passed: bool | None = Field(description="Whether it passed; null when it only informs.")
    result: str = Field(description="What was found, in a line.")


class Bundle(Settings):
    """What `bundle.json` holds."""

    version: int = Field(description="Version of this file's form.")
    entrove_version: str = Field(description="Version of Entrove that wrote it.")
    created_utc: str = Field(description="When it was written.")
    framework: TrainableFramework = Field(description="Code that the weights belong to.")
    foundation_model: str = Field(
        description="Model that was tuned: its name, or its file's; with random_weights the "
        "architecture."
    )
    foundation_sha256: str = Field(
        default="", description="SHA-256 of its file; empty in earlier bundles."
    )
    random_weights: bool = Field(
        default=False,
        description="Whether it was trained from random weights, without a foundation model.",
    )
    modal: str | None = Field(default=None, description="Fidelity of a multi-fidelity model.")
    weights: tuple[Weights, ...] = Field(
        min_length=1, description="The potential, then other committee members."
    )
    species: tuple[str, ...] = Field(
        min_length=1, description="Elements that the training labels hold."
    )
    reference_shifts_eV: dict[str, float] = Field(
        description="Energy in eV that was added to the foundation model per atom of each "
        "species; the weights contain it."
    )
    level_of_theory_hash: str = Field(description="Hash of the level of theory of the labels.")
    level_of_theory: str = Field(description="The level of theory, described.")
    training_set_hash: str = Field(
        description="Hash of structures and energies of the training labels."
    )
    training_labels: int = Field(ge=1, description="Number of training labels.")
    accepted: bool | None = Field(
        description="Better than its foundation model on validation labels; null: not compared."
    )
    metrics: dict[str, float] = Field(
        description="Errors on the validation labels, which chose the model, and, as test_..., on "
        "the test labels, which took no part in any decision; names carry the unit."
    )
    chosen_on_validation: bool = Field(
        default=True,
        description="Whether the validation labels chose it among models of several rounds, as "
        "in a campaign; false for a single training.",
    )
    regime: Regime = Field(description="Supported regime.")
    name: str = Field(default="", description="Name of the campaign that made it.")
    training_structures: dict[str, int] = Field(
        default={}, description="Number of training labels of each phase and kind."
    )
    training_settings: dict[str, Any] = Field(
        default={}, description="Settings of the training, with every default."
    )
    learning_rate_choice: Choice | None = Field(
        default=None,
        description="How strategy and learning rate were chosen on the training labels; null "
        "where they were given.",
    )
    validation: tuple[PartErrors, ...] = Field(
        default=(), description="Errors on validation labels by phase and kind, the total first."
    )
    test: tuple[PartErrors, ...] = Field(
        default=(), description="The same on test labels, which took no part in any decision."
    )
    test_set_hash: str = Field(
        default="", description="Hash of structures and energies of the test labels."
    )
    validation_set_hash: str = Field(
        default="", description="Hash of structures and energies of the validation labels."
    )
    checks: tuple[CheckResult, ...] = Field(
        default=(), description="Checks of physical properties."
    )
    packages: dict[str, str] = Field(
        default={}, description="Versions of the packages that trained it."
    )
    foundation_licence: str = Field(
        default="unknown", description="Licence of the foundation model, and how it is known."
    )

    @property
    def how_trained(self) -> str:
        """What was done with `foundation_model`."""
        return "trained from random weights" if self.random_weights else "tuned"

    @property
    def is_validated(self) -> bool:
        """Whether errors on labels that took no part in training are recorded."""
        return bool(self.validation or self.test or self.metrics)
