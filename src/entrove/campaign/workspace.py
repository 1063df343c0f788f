"""Where the files of a campaign are."""

from dataclasses import dataclass
from pathlib import Path


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
        """Every label that was paid for, unless the configuration names a shared cache."""
        return self.folder / "labels.sqlite"

    @property
    def label_work(self) -> Path:
        """Working folders of the engine."""
        return self.folder / "labels"

    @property
    def log(self) -> Path:
        """What happened, line by line."""
        return self.folder / "logs" / "campaign.log"

    def in_round(self, round: int, name: str) -> Path:
        """A file of one round; round 0 is the preparation."""
        folder = self.folder / f"round-{round:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name
