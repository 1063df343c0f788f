"""The loop: prepare, then explore, select, label, train and validate until a campaign stops.

`PREPARATION` and `ROUND` are the table of stages: what runs, in which order, when it is skipped,
which files it needs and which it writes. The rest of the file decides which round is the last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.settled import as_started, find_changes, settle_config
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.journal.log import log_to
from entrove.campaign.journal.outcomes import (
    Anchored,
    Checked,
    Explored,
    Finished,
    HeldOut,
    Labelled,
    Ordered,
    Relaxed,
    Selected,
    Stage,
    StageOutcome,
    Trained,
    Validated,
    Verified,
)
from entrove.campaign.journal.progress import ProgressListener, Recorded
from entrove.campaign.journal.runner import StageRunner
from entrove.campaign.stage_job import run_elsewhere
from entrove.campaign.stages.anchors import make_anchors, make_hold_out
from entrove.campaign.stages.check import check, checks_are_stale, wants_checks
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import explore
from entrove.campaign.stages.finish import finish
from entrove.campaign.stages.imported import imports_changed
from entrove.campaign.stages.label import label_hold_out, label_picked, released_requests
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.order import order, wants_ordered
from entrove.campaign.stages.relax import relax, relax_again
from entrove.campaign.stages.select import select
from entrove.campaign.stages.train import train
from entrove.campaign.stages.validate import complete_validations, validate
from entrove.campaign.stages.verify import verify, verify_tuned
from entrove.campaign.stopping import budget_spent, stop_after_validation, stop_before_labels
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.execution.running import Executors
from entrove.execution.settings import ThisMachine
from entrove.threads import usable_threads
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


RELAXED = FileName("preparation", "relaxed")
ANCHORS = FileName("preparation", "anchors")
HOLD_OUT = FileName("preparation", "hold_out")
VALIDATION = FileName("campaign", "validation")
DATASET = FileName("campaign", "dataset")
CANDIDATES = FileName("round", "candidates")
SELECTED = FileName("round", "selected")
PREDICTIONS = FileName("round", "validation_predictions")


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
        needs, leaves: Files that must exist before the stage, and files that exist after it.
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
    leaves: tuple[FileName, ...] = ()
    unit: str = ""
    total: Callable[[CampaignConfig], int] | None = None
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
    validations = run.ledger.each(Validated)
    *earlier, last = (
        validations[index].table for index in sorted(validations) if index <= round_index
    )
    best = min(earlier, key=lambda table: table.total.force_mae_meV_per_A)
    reason = stop_after_validation(
        run.config.stopping,
        round_index,
        [table.total.force_mae_meV_per_A for table in (*earlier, last)],
        interval=last.total.force_interval_meV_per_A,
        ratio_to_best=paired_interval(best, last, ["force"]),
    )
    labels = len(run.files.computed_labels(before=round_index + 1))
    return reason or budget_spent(run.config.stopping, labels)


def _is_labelled(run: CampaignRun, round_index: int) -> bool:
    return run.ledger.find(round_index, Labelled) is not None


def _epochs(config: CampaignConfig) -> int:
    training = config.training
    return training.epochs * (training.trials + training.committee_size)


PREPARATION: tuple[StageEntry, ...] = (
    StageEntry(Verified, "comparing batched and single evaluations", verify, is_sampling=True),
    StageEntry(
        Relaxed,
        "relaxing each phase at each pressure",
        relax,
        leaves=(RELAXED,),
        is_sampling=True,
    ),
    StageEntry(
        Anchored,
        "relaxed, strained and sheared cells, short unbiased MD",
        make_anchors,
        needs=(RELAXED,),
        leaves=(ANCHORS,),
        unit="steps",
        is_sampling=True,
    ),
    StageEntry(
        HeldOut,
        "making the validation set",
        make_hold_out,
        needs=(RELAXED, ANCHORS),
        leaves=(HOLD_OUT,),
        unit="steps",
        is_sampling=True,
    ),
    StageEntry(
        Labelled,
        "labelling the validation set",
        label_hold_out,
        needs=(HOLD_OUT,),
        leaves=(VALIDATION,),
        unit="labels",
    ),
    StageEntry(
        Validated,
        "the untuned model on the validation set",
        validate,
        needs=(VALIDATION,),
        leaves=(PREDICTIONS,),
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
        leaves=(CANDIDATES,),
        unit="steps",
        is_sampling=True,
    ),
    StageEntry(
        Ordered,
        "relaxing perturbed seeds and random crystals",
        order,
        needs=(RELAXED,),
        leaves=(FileName("round", "ordered"),),
        is_sampling=True,
        skipped=_has_no_ordered_pool,
    ),
    StageEntry(
        Selected,
        "picking candidates to label",
        select,
        needs=(CANDIDATES, ANCHORS, HOLD_OUT),
        leaves=(SELECTED,),
        repeated=_picked_nothing,
        ends=_verdict_before_labels,
    ),
    StageEntry(
        Labelled,
        "labelling the picked structures",
        label_picked,
        needs=(SELECTED, VALIDATION),
        leaves=(DATASET,),
        unit="labels",
    ),
    StageEntry(
        Trained,
        "tuning the foundation model to all labels",
        train,
        needs=(DATASET, VALIDATION),
        total=_epochs,
        unit="epochs",
    ),
    StageEntry(
        Validated,
        "the tuned model on the validation set",
        validate,
        needs=(VALIDATION,),
        leaves=(PREDICTIONS,),
        ends=_verdict_after_validation,
    ),
)
"""The stages of one round."""


def run_campaign(campaign: CheckedCampaign, listener: ProgressListener) -> None:
    """Run a campaign, or continue it, until a stopping condition holds.

    Args:
        campaign: What `check_campaign` returns. Its folder is created when it does not exist.
        listener: Receives the progress; `Silence()` ignores it.

    What was finished before an interruption is not repeated. Results are files in the folder of
    the campaign; `read_results` reads them.

    Raises `CampaignError` when another process runs the campaign, when it was started with another
    configuration, or when a file is missing that an earlier stage wrote; other `EntroveError`
    where a stage cannot do its work.
    """
    workspace = campaign.workspace
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with hold_campaign(workspace.folder), log_to(workspace.log):
        # The ledger first: it holds the version of the folder's format, which includes the
        # configuration.
        ledger = Ledger(workspace.ledger)
        campaign = replace(campaign, config=as_started(workspace.config, campaign.config))
        _judge_again_if_asked(campaign, ledger)
        settle_config(workspace.config, campaign.config, _unfinished(workspace, ledger))
        torch.set_num_threads(usable_threads(campaign.config.model.threads))
        with Executors() as executors:
            _run_to_end(campaign, ledger, Recorded(listener, workspace.progress), executors)


def _judge_again_if_asked(campaign: CheckedCampaign, ledger: Ledger) -> None:
    """Compare all models again when the settings that decide about them have changed."""
    changes = find_changes(campaign.workspace.config, campaign.config)
    if any(change.key[0] == "validation" for change in changes):
        judged = [(index, Stage.VALIDATE) for index in ledger.each(Validated) if index]
        ledger.forget([*judged, *((index, Stage.FINISH) for index in ledger.each(Finished))])


def explore_only(
    campaign: CheckedCampaign, listener: ProgressListener, *, walkers: bool = True
) -> CampaignRun:
    """Run a campaign up to the pools of its first round: no label is computed, nothing picked.

    Args:
        campaign: What `check_campaign` returns. Its folder is created when it does not exist.
        listener: Receives the progress.
        walkers: False: end at the anchors.

    An interrupted exploration continues, and a finished one returns at once. `run_campaign` takes
    the campaign from there.

    Returns the campaign with its models, ready to read its pools and to choose from them.

    Raises what `run_campaign` raises.
    """
    workspace = campaign.workspace
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with hold_campaign(workspace.folder), log_to(workspace.log):
        ledger = Ledger(workspace.ledger)
        settle_config(workspace.config, campaign.config, _unfinished(workspace, ledger))
        torch.set_num_threads(usable_threads(campaign.config.model.threads))
        run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), listener)
        prepared = (Verified, Relaxed, Anchored, *((HeldOut,) if walkers else ()))
        with run.executors:
            for entry in PREPARATION:
                if entry.outcome in prepared:
                    _run_stage(run, entry, 0)
            explored = (Explored, Ordered) if walkers else ()
            for entry in ROUND:
                if entry.outcome in explored and not entry.skipped(run, 1):
                    _run_stage(run, entry, 1)
        return run


def _unfinished(workspace: Workspace, ledger: Ledger) -> dict[str, Path]:
    """Return the stages that were interrupted after they had written something, and what."""
    found: dict[str, Path] = {}
    for files in workspace.existing_rounds():
        if files.walkers.exists() and ledger.find(files.number, Explored) is None:
            found[Stage.EXPLORE.value] = files.walkers
        if files.training.exists() and ledger.find(files.number, Trained) is None:
            found[Stage.TRAIN.value] = files.training
    return found


def _run_to_end(
    campaign: CheckedCampaign, ledger: Ledger, listener: ProgressListener, executors: Executors
) -> None:
    run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), listener, executors)
    _reopen_validation(run)
    complete_validations(run)
    for entry in PREPARATION:
        _run_stage(run, entry, 0)
    last, verdict = _run_rounds(run, 1)
    reopened = _reopen_last_round(run)
    if reopened is not None:
        # The loaded models may come from the training that is repeated.
        run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), listener, executors)
        last, verdict = _run_rounds(run, reopened)
    _check_model(run, last)
    found = ledger.find(last, Finished)
    # The user may have changed `stopping` so that the campaign ends here for another reason.
    if found is not None and found.reason != verdict:
        ledger.forget([(last, Stage.FINISH)])
    _runner(run).run(last, Finished, "writing the model bundle", partial(finish, run, verdict))


def _runner(run: CampaignRun, cores: int | None = None) -> StageRunner:
    return StageRunner(run.ledger, run.listener, cores or usable_threads(run.config.model.threads))


def _cores_elsewhere(run: CampaignRun, entry: StageEntry) -> int | None:
    """Cores of the workers of a stage; None where it runs here."""
    config = run.config
    if entry.is_sampling:
        executor = config.sampling.executor
        return None if isinstance(executor, ThisMachine) else executor.cores_per_worker
    executor = config.training.executor
    if entry.outcome is not Trained or isinstance(executor, ThisMachine):
        return None
    trainings = max(config.training.trials, config.training.committee_size)
    return executor.cores_per_worker * min(executor.capacity, trainings)


def _check_model(run: CampaignRun, last: int) -> None:
    """Judge the model that is kept, unless that was done with the same settings."""
    if checks_are_stale(run, last):
        run.ledger.forget([(last, Stage.CHECK)])
    if wants_checks(run):
        _runner(run).run(
            last, Checked, "checks of the model that is kept", partial(check, run), unit="checks"
        )


def _run_rounds(run: CampaignRun, first: int) -> tuple[int, str]:
    """Run rounds until one is the last; return its number and why it is the last."""
    round_index, verdict = first, _run_round(run, first)
    while verdict is None:
        round_index += 1
        verdict = _run_round(run, round_index)
    return round_index, verdict


def _run_round(run: CampaignRun, round_index: int) -> str | None:
    """Run one round; return the reason why the campaign ends with it, or None."""
    for entry in ROUND:
        if entry.skipped(run, round_index):
            continue
        if entry.repeated(run, round_index):
            run.ledger.forget([(round_index, entry.outcome.stage)])
        _run_stage(run, entry, round_index)
        if verdict := entry.ends(run, round_index):
            return verdict
    return None


def _run_stage(run: CampaignRun, entry: StageEntry, round_index: int) -> None:
    """Run a stage unless it is finished; raises `CampaignError` when a file is missing."""
    where = run.programs(run.config.sampling.executor)
    is_elsewhere = entry.is_sampling and where.elsewhere

    def work() -> StageOutcome:
        missing = [
            str(path)
            for needed in entry.needs
            if not (path := needed.path(run.files, round_index)).exists()
        ]
        if missing:
            raise CampaignError(
                f"{', '.join(missing)}: missing, although an earlier stage wrote it; restore it "
                "from a backup, or start a new campaign folder (labels in a shared cache are "
                "found again)"
            )
        run.files.round(round_index).folder.mkdir(parents=True, exist_ok=True)
        if is_elsewhere:
            return run_elsewhere(run, entry.work, entry.outcome, round_index, where)
        return entry.work(run, round_index)

    _runner(run, _cores_elsewhere(run, entry)).run(
        round_index,
        entry.outcome,
        entry.description,
        work,
        total=None if entry.total is None else entry.total(run.config),
        unit=entry.unit,
    )
    if is_elsewhere and entry.outcome is Verified:
        run.models.read_again()


def _reopen_validation(run: CampaignRun) -> None:
    """Label the validation set again, and validate all models, when labels of it were released."""
    labellings = run.ledger.each(Labelled)
    if _released(run, {index: found for index, found in labellings.items() if index == 0}):
        validated = [(index, Stage.VALIDATE) for index in run.ledger.each(Validated)]
        finished = [(index, Stage.FINISH) for index in run.ledger.each(Finished)]
        run.ledger.forget([(0, Stage.LABEL), *validated, *finished])


def _reopen_last_round(run: CampaignRun) -> int | None:
    """Reopen the last round when training labels came or went and no later round follows.

    They come when they are released or imported, and go when an import is withdrawn.
    """
    labellings = {index: found for index, found in run.ledger.each(Labelled).items() if index > 0}
    if not labellings or not (_released(run, labellings) or imports_changed(run.files)):
        return None
    last = max(labellings)
    stages: Sequence[Stage] = (Stage.LABEL, Stage.TRAIN, Stage.VALIDATE)
    run.ledger.forget([(last, stage) for stage in stages])
    return last


def _released(run: CampaignRun, labellings: dict[int, Labelled]) -> bool:
    return bool(released_requests(run.campaign, labellings))
