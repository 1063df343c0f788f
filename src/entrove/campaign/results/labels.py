"""The labels of a campaign folder, whoever computed them."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import read_candidates
from entrove.structures import content_hash


@dataclass(frozen=True)
class CampaignLabels:
    """The cache of a campaign, the folder of its engine files, and the structures that it asked for."""

    folder: Path
    cache: LabelCache
    work_folder: Path
    structure_hashes: frozenset[str]


def open_labels(folder: Path) -> CampaignLabels:
    """Open the label cache of a campaign; the caller closes it.

    Raises `CampaignError` when the folder holds no campaign.
    """
    workspace = Workspace(Path(folder).resolve())
    if not workspace.config.is_file() or not workspace.ledger.is_file():
        raise CampaignError(
            f"{folder}: holds no campaign; give the folder that 'entrove run' filled"
        )
    config = CampaignConfig.model_validate(
        yaml.safe_load(workspace.config.read_text(encoding="utf-8"))
    )
    validation = _hashes(workspace.folder / "round-00" / "hold_out.xyz")
    picked = {
        structure_hash
        for path in workspace.folder.glob("round-*/selected.xyz")
        for structure_hash in _hashes(path)
    }
    return CampaignLabels(
        workspace.folder,
        LabelCache(config.labelling.cache or workspace.label_cache),
        workspace.label_work,
        frozenset(validation | picked),
    )


def _hashes(path: Path) -> set[str]:
    return {content_hash(one.atoms) for one in read_candidates(path)} if path.exists() else set()
