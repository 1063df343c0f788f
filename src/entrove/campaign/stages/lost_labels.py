"""Labels that the ledger has and the files of the campaign have lost, written again.

`dataset.xyz`, `validation.xyz` and `test.xyz` are files that users open, copy and sometimes
damage. Every label in them is in the label cache, too: a round that labels again finds all of its
labels there, and computes none.
"""

import logging
import time

from entrove.campaign.journal.outcomes import Labelled, LabelRow, Stage
from entrove.campaign.journal.records import lost_labels
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.label import label_hold_out, label_picked
from entrove.errors import CampaignError
from entrove.labelling.labels import Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.structures import is_readable

logger = logging.getLogger(__name__)

DAMAGED = ".damaged"
"""What is added to the name of a file that cannot be read."""


def restore_lost_labels(run: CampaignRun) -> None:
    """Write lost labels again, from the label cache. A file that cannot be read is renamed first.

    Raises `CampaignError` for a label that this campaign has computed and the cache has lost, too.
    """
    labellings = run.ledger.each(Labelled)
    lost = lost_labels(run.files, labellings)
    if not lost:
        return
    # A shared cache may have other labels of the same structures, by other engines.
    level = LevelOfTheory.of(run.config.labelling.engine)
    with LabelCache(run.campaign.label_cache) as cache:
        known = {state.key: state.outcome for state in cache.states(level)}
    gone = [row for row in lost if row.key not in known and not row.from_cache]
    if gone:
        raise CampaignError(
            f"{_names(run, gone)}: {len(gone)} labels that this campaign has computed are "
            f"missing, and {run.campaign.label_cache} has not got them either; restore these "
            "files from a backup, or start a new campaign folder"
        )
    # Those of an import that was withdrawn are in the cache no more, and nothing is wrong.
    lost = [row for row in lost if known.get(row.key) is Outcome.CONVERGED]
    if not lost:
        return
    for path in (run.files.dataset, run.files.validation, run.files.test):
        if path.exists() and not is_readable(path):
            path.replace(path.with_name(path.name + DAMAGED))
    summary = (
        f"{len(lost)} labels were missing in {_names(run, lost)}, and are written again from "
        f"{run.campaign.label_cache.name}"
    )
    began, shown_as = time.monotonic(), min(row.round for row in lost)
    run.listener.stage_started(shown_as, Stage.LABEL, "labels that files have lost", None, "")
    if any(row.round == 0 for row in lost):
        label_hold_out(run, 0)
    # A round writes its labels and those of the rounds before it.
    of_rounds = [row.round for row in lost if row.round]
    for index in sorted(labellings):
        if of_rounds and index >= min(of_rounds):
            label_picked(run, index)
    logger.warning("%s", summary)
    run.listener.stage_finished(shown_as, Stage.LABEL, time.monotonic() - began, summary)


def _names(run: CampaignRun, rows: list[LabelRow]) -> str:
    """The files that should hold labels."""
    of_purpose = {"validation": run.files.validation, "test": run.files.test}
    paths = {of_purpose.get(row.purpose, run.files.dataset) for row in rows}
    return " and ".join(sorted(str(path) for path in paths))
