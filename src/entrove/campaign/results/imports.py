"""The files whose labels were imported into a campaign, which need not have been started."""

from dataclasses import dataclass
from pathlib import Path

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import read_config_file
from entrove.campaign.configuration.locate import FILE_NAME
from entrove.campaign.configuration.settled import read_settled
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.labelling.store.cache import LabelCache


@dataclass(frozen=True)
class CampaignImports:
    """The files of a campaign, started or not, and its cache of labels."""

    workspace: Workspace
    cache: LabelCache


def open_imports(path: Path, *, read_only: bool = False) -> CampaignImports:
    """Open the label cache of a campaign to look at its imports; the caller closes it.

    Args:
        path: Folder of a campaign, its configuration, or the folder with a `campaign.yaml`.
        read_only: Nothing is changed, in a folder that may be read-only.

    Raises `CampaignError` when there is no cache.
    """
    path = Path(path)
    workspace = Workspace(path.resolve())
    if path.is_dir() and not workspace.label_cache.is_file() and (path / FILE_NAME).is_file():
        path = path / FILE_NAME
    shared = None
    if path.is_file():
        config = read_config_file(path, CampaignConfig)
        workspace = Workspace((path.parent / config.folder).resolve())
        shared = config.labelling.resolved_against(path.parent.absolute()).cache
    elif workspace.config.is_file():
        shared = read_settled(workspace.config).labelling.cache
    cache = shared or workspace.label_cache
    if not cache.is_file():
        raise CampaignError(
            f"{path}: there is no label cache {cache}; give the folder of a campaign, or its "
            "configuration"
        )
    return CampaignImports(workspace, LabelCache(cache, read_only=read_only))
