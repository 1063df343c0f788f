"""What is exported: the folder of a bundle, and the campaign that it comes from, if any."""

from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.campaign.workspace import Workspace
from entrove.errors import ModelError
from entrove.structures import read_structures
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


def find_source(path: str | Path) -> Source:
    """Read a bundle, or the bundle of a campaign.

    Args:
        path: The folder of a bundle, or that of a campaign.

    Raises `ModelError` when there is no bundle, or when it is damaged.
    """
    path = Path(path)
    workspace = Workspace(path)
    if workspace.holds_campaign():
        if not workspace.bundle.is_dir():
            raise ModelError(
                f"{path}: this campaign has no model yet; it writes one at its end, when a tuned "
                "model was better than the foundation model ('entrove status' says more)"
            )
        return Source(workspace.bundle, read_bundle(workspace.bundle), workspace)
    bundle = read_bundle(path)
    parent = Workspace(path.resolve().parent)
    return Source(path, bundle, parent if parent.holds_campaign() else None)
