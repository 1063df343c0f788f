"""The loop: prepare, then explore, select, label, train and validate until a campaign stops.

Which stages these are is in stage_table.py. Here is how they are run, and which round is the last.
"""

import logging
import time
from dataclasses import replace
from functools import partial

import torch

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.settled import (
    as_started,
    find_changes,
    require_allowed,
    settle_config,
)
from entrove.campaign.journal.imports import imports_wait, withdrawn_labels_learnt
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
    Stage,
    StageOutcome,
    Trained,
    Validated,
    Verified,
)
from entrove.campaign.journal.progress import ProgressListener, Recorded
from entrove.campaign.journal.runner import StageRunner
from entrove.campaign.stage_job import run_elsewhere
from entrove.campaign.stage_table import PREPARATION, ROUND, StageEntry
from entrove.campaign.stages.check import check, checks_are_stale, wants_checks
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import forget_other_explorer
from entrove.campaign.stages.finish import finish
from entrove.campaign.stages.imported import (
    corrected_held_out,
    drop_corrected_held_out,
    take_corrections,
)
from entrove.campaign.stages.label import released_requests
from entrove.campaign.stages.label_volumes import label_volumes
from entrove.campaign.stages.lost_labels import restore_lost_labels
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stages.moments import require_same_moments
from entrove.campaign.stages.unfinished import unfinished_stages
from entrove.campaign.stages.validate import (
    complete_validations,
    refuse_models_of_withdrawn,
)
from entrove.campaign.workspace import Workspace, explain_lost
from entrove.errors import CampaignError, ModelError
from entrove.execution.running import Executors
from entrove.execution.settings import ThisMachine
from entrove.labelling.store.cache import LabelCache
from entrove.threads import usable_threads
from entrove.training.bundle import read_bundle

logger = logging.getLogger(__name__)


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
        campaign = _settle(campaign, ledger)
        torch.set_num_threads(usable_threads(campaign.config.model.threads))
        with Executors() as executors:
            _run_to_end(campaign, ledger, Recorded(listener, workspace.progress), executors)


def _settle(campaign: CheckedCampaign, ledger: Ledger) -> CheckedCampaign:
    """Write the resolved configuration, and forget what was decided with other settings.

    Returns the campaign with the configuration that it goes on with. Raises `CampaignError` when
    it was started with another one.
    """
    workspace = campaign.workspace
    campaign = replace(campaign, config=as_started(workspace.config, campaign.config))
    unfinished = unfinished_stages(workspace, ledger)
    # Nothing is forgotten for a configuration that is refused.
    require_allowed(workspace.config, campaign.config, unfinished)
    require_same_moments(campaign)
    _judge_again_if_asked(campaign, ledger)
    settle_config(workspace.config, campaign.config, unfinished)
    return campaign


def _judge_again_if_asked(campaign: CheckedCampaign, ledger: Ledger) -> None:
    """Compare all models again when the settings that decide about them have changed."""
    changes = find_changes(campaign.workspace.config, campaign.config)
    if any(change.key[0] == "validation" for change in changes):
        judged = [(index, Stage.VALIDATE) for index in ledger.each(Validated) if index]
        checked = [(index, Stage.CHECK) for index in ledger.each(Checked)]
        finished = [(index, Stage.FINISH) for index in ledger.each(Finished)]
        ledger.forget([*judged, *checked, *finished])


def explore_only(
    campaign: CheckedCampaign,
    listener: ProgressListener,
    *,
    walkers: bool = True,
    hold_out: bool = True,
) -> CampaignRun:
    """Run a campaign up to the pools of its first round: no label is computed, nothing picked.

    Args:
        campaign: What `check_campaign` returns. Its folder is created when it does not exist.
        listener: Receives the progress.
        walkers: False: end at the anchors.
        hold_out: False: make no validation and test set; what the pools hold is not compared with
            them then.

    An interrupted exploration continues, and a finished one returns at once. `run_campaign` takes
    the campaign from there.

    Returns the campaign with its models, ready to read its pools and to choose from them.

    Raises what `run_campaign` raises.
    """
    workspace = campaign.workspace
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with hold_campaign(workspace.folder), log_to(workspace.log):
        ledger = Ledger(workspace.ledger)
        campaign = _settle(campaign, ledger)
        torch.set_num_threads(usable_threads(campaign.config.model.threads))
        run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), listener)
        prepared = (Verified, Relaxed, Anchored, *((HeldOut,) if walkers and hold_out else ()))
        with run.executors:
            for entry in PREPARATION:
                if entry.outcome in prepared:
                    _run_stage(run, entry, 0)
            explored = (Explored, Ordered) if walkers else ()
            for entry in ROUND:
                if entry.outcome in explored and not entry.skipped(run, 1):
                    _run_stage(run, entry, 1)
        return run


def _run_to_end(
    campaign: CheckedCampaign, ledger: Ledger, listener: ProgressListener, executors: Executors
) -> None:
    run = CampaignRun(campaign, ledger, CampaignModels(campaign, ledger), listener, executors)
    _take_corrections(run)
    restore_lost_labels(run)
    _reopen_validation(run)
    _refuse_models(run)
    _reopen_unfinished_round(run)
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
    # The user may have changed `stopping` so that the campaign ends here for another reason, or
    # removed the bundle.
    if found is not None and (found.reason != verdict or _lacks_bundle(found, run.files)):
        ledger.forget([(last, Stage.FINISH)])
    _runner(run).run(last, Finished, "writing the model bundle", partial(finish, run, verdict))


def _lacks_bundle(finished: Finished, files: Workspace) -> bool:
    """Whether the bundle of the model that was kept is missing or damaged."""
    if not finished.model_round:
        return False
    try:
        read_bundle(files.bundle)
    except ModelError as error:
        logger.warning("the model bundle is written again: %s", error)
        return True
    return False


def _runner(run: CampaignRun, cores: int | None = None) -> StageRunner:
    return StageRunner(run.ledger, run.listener, cores or usable_threads(run.config.model.threads))


def _cores_elsewhere(
    run: CampaignRun, outcome: type[StageOutcome], *, is_sampling: bool
) -> int | None:
    """Cores of the workers of a stage; None where it runs here."""
    config = run.config
    if is_sampling:
        executor = config.sampling.executor
        return None if isinstance(executor, ThisMachine) else executor.cores_per_worker
    executor = config.training.executor
    if outcome is not Trained or isinstance(executor, ThisMachine):
        return None
    trainings = max(config.training.trials, config.training.committee_size)
    return executor.cores_per_worker * min(executor.capacity, trainings)


def _check_model(run: CampaignRun, last: int) -> None:
    """Judge the model that is kept, unless that was done with the same settings.

    The checks relax crystals and run MD, and so run where sampling does. What they need from the
    engine is labelled before, where labels run.
    """
    if checks_are_stale(run, last):
        run.ledger.forget([(last, Stage.CHECK)])
    if not wants_checks(run):
        return
    where = run.programs(run.config.sampling.executor)

    def work() -> Checked:
        began = time.monotonic()
        volumes = label_volumes(run, last)
        labelling_seconds = time.monotonic() - began
        if where.elsewhere:
            found = run_elsewhere(run, check, Checked, last, where)
        else:
            found = check(run, last)
        return found.model_copy(
            update={"volumes": volumes, "labelling_seconds": labelling_seconds}
        )

    cores = _cores_elsewhere(run, Checked, is_sampling=True)
    _runner(run, cores).run(last, Checked, "checks of the model that is kept", work, unit="checks")


def _run_rounds(run: CampaignRun, first: int) -> tuple[int, str]:
    """Run rounds until one is the last; return its number and why it is the last."""
    round_index, verdict = first, _run_round(run, first)
    while verdict is None:
        round_index += 1
        verdict = _run_round(run, round_index)
    return round_index, verdict


def _run_round(run: CampaignRun, round_index: int) -> str | None:
    """Run one round; return the reason why the campaign ends with it, or None."""
    forget_other_explorer(run, round_index)
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
            str(needed.path(run.files, round_index))
            for needed in entry.needs
            if needed.is_lost(run, round_index)
        ]
        if missing:
            raise CampaignError(explain_lost(", ".join(missing)))
        run.files.round(round_index).folder.mkdir(parents=True, exist_ok=True)
        if is_elsewhere:
            return run_elsewhere(run, entry.work, entry.outcome, round_index, where)
        return entry.work(run, round_index)

    cores = _cores_elsewhere(run, entry.outcome, is_sampling=entry.is_sampling)
    _runner(run, cores).run(
        round_index,
        entry.outcome,
        entry.description,
        work,
        total=None if entry.total is None else entry.total(run.config),
        unit=entry.unit,
    )
    if is_elsewhere and entry.outcome is Verified:
        run.models.read_again()


def _take_corrections(run: CampaignRun) -> None:
    """Take the labels of corrected imports in place of the wrong ones, held-out ones too."""
    if not run.campaign.label_cache.is_file():
        return
    with LabelCache(run.campaign.label_cache) as cache:
        # Forgotten before they are dropped: until then these labels tell of themselves.
        held_out = corrected_held_out(run.files, cache)
        if held_out:
            _forget_validation(run.ledger)
            drop_corrected_held_out(run.files, cache)
        trained_on = take_corrections(run.files, cache)
    if held_out or trained_on:
        logger.warning(
            "labels of corrected imports take the place of earlier ones: %s for training, %s in "
            "the validation and test set, with which all models are validated again",
            trained_on,
            held_out,
        )


def _reopen_validation(run: CampaignRun) -> None:
    """Label the validation set again, and validate all models, when labels of it were released."""
    labellings = run.ledger.each(Labelled)
    if _released(run, {index: found for index, found in labellings.items() if index == 0}):
        _forget_validation(run.ledger)


def _forget_validation(ledger: Ledger) -> None:
    """Forget the labels of the validation and test set, and all that was judged with them."""
    validated = [(index, Stage.VALIDATE) for index in ledger.each(Validated)]
    finished = [(index, Stage.FINISH) for index in ledger.each(Finished)]
    checked = [(index, Stage.CHECK) for index in ledger.each(Checked)]
    ledger.forget([(0, Stage.LABEL), *validated, *checked, *finished])


def _refuse_models(run: CampaignRun) -> None:
    """Accept no model that has learnt labels which went, and forget what was found with it."""
    if refuse_models_of_withdrawn(run):
        checked = [(index, Stage.CHECK) for index in run.ledger.each(Checked)]
        finished = [(index, Stage.FINISH) for index in run.ledger.each(Finished)]
        run.ledger.forget([*checked, *finished])


def _reopen_unfinished_round(run: CampaignRun) -> None:
    """Label a round that has no validated model yet again when labels went or were released.

    They went with an import that was withdrawn or corrected. Its training would miss them.
    """
    labellings = _labelled_rounds(run)
    last = max(labellings, default=0)
    if not labellings or run.ledger.find(last, Validated) is not None:
        return
    if withdrawn_labels_learnt(run.files, run.ledger, last) or _released(run, labellings):
        _reopen(run, last)


def _reopen_last_round(run: CampaignRun) -> int | None:
    """Reopen the last round when training labels came or went and no later round follows.

    They come when they are released or imported, and go when an import is withdrawn; picks whose
    labels go with it are computed, and models of earlier rounds that have learnt them are accepted
    no more. What was found with the model of before goes, too, in whichever round: its checks, and
    the picks of a round that ended the campaign before any label, with what they predict.
    """
    labellings = _labelled_rounds(run)
    if not labellings:
        return None
    last = max(labellings)
    if not (imports_wait(run.files, run.ledger, [last]) or _released(run, labellings)):
        return None
    _reopen(run, last)
    return last


def _reopen(run: CampaignRun, last: int) -> None:
    """Forget the labels of the last round, its model, and what was found with it."""
    stages = [(last, stage) for stage in (Stage.LABEL, Stage.TRAIN, Stage.VALIDATE)]
    checked = [(index, Stage.CHECK) for index in run.ledger.each(Checked)]
    run.ledger.forget([*stages, *checked, (last + 1, Stage.SELECT)])


def _labelled_rounds(run: CampaignRun) -> dict[int, Labelled]:
    return {index: found for index, found in run.ledger.each(Labelled).items() if index > 0}


def _released(run: CampaignRun, labellings: dict[int, Labelled]) -> bool:
    return bool(released_requests(run.campaign, labellings))
