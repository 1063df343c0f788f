"""Where the files of a campaign are, and how the labels in them are read. Nothing here writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove import provenance
from entrove.structures import read_structures


@dataclass(frozen=True)
class RoundFiles:
    """The files of one round; round 0 is the preparation. Naming a file does not create it."""

    folder: Path

    @property
    def relaxed(self) -> Path:
        """Each phase relaxed at each pressure; later rounds have it only when they relax again."""
        return self.folder / "relaxed.xyz"

    @property
    def anchors(self) -> Path:
        """Pool of anchors, in round 0."""
        return self.folder / "anchors.xyz"

    @property
    def hold_out(self) -> Path:
        """Structures of the validation set before they are labelled, in round 0."""
        return self.folder / "hold_out.xyz"

    @property
    def walkers(self) -> Path:
        """State of the walkers after their last chunk."""
        return self.folder / "walkers.pt"

    @property
    def walker_snapshots(self) -> Path:
        """Snapshots so far, with a mark on those that joined the dataset."""
        return self.folder / "walker_snapshots.xyz"

    @property
    def trajectories(self) -> Path:
        """Folder of the trajectories, where the configuration asks for them."""
        return self.folder / "trajectories"

    @property
    def candidates(self) -> Path:
        """All snapshots of the walkers."""
        return self.folder / "candidates.xyz"

    @property
    def ordered(self) -> Path:
        """Pool of ordered cells."""
        return self.folder / "ordered.xyz"

    @property
    def selected(self) -> Path:
        """What the selection picked, best first."""
        return self.folder / "selected.xyz"

    @property
    def training(self) -> Path:
        """Folder of the training."""
        return self.folder / "training"

    @property
    def validation_predictions(self) -> Path:
        """What the model of this round predicts for the validation set."""
        return self.folder / "validation_predictions.xyz"


@dataclass(frozen=True)
class Workspace:
    """The folder of a campaign and the places in it."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration as resolved: every key with its value."""
        return self.folder / "config.yaml"

    @property
    def ledger(self) -> Path:
        """Which stages are finished."""
        return self.folder / "ledger.sqlite"

    @property
    def dataset(self) -> Path:
        """Training labels so far, with provenance."""
        return self.folder / "dataset.xyz"

    @property
    def validation(self) -> Path:
        """Labels that are never trained on."""
        return self.folder / "validation.xyz"

    @property
    def bundle(self) -> Path:
        """The best model that was accepted."""
        return self.folder / "model"

    @property
    def label_cache(self) -> Path:
        """Every label that was computed, unless the configuration names a shared cache."""
        return self.folder / "labels.sqlite"

    @property
    def label_work(self) -> Path:
        """Working folders of the engine."""
        return self.folder / "labels"

    @property
    def log(self) -> Path:
        """What happened, line by line."""
        return self.folder / "logs" / "campaign.log"

    @property
    def report(self) -> Path:
        """The report, one page."""
        return self.folder / "report.html"

    def round(self, round_index: int) -> RoundFiles:
        """The files of a round; round 0 is the preparation."""
        return RoundFiles(self.folder / f"round-{round_index:02d}")

    def existing_rounds(self) -> Iterator[RoundFiles]:
        """The rounds that have a folder, the preparation first."""
        folders = self.folder.glob("round-*")
        for folder in sorted(folders, key=lambda path: int(path.name.rpartition("-")[2])):
            yield RoundFiles(folder)

    def holds_campaign(self) -> bool:
        """Whether a campaign was started in this folder."""
        return self.ledger.is_file() and self.config.is_file()

    def training_labels(self, before: int | None = None) -> list[Atoms]:
        """Good training labels of all rounds, or of the rounds before one; an empty list without any.

        A round that was interrupted may have written its labels already: it asks for those before.
        """
        labels = read_structures(self.dataset, may_be_empty=True)
        if before is None:
            return labels
        return [atoms for atoms in labels if atoms.info[provenance.ROUND] < before]

    def validation_labels(self) -> list[Atoms]:
        """Labels of the validation set; raises `StructureError` before they are there."""
        return read_structures(self.validation)
