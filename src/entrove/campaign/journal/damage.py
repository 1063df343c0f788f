"""What to do about a file of a campaign that no longer holds what was written to it."""

from pathlib import Path

from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError


def damaged(path: Path, what: str) -> CampaignError:
    """Return the error of a damaged file, which the same command again cannot repair.

    Args:
        path: The file, in the folder of a campaign.
        what: What is wrong with it.
    """
    cache = Workspace(path.parent).label_cache
    with_cache = (
        f"'labelling: {{cache: {cache.absolute()}}}'"
        if cache.is_file()
        else "the label cache of this one"
    )
    return CampaignError(
        f"{path}: the file is damaged ({what}); restore it from a backup, or start a new folder "
        f"with {with_cache}: what is in it is not computed again"
    )
