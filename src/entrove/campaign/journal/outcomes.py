"""What each stage of a campaign found: one frozen model per stage, kept in the ledger as JSON.

A stage says what happened in one line for people (`summary`), and hands exactly the values to
later stages, to `entrove status` and to the report that they read. Ledgers are read with the same
models: keys of older versions that are no longer read are ignored, keys that came later have
defaults.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from entrove.validation.errors_by_kind import ErrorRow, ErrorTable


class Stage(StrEnum):
    """The stages of a campaign, by the names that stand in its ledger, in the order of a campaign."""

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
    FINISH = "finish"


@dataclass(frozen=True)
class LabelRow:
    """One structure that was sent to the labelling engine."""

    purpose: str  # "training" or "validation"
    round: int
    structure_hash: str
    phase: str
    kind: str
    pool: str
    pressure_GPa: float
    temperature_K: float | None
    gain_nats: float | None  # what the selection expected; None for validation structures
    outcome: str
    cause: str
    engine_seconds: float
    from_cache: bool


@dataclass(frozen=True)
class WalkerRow:
    """How often a walker was restarted, and why."""

    round: int
    walker: int
    phase: str
    pressure_GPa: float
    temperature_K: float
    strength: str
    restarts: int
    reasons: str
    ended_at_step: int | None = None  # None: it still runs


class StageOutcome(BaseModel):
    """What a finished stage found. Each stage has a model of its own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: ClassVar[Stage]
    summary: str = Field(description="One line for people.")


class Verified(StageOutcome):
    """Whether batches can be trusted: of the untuned models in round 0, of a tuned one later."""

    stage = Stage.VERIFY
    batched: bool = Field(default=True, description="Batches agree with single evaluations.")
    explorer_batched: bool = Field(
        default=True, description="The same for a model that explores instead of the tuned one."
    )
    tuned_in: int | None = Field(
        default=None, description="Round in which the model was tuned; None: an untuned one."
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


class Ordered(StageOutcome):
    """The pool of ordered cells of a round exists."""

    stage = Stage.ORDER


class Selected(StageOutcome):
    """The structures that a round labels."""

    stage = Stage.SELECT
    picked: int = Field(description="Number of structures that were picked.")
    gain_nats: float = Field(description="Information that they add together, in nats.")
    gains_nats: tuple[float, ...] = Field(
        default=(), description="What each adds to those before it, in the order of the file."
    )
    rejected: dict[str, int] = Field(
        default={}, description="Candidates that each filter dropped."
    )
    picked_by_pool: dict[str, int] = Field(default={}, description="Picks from each pool.")
    reserved_by_pool: dict[str, int] = Field(
        default={}, description="Places that were reserved for each pool."
    )


class Labelled(StageOutcome):
    """Structures were labelled: the validation set in round 0, the picks of a round later."""

    stage = Stage.LABEL
    labels: tuple[LabelRow, ...] = Field(default=(), description="What became of each structure.")
    withdrawn: dict[str, str] = Field(
        default={},
        description="Training labels of earlier rounds that are rejected since: cause by content "
        "hash.",
    )


class Trained(StageOutcome):
    """A model was tuned to all labels so far."""

    stage = Stage.TRAIN
    checkpoint: str = Field(description="File of the model, relative to the campaign's folder.")


class Validated(StageOutcome):
    """A model was measured on the validation set: the untuned one in round 0."""

    stage = Stage.VALIDATE
    errors: tuple[ErrorRow, ...] = Field(description="Errors by phase and kind, the total first.")
    accepted: bool | None = Field(
        default=None, description="Better than the untuned model; None for the untuned one itself."
    )

    @property
    def table(self) -> ErrorTable:
        """The errors as a table."""
        return ErrorTable(self.errors)


class Finished(StageOutcome):
    """The campaign has ended; its summary is the verdict."""

    stage = Stage.FINISH
    reason: str = Field(default="", description="Which stopping condition held.")


OUTCOMES: dict[Stage, type[StageOutcome]] = {
    model.stage: model
    for model in (
        Verified, Relaxed, Anchored, HeldOut, Explored, Ordered, Selected, Labelled, Trained,
        Validated, Finished,
    )
}  # fmt: skip
"""The model of each stage."""
