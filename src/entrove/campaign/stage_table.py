"""The table of stages: what runs, in which order, when it is skipped, which files it needs.

`PREPARATION` is before the first round, `ROUND` is each round.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.outcomes import (
    Anchored,
    Explored,
    HeldOut,
    Labelled,
    Ordered,
    Relaxed,
    Selected,
    StageOutcome,
    Trained,
    Validated,
    Verified,
)
from entrove.campaign.stages.anchors import make_anchors, make_hold_out
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import explore
from entrove.campaign.stages.label import label_hold_out, label_picked
from entrove.campaign.stages.order import order, wants_ordered
from entrove.campaign.stages.relax import relax, relax_again
from entrove.campaign.stages.select import select
from entrove.campaign.stages.train import train
from entrove.campaign.stages.validate import validate
from entrove.campaign.stages.verify import verify, verify_tuned
from entrove.campaign.stopping import (
    budget_spent,
    stop_after_validation,
    stop_before_labels,
    stop_without_labels,
)
from entrove.campaign.workspace import Workspace, holds_something
from entrove.labelling.labels import Outcome
from entrove.validation.comparison import paired_interval


@dataclass(frozen=True)
class FileName:
    """A file that stages share: of the campaign, of its preparation, or of the current round.

    `name` is a property of `Workspace` for a file of the campaign, otherwise one of `RoundFiles`.
    """

    where: Literal["campaign", "preparation", "round"]
    name: str

    def path(self, files: Workspace, round_index: int) -> Path:
        """The path of the file for a stage of this round."""
        match self.where:
            case "campaign":
                return getattr(files, self.name)
            case "preparation":
                return getattr(files.round(0), self.name)
            case "round":
                return getattr(files.round(round_index), self.name)

    def is_lost(self, run: CampaignRun, round_index: int) -> bool:
        """Whether the file is missing, or empty although its stage found something."""
        path = self.path(run.files, round_index)
        if holds_something(path):
            return False
        explored = run.ledger.find(round_index, Explored) if self == CANDIDATES else None
        return not path.is_file() or explored is None or explored.snapshots != 0


RELAXED = FileName("preparation", "relaxed")
ANCHORS = FileName("preparation", "anchors")
HOLD_OUT = FileName("preparation", "hold_out")
VALIDATION = FileName("campaign", "validation")
DATASET = FileName("campaign", "dataset")
CANDIDATES = FileName("round", "candidates")
SELECTED = FileName("round", "selected")


def _never(run: CampaignRun, round_index: int) -> bool:  # noqa: ARG001
    return False


def _no_verdict(run: CampaignRun, round_index: int) -> str | None:  # noqa: ARG001
    return None


@dataclass(frozen=True)
class StageEntry:
    """One row of the table of stages.

    Attributes:
        outcome: Model of what the stage finds; it names the stage in the ledger.
        description: What happens, in a phrase that the progress display shows.
        work: The function that runs the stage.
        needs: Files that must exist before the stage.
        unit, total: The unit in which progress is counted, and the amount of work where it is
            known beforehand.
        is_sampling: Whether it runs where `sampling.executor` says.
        skipped: Whether a round runs without this stage.
        repeated: Whether a finished stage is run again.
        ends: The reason why the campaign ends after this stage, or None.
    """

    outcome: type[StageOutcome]
    description: str
    work: Callable[[CampaignRun, int], StageOutcome]
    needs: tuple[FileName, ...] = ()
    unit: str = ""
    total: Callable[[CampaignConfig], int | None] | None = None
    is_sampling: bool = False
    skipped: Callable[[CampaignRun, int], bool] = _never
    repeated: Callable[[CampaignRun, int], bool] = _never
    ends: Callable[[CampaignRun, int], str | None] = _no_verdict


def _explorer_is_known(run: CampaignRun, round_index: int) -> bool:
    """Whether the model that explores was verified before, and the phases relaxed with it."""
    explored = run.ledger.find(round_index, Explored) is not None
    return explored or not run.models.explores_with_another(round_index)


def _has_no_ordered_pool(run: CampaignRun, round_index: int) -> bool:  # noqa: ARG001
    return not wants_ordered(run)


def _picked_nothing(run: CampaignRun, round_index: int) -> bool:
    """Whether the selection found nothing.

    It is repeated because the user may have allowed more labels since; if not, the campaign ends
    as before within seconds.
    """
    selected = run.ledger.find(round_index, Selected)
    return selected is not None and not selected.picked


def _verdict_before_labels(run: CampaignRun, round_index: int) -> str | None:
    """Why no more labels are computed; a round that is labelled already is run to its end."""
    if _is_labelled(run, round_index):
        return None
    selected = run.ledger.find(round_index, Selected)
    assert selected is not None  # called after the selection
    return stop_before_labels(
        run.config.stopping,
        round_index - 1,
        len(run.files.computed_labels(before=round_index)),
        selected,
    )


def _verdict_after_validation(run: CampaignRun, round_index: int) -> str | None:
    """Why no further round begins; a round that is labelled already is run to its end."""
    if _is_labelled(run, round_index + 1):
        return None
    good_labels = [
        sum(row.outcome == Outcome.CONVERGED for row in labelled.labels)
        for index, labelled in sorted(run.ledger.each(Labelled).items())
        if 0 < index <= round_index
    ]
    if reason := stop_without_labels(good_labels):
        return reason
    stopping = run.config.stopping
    validations = run.ledger.each(Validated)
    if not validations[round_index].accepted:
        # A refused model is not what the campaign would end with.
        stopping = stopping.model_copy(update={"force_mae_meV_per_A": None})
    if not good_labels[-1]:
        # What a model does not learn from no labels says nothing about the next ones.
        stopping = stopping.model_copy(update={"least_improvement": None})
    *earlier, last = (
        validations[index].table for index in sorted(validations) if index <= round_index
    )
    best = min(earlier, key=lambda table: table.total.force_mae_meV_per_A)
    reason = stop_after_validation(
        stopping,
        round_index,
        [table.total.force_mae_meV_per_A for table in (*earlier, last)],
        interval=last.total.force_interval_meV_per_A,
        ratio_to_best=paired_interval(best, last, ["force"]),
    )
    labels = len(run.files.computed_labels(before=round_index + 1))
    return reason or budget_spent(stopping, labels)


def _is_labelled(run: CampaignRun, round_index: int) -> bool:
    return run.ledger.find(round_index, Labelled) is not None


PREPARATION: tuple[StageEntry, ...] = (
    StageEntry(Verified, "comparing batched and single evaluations", verify, is_sampling=True),
    StageEntry(
        Relaxed,
        "relaxing each phase at each pressure",
        relax,
        is_sampling=True,
    ),
    StageEntry(
        Anchored,
        "relaxed, strained and sheared cells, short unbiased MD",
        make_anchors,
        needs=(RELAXED,),
        unit="steps",
        is_sampling=True,
    ),
    StageEntry(
        HeldOut,
        "making the validation set",
        make_hold_out,
        needs=(RELAXED, ANCHORS),
        unit="steps",
        is_sampling=True,
    ),
    StageEntry(
        Labelled,
        "labelling the validation set",
        label_hold_out,
        needs=(HOLD_OUT,),
        unit="labels",
    ),
    StageEntry(
        Validated,
        "the untuned model on the validation set",
        validate,
        needs=(VALIDATION,),
    ),
)
"""The stages before the first round, recorded as round 0."""

ROUND: tuple[StageEntry, ...] = (
    StageEntry(
        Verified,
        "comparing batched and single evaluations of the tuned model",
        verify_tuned,
        is_sampling=True,
        skipped=_explorer_is_known,
    ),
    StageEntry(
        Relaxed,
        "relaxing each phase at each pressure with the tuned model",
        relax_again,
        needs=(RELAXED,),
        is_sampling=True,
        skipped=_explorer_is_known,
    ),
    StageEntry(
        Explored,
        "entropy-biased MD of all walkers",
        explore,
        needs=(RELAXED, ANCHORS),
        unit="steps",
        is_sampling=True,
    ),
    StageEntry(
        Ordered,
        "relaxing perturbed seeds and random crystals",
        order,
        needs=(RELAXED,),
        is_sampling=True,
        skipped=_has_no_ordered_pool,
    ),
    StageEntry(
        Selected,
        "picking candidates to label",
        select,
        needs=(CANDIDATES, ANCHORS, HOLD_OUT),
        repeated=_picked_nothing,
        ends=_verdict_before_labels,
    ),
    StageEntry(
        Labelled,
        "labelling the picked structures",
        label_picked,
        needs=(SELECTED, VALIDATION),
        unit="labels",
    ),
    StageEntry(
        Trained,
        "tuning the foundation model to all labels",
        train,
        needs=(DATASET, VALIDATION),
        total=lambda config: config.training.most_epochs,
        unit="epochs",
    ),
    StageEntry(
        Validated,
        "the tuned model on the validation set",
        validate,
        needs=(VALIDATION,),
        ends=_verdict_after_validation,
    ),
)
"""The stages of one round."""
