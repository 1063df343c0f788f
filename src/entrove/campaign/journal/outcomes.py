"""What each stage of a campaign found: one frozen model per stage, kept in the ledger as JSON.

A model has a `summary` for the user, and exactly the values that later stages, `entrove status`
and the report read. Ledgers of older versions are read with the same models: keys that are no
longer used are ignored, and keys that were added since have defaults.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from entrove.labelling.kpoint_check import KpointComparison
from entrove.training.choice import Choice
from entrove.validation.errors_by_kind import ErrorRow, ErrorTable
from entrove.validation.structure_errors import StructureErrors
from entrove.validation.suite.result import SuiteResult


class Stage(StrEnum):
    """The stages of a campaign in the order in which they run; values are their names on disk."""

    VERIFY = "verify"
    RELAX = "relax"
    ANCHORS = "anchors"
    HOLD_OUT = "hold-out"
    EXPLORE = "explore"
    ORDER = "order"
    SELECT = "select"
    LABEL = "label"
    TRAIN = "train"
    VALIDATE = "validate"
    CHECK = "check"
    FINISH = "finish"


@dataclass(frozen=True)
class LabelRow:
    """The outcome of one structure that was sent to the labelling engine.

    Attributes:
        purpose: "training", "validation" or "test"; "equation of state" for volumes that were
            labelled to judge a model.
        round: The round that selected it; 0 for validation and test set.
        structure_hash: Content hash, see `entrove.structures.content_hash`.
        phase, kind, pool, pressure_GPa, temperature_K: Where the structure came from, see
            `entrove.provenance`.
        gain_nats: Information gain that the selection expected; None for validation structures.
        outcome, cause: A value of `entrove.labelling.labels.Outcome`, and what caused it, if it
            failed.
        engine_seconds: Wall time of the engine in s.
        from_cache: The label was not computed by this campaign.
        label_key: What the label is known by where its structure has a magnetic state: see
            `entrove.labelling.store.moments.label_key`.
    """

    purpose: str
    round: int
    structure_hash: str
    phase: str
    kind: str
    pool: str
    pressure_GPa: float
    temperature_K: float | None
    gain_nats: float | None
    outcome: str
    cause: str
    engine_seconds: float
    from_cache: bool
    label_key: str = ""

    @property
    def key(self) -> str:
        """What tells this label from all others: two magnetic states are two labels."""
        return self.label_key or self.structure_hash


@dataclass(frozen=True)
class WalkerRow:
    """How often a walker was restarted, and why.

    `strength` describes its bias; `ended_at_step` is None for a walker that ran to the end.
    """

    round: int
    walker: int
    phase: str
    pressure_GPa: float
    temperature_K: float
    strength: str
    restarts: int
    reasons: str
    ended_at_step: int | None = None


class StageOutcome(BaseModel):
    """What a finished stage found; each stage has its own model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: ClassVar[Stage]
    summary: str = Field(description="The result in one line, for the user.")
    cores: int | None = Field(
        default=None, description="Cores that the stage could use; None: not recorded."
    )


class Verified(StageOutcome):
    """Whether batched evaluation is correct, of the untuned models (round 0) or of a tuned one."""

    stage = Stage.VERIFY
    batched: bool = Field(
        default=True, description="Batched and single evaluations of the model agree."
    )
    explorer_batched: bool = Field(
        default=True, description="The same for a model that explores instead of the tuned one."
    )
    tuned_in: int | None = Field(
        default=None, description="Round in which the model was tuned; None for an untuned one."
    )


class Relaxed(StageOutcome):
    """The phases are relaxed at each pressure, for the first time or with a tuned model."""

    stage = Stage.RELAX


class Anchored(StageOutcome):
    """The pool of anchors exists: relaxed, strained, sheared and thermal cells."""

    stage = Stage.ANCHORS


class HeldOut(StageOutcome):
    """The structures of the validation set exist."""

    stage = Stage.HOLD_OUT


class Explored(StageOutcome):
    """All walkers of a round have run."""

    stage = Stage.EXPLORE
    walkers: tuple[WalkerRow, ...] = Field(default=(), description="Restarts of each walker.")
    independent_snapshots: float | None = Field(
        default=None,
        description="How many independent snapshots those of the walkers are worth, by the "
        "correlation of their displacements; empty: not recorded, or too few snapshots.",
    )
    snapshots: int | None = Field(
        default=None, description="Snapshots of all walkers; empty: not recorded."
    )


class Ordered(StageOutcome):
    """The pool of ordered cells of a round exists."""

    stage = Stage.ORDER


class Selected(StageOutcome):
    """The structures that a round labels."""

    stage = Stage.SELECT
    picked: int = Field(description="Number of structures that were picked.")
    gain_nats: float = Field(description="Information that they add together, in nats.")
    gains_nats: tuple[float, ...] = Field(
        default=(),
        description="What each structure adds to those before it, in the order of the file.",
    )
    predicted_improvement: float | None = Field(
        default=None,
        description="Fraction by which these labels are predicted to lower the error of the "
        "target; empty where the selection has no target.",
    )
    predicted_force_rmse_meV_per_A: float | None = Field(
        default=None,
        description="Root mean square error of force components, before these labels, that the "
        "calibrated committee predicts on unbiased snapshots; empty where nothing asks for it.",
    )
    rejected: dict[str, int] = Field(
        default={}, description="Number of candidates that each filter rejected."
    )
    picked_by_pool: dict[str, int] = Field(
        default={}, description="Number of structures that were picked from each pool."
    )
    reserved_by_pool: dict[str, int] = Field(
        default={}, description="Places that were reserved for each pool."
    )
    reserved_by_phase: dict[str, int] = Field(
        default={}, description="Places that were reserved for each phase."
    )


class Labelled(StageOutcome):
    """Structures were labelled: the validation set in round 0, the picks of a round later."""

    stage = Stage.LABEL
    labels: tuple[LabelRow, ...] = Field(default=(), description="The outcome of each structure.")
    withdrawn: dict[str, str] = Field(
        default={},
        description="Training labels of earlier rounds that this stage rejected: content hash, "
        "with the magnetic state where there is one, to cause.",
    )
    kpoints: KpointComparison | None = Field(
        default=None,
        description="What denser k-points change in a hot snapshot of each phase; null: not "
        "computed.",
    )


class Trained(StageOutcome):
    """A model was tuned to all labels so far."""

    stage = Stage.TRAIN
    checkpoint: str = Field(description="File of the model, relative to the campaign's folder.")
    labels: int | None = Field(
        default=None, description="Number of labels it learnt; null: not recorded."
    )
    choice: Choice | None = Field(
        default=None,
        description="How strategy and learning rate were chosen; null where they were given.",
    )


class Validated(StageOutcome):
    """The errors of a model on the validation set: of the untuned model in round 0."""

    stage = Stage.VALIDATE
    errors: tuple[ErrorRow, ...] = Field(description="Errors by phase and kind, the total first.")
    structures: tuple[StructureErrors, ...] = Field(
        default=(), description="Errors of each structure; release 0.1 kept none."
    )
    reference_shifts_eV: dict[str, float] | None = Field(
        default=None,
        description="Energy per atom that was added to the predictions: none for a tuned model, "
        "those fitted to the training labels for the untuned one. null: nothing was fitted, so "
        "that energy errors contain the difference of two zeros of energy.",
    )
    untuned: ErrorTable | None = Field(
        default=None,
        description="Errors of the untuned model, its reference energies fitted to the training "
        "labels of this round; null for the untuned model itself.",
    )
    accepted: bool | None = Field(
        default=None, description="Better than the untuned model; None for the untuned model."
    )

    @property
    def table(self) -> ErrorTable:
        """The errors as a table."""
        return ErrorTable(self.errors, self.structures, self.reference_shifts_eV)


class Checked(StageOutcome):
    """The validation suite has judged the model that is kept."""

    stage = Stage.CHECK
    model_round: int = Field(description="Round in which the model was tuned.")
    suite: SuiteResult = Field(description="Verdict, numbers and data of plots of each check.")
    volumes: tuple[LabelRow, ...] = Field(
        default=(),
        description="The outcome of each volume that was labelled for the equation of state.",
    )
    labelling_seconds: float = Field(
        default=0.0, description="Wall time of labelling these volumes, in s."
    )


class Finished(StageOutcome):
    """The campaign has ended; the summary says why, and which model was kept."""

    stage = Stage.FINISH
    reason: str = Field(default="", description="Which stopping condition held.")
    model_round: int = Field(
        default=0, description="Round of the model that is kept; 0 when none is."
    )
    test: ErrorTable | None = Field(
        default=None, description="Errors of the model that is kept on the test set."
    )
    untuned_test: ErrorTable | None = Field(
        default=None, description="Errors of the untuned model on the test set."
    )


OUTCOMES: dict[Stage, type[StageOutcome]] = {
    model.stage: model
    for model in (
        Verified, Relaxed, Anchored, HeldOut, Explored, Ordered, Selected, Labelled, Trained,
        Validated, Checked, Finished,
    )
}  # fmt: skip
"""The model of each stage."""
