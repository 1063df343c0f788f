"""What is exported: the folder of a bundle, and the campaign that it comes from, if any."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.campaign.configuration.locate import FILE_NAME, find_campaign_folder
from entrove.campaign.configuration.seeds import repeats_of_one_atom
from entrove.campaign.workspace import Workspace
from entrove.errors import ModelError
from entrove.structures import copy_structure, read_structures
from entrove.training.bundle import EXAMPLES, VALIDATION, Bundle, checkpoint_of, read_bundle


@dataclass(frozen=True)
class Source:
    """A bundle, and the campaign in whose folder it lies.

    Attributes:
        folder: The folder of the bundle.
        bundle: Its record.
        campaign: The files of its campaign; None for a bundle that was moved away from it.
    """

    folder: Path
    bundle: Bundle
    campaign: Workspace | None

    @property
    def name(self) -> str:
        """A name for files and titles."""
        return self.bundle.name or "-".join(self.bundle.species)

    @property
    def checkpoint(self) -> Path:
        """The file with the weights of the potential."""
        return self.folder / self.bundle.weights[0].file

    @property
    def model_name(self) -> str:
        """The potential as `entrove.models.load` takes it."""
        return checkpoint_of(self.folder)

    def validation(self) -> list[Atoms]:
        """The validation labels: of the bundle, or of its campaign; empty when neither has any."""
        labels = read_structures(self.folder / VALIDATION, may_be_empty=True)
        if not labels and self.campaign is not None:
            labels = read_structures(self.campaign.validation, may_be_empty=True)
        return labels

    def examples(self) -> list[Atoms]:
        """A structure of each phase, or the validation labels; may be empty."""
        examples = read_structures(self.folder / EXAMPLES, may_be_empty=True)
        if not examples and self.campaign is not None:
            examples = read_structures(self.campaign.round(0).relaxed, may_be_empty=True)
        return examples or self.validation()


def example_for_md(examples: Iterable[Atoms]) -> Atoms | None:
    """Copy the first structure whose atoms can move against each other; None without any.

    A cell of one atom is repeated, because MD without motion of the whole has no degree of freedom
    in it.
    """
    for atoms in examples:
        if len(atoms) > 1:
            return copy_structure(atoms)
        if atoms.pbc.all():
            return copy_structure(atoms).repeat(repeats_of_one_atom(atoms))
    return None


def find_source(path: str | Path) -> Source:
    """Read a bundle, or the bundle of a campaign.

    Args:
        path: The folder of a bundle, or a path that `find_campaign` takes.

    Raises `ModelError` when there is no bundle, or when it is damaged, and `CampaignError` when
    the campaign was not started.
    """
    path = Path(path)
    found = find_campaign(path)
    if found is not None:
        _require_model(path, found)
        return Source(found.bundle, read_bundle(found.bundle), found)
    parent = Workspace(path.resolve().parent)
    campaign = parent if parent.holds_campaign() else None
    if campaign is not None and path.resolve() == campaign.bundle:
        _require_model(path, campaign)
    return Source(path, read_bundle(path), campaign)


def find_campaign(path: Path) -> Workspace | None:
    """Return the files of the campaign that a path stands for; None for other paths.

    Args:
        path: The folder of the campaign, its configuration file, or the folder with that.

    Raises `CampaignError` when the configuration is there, and the campaign was not started.
    """
    if Workspace(path).holds_campaign():
        return Workspace(path)
    if (path / FILE_NAME).is_file() or (path.is_file() and path.suffix in (".yaml", ".yml")):
        return Workspace(find_campaign_folder(path))
    return None


def _require_model(path: Path, campaign: Workspace) -> None:
    if not campaign.bundle.is_dir():
        raise ModelError(
            f"{path}: this campaign has no model yet; it writes one at its end, when a tuned "
            "model was better than the foundation model ('entrove status' says more)"
        )
