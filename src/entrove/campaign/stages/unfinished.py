"""Which stages of a campaign were interrupted after they had written something."""

from pathlib import Path

from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Explored, Stage, Trained
from entrove.campaign.workspace import Workspace
from entrove.training.committee import is_finished


def unfinished_stages(workspace: Workspace, ledger: Ledger | None = None) -> dict[str, Path]:
    """Return the names of these stages, and what each has written.

    Args:
        workspace: The folder of the campaign, which may be new.
        ledger: Its finished stages; by default read from the folder.
    """
    if ledger is None:
        if not workspace.holds_campaign():
            return {}
        ledger = Ledger(workspace.ledger, read_only=True)
    found: dict[str, Path] = {}
    for files in workspace.existing_rounds():
        if files.walkers.exists() and ledger.find(files.number, Explored) is None:
            found[Stage.EXPLORE.value] = files.walkers
        training = files.last_training
        if training and not is_finished(training) and ledger.find(files.number, Trained) is None:
            found[Stage.TRAIN.value] = training
    return found
