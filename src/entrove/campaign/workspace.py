"""The files of a campaign: where they are, and how the labels in them are read.

Nothing here writes.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove import provenance
from entrove.errors import CampaignError
from entrove.labelling.store.moments import LabelledStates
from entrove.structures import read_structures


@dataclass(frozen=True)
class RoundFiles:
    """The paths of the files of one round; round 0 is the preparation. Nothing is created."""

    folder: Path

    @property
    def number(self) -> int:
        """The number of the round."""
        return int(self.folder.name.rpartition("-")[2])

    @property
    def relaxed(self) -> Path:
        """Each phase relaxed at each pressure; later rounds have it only when they relax again."""
        return self.folder / "relaxed.xyz"

    @property
    def anchors(self) -> Path:
        """The pool of anchors, in round 0."""
        return self.folder / "anchors.xyz"

    @property
    def hold_out(self) -> Path:
        """Structures of validation and test set before they are labelled, in round 0."""
        return self.folder / "hold_out.xyz"

    @property
    def walkers(self) -> Path:
        """State of the walkers after their last chunk."""
        return self.folder / "walkers.pt"

    @property
    def walker_snapshots(self) -> Path:
        """Snapshots so far; `provenance.ADMITTED` marks those that were added to the dataset."""
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
        """The pool of ordered cells."""
        return self.folder / "ordered.xyz"

    @property
    def selected(self) -> Path:
        """The structures that the selection picked, best first."""
        return self.folder / "selected.xyz"

    @property
    def training(self) -> Path:
        """Folder of the first training."""
        return self.folder / "training"

    def trainings(self) -> Iterator[Path]:
        """Folders for the trainings of the round, without end: it trains again on other labels."""
        yield self.training
        for number in itertools.count(2):
            yield self.training.with_name(f"{self.training.name}-{number}")

    @property
    def last_training(self) -> Path | None:
        """Folder of the last training that was begun."""
        begun = list(itertools.takewhile(Path.exists, self.trainings()))
        return begun[-1] if begun else None

    @property
    def validation_predictions(self) -> Path:
        """Predictions of the model of this round for the validation set."""
        return self.folder / "validation_predictions.xyz"

    @property
    def test_predictions(self) -> Path:
        """Predictions of the model of this round for the test set, once that was used."""
        return self.folder / "test_predictions.xyz"


@dataclass(frozen=True)
class Workspace:
    """The paths of the files of a campaign.

    Attributes:
        folder: The folder of the campaign; it need not exist, and nothing is created in it.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved configuration: every key with its value."""
        return self.folder / "config.yaml"

    @property
    def ledger(self) -> Path:
        """The SQLite file that records which stages are finished, and what they found."""
        return self.folder / "ledger.sqlite"

    @property
    def dataset(self) -> Path:
        """Training labels so far, with their provenance."""
        return self.folder / "dataset.xyz"

    @property
    def imported(self) -> Path:
        """Labels from elsewhere that are trained on (`entrove import --train`)."""
        return self.folder / "imported.xyz"

    @property
    def validation(self) -> Path:
        """Labels that are never used in training, and decide which model is kept."""
        return self.folder / "validation.xyz"

    @property
    def test(self) -> Path:
        """Labels that take no part in any decision and are used once, at the end."""
        return self.folder / "test.xyz"

    @property
    def bundle(self) -> Path:
        """The bundle of the best model that was accepted."""
        return self.folder / "model"

    @property
    def label_cache(self) -> Path:
        """Cache of all labels that were computed, unless the configuration names a shared one."""
        return self.folder / "labels.sqlite"

    @property
    def label_work(self) -> Path:
        """Working folders of the engine."""
        return self.folder / "labels"

    @property
    def denser_label_work(self) -> Path:
        """Working folders of the engine with denser k-points, which no label is taken from."""
        return self.folder / "labels-denser-kpoints"

    @property
    def workers(self) -> Path:
        """Files of the workers of stages that run elsewhere."""
        return self.folder / "logs" / "workers"

    @property
    def checks(self) -> Path:
        """Results of the validation suite, one file for each check."""
        return self.folder / "checks"

    @property
    def volumes(self) -> Path:
        """Labels of each phase at several volumes, for the check of the equation of state."""
        return self.checks / "volumes.xyz"

    @property
    def progress(self) -> Path:
        """How far the stage is that is running, or was interrupted."""
        return self.folder / "progress.json"

    @property
    def log(self) -> Path:
        """The log file."""
        return self.folder / "logs" / "campaign.log"

    @property
    def report(self) -> Path:
        """The report, a single HTML file."""
        return self.folder / "report.html"

    def round(self, round_index: int) -> RoundFiles:
        """The files of a round; round 0 is the preparation."""
        return RoundFiles(self.folder / f"round-{round_index:02d}")

    def existing_rounds(self) -> Iterator[RoundFiles]:
        """Yield the rounds that have a folder, the preparation first.

        Folders of other names, such as a copy `round-01-backup`, are none.
        """
        rounds = [
            RoundFiles(folder)
            for folder in self.folder.glob("round-*")
            if _ROUND.fullmatch(folder.name)
        ]
        # By number: by name, round-100 would come before round-99.
        yield from sorted(rounds, key=lambda files: files.number)

    def holds_campaign(self) -> bool:
        """Whether a campaign was started in this folder."""
        return self.ledger.is_file() and self.config.is_file()

    def training_labels(self, before: int | None = None) -> list[Atoms]:
        """Read the good training labels, imported ones first; the list may be empty.

        Args:
            before: Only labels of rounds before this one. A round that is repeated after an
                interruption needs this, because it may have written labels of its own already.

        Energies, forces and stresses are in eV, eV/A and eV/A^3.
        """
        computed = self.computed_labels(before)
        imported = read_structures(self.imported, may_be_empty=True)
        if imported:
            known = LabelledStates(computed)
            imported = [atoms for atoms in imported if not known.have(atoms)]
        return imported + computed

    def computed_labels(self, before: int | None = None) -> list[Atoms]:
        """Read the good training labels that the campaign itself asked for, as above.

        A budget of labels counts these. That of an imported one was spent elsewhere.

        Raises `CampaignError` for a label whose round is asked for and not known.
        """
        structures = read_structures(self.dataset, may_be_empty=True)
        return [
            atoms
            for frame, atoms in enumerate(structures)
            if not is_imported(atoms) and (before is None or self._round_of(atoms, frame) < before)
        ]

    def _round_of(self, atoms: Atoms, frame: int) -> int:
        try:
            return int(atoms.info[provenance.ROUND])
        except (KeyError, TypeError, ValueError):
            raise CampaignError(
                f"{self.dataset}: structure {frame} has no round ({provenance.ROUND}), which each "
                "label that the campaign asked for has; take it out of the file, and give labels "
                "of your own to 'entrove import --train'. If an editor or another program has "
                "changed the file, remove it: the next 'entrove run' takes its labels from the "
                "label cache again"
            ) from None

    def validation_labels(self) -> list[Atoms]:
        """Read the labels of the validation set; raises `CampaignError` where there are none."""
        if not holds_something(self.validation):
            raise CampaignError(
                f"{self.validation}: missing or empty; 'entrove run' takes its labels from the "
                "label cache again"
            )
        return read_structures(self.validation)

    def test_labels(self) -> list[Atoms]:
        """Read the labels of the test set; none in campaigns without one."""
        return read_structures(self.test, may_be_empty=True)

    def held_out_labels(self) -> list[Atoms]:
        """Read all labels that are never trained on."""
        return read_structures(self.validation, may_be_empty=True) + self.test_labels()


_ROUND = re.compile(r"round-(\d\d|[1-9]\d{2,})", re.ASCII)


def holds_something(path: Path) -> bool:
    """Whether a file is there, and not empty."""
    return path.is_file() and path.stat().st_size > 0


def explain_lost(names: str) -> str:
    """Say what can be done about files that a stage wrote and that are there no more."""
    return (
        f"{names}: missing or empty, although an earlier stage wrote it; restore it from a "
        "backup, or start a new campaign folder (labels in a shared cache are found again)"
    )


def came_with_import(atoms: Atoms) -> bool:
    """Whether a label was imported, for training or only into the cache."""
    return provenance.IMPORT in atoms.info or is_imported(atoms)


def is_imported(atoms: Atoms) -> bool:
    """Whether a training label was imported, and not asked for by the campaign."""
    return atoms.info.get(provenance.POOL) == provenance.IMPORTED
