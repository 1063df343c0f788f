"""The labels of a campaign, from its own cache or a shared one."""

from dataclasses import dataclass
from pathlib import Path

from entrove.campaign.configuration.settled import read_settled
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.labelling.store.cache import LabelCache
from entrove.structures import content_hash, read_structures


@dataclass(frozen=True)
class CampaignLabels:
    """The labels of a campaign.

    Attributes:
        folder: The folder of the campaign.
        cache: Its cache of labels, which other campaigns may share.
        work_folder: The folder of its engine's files.
        structure_hashes: Content hashes of the structures that it has sent to the engine.
    """

    folder: Path
    cache: LabelCache
    work_folder: Path
    structure_hashes: frozenset[str]


def open_labels(folder: Path) -> CampaignLabels:
    """Open the label cache of a campaign; the caller closes it.

    Raises `CampaignError` when the folder holds no campaign.
    """
    workspace = Workspace(Path(folder).resolve())
    if not workspace.holds_campaign():
        raise CampaignError(
            f"{folder}: holds no campaign; give the folder that 'entrove run' wrote"
        )
    config = read_settled(workspace.config)
    asked = [workspace.round(0).hold_out]
    asked += [files.selected for files in workspace.existing_rounds()]
    hashes = {
        content_hash(atoms) for path in asked for atoms in read_structures(path, may_be_empty=True)
    }
    return CampaignLabels(
        workspace.folder,
        LabelCache(config.labelling.cache or workspace.label_cache),
        workspace.label_work,
        frozenset(hashes),
    )
