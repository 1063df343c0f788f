"""Run a campaign from its configuration file."""

from pathlib import Path

from entrove.campaign.configuration.check import check_campaign
from entrove.campaign.journal.progress import ProgressListener, Silence
from entrove.campaign.loop import run_campaign
from entrove.campaign.results.read import read_results
from entrove.campaign.results.results import CampaignResults


def run(
    config: str | Path, folder: str | Path | None = None, listener: ProgressListener | None = None
) -> CampaignResults:
    """Check a configuration, run its campaign or continue it, and return what it found.

    Args:
        config: Configuration file, as `entrove init` writes it.
        folder: Folder of the campaign, instead of the one that the configuration names.
        listener: Receives the progress; None ignores it.

    Returns the results without what only the figures of the report need; `write_report` of
    `entrove.report` writes a page from those of `read_results(folder, figures=True)`.

    Raises `ConfigError`, which names file, line, key and remedy, when the configuration cannot be
    used, and `CampaignError` as `run_campaign` does.
    """
    campaign = check_campaign(Path(config), None if folder is None else Path(folder))
    run_campaign(campaign, listener or Silence())
    return read_results(campaign.workspace.folder)
