"""The labels of a study: each structure once, whichever arms and tests want it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from entrove.labelling.config import LabellingConfig
from entrove.labelling.label_structures import CACHE_FILE
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Label
from entrove.labelling.store.cache import LabelCache
from entrove.structures import content_hash

OnLabel = Callable[[int, int], None]
"""Called with the labels done and the labels in all."""


@dataclass
class StudyLabels:
    """Labels by content hash, computed on demand and kept in a cache.

    Attributes:
        config: Engine and executor; the engine is bound to the elements of the seeds.
        folder: Where the cache and the engine's files are.
    """

    config: LabellingConfig
    folder: Path
    _known: dict[str, Label] = field(default_factory=dict[str, Label], init=False)

    def compute(self, structures: Sequence[Atoms], on_label: OnLabel | None = None) -> None:
        """Label all of these that are not labelled yet; what fails stays without a label."""
        new = {content_hash(atoms): atoms for atoms in structures}
        new = {key: atoms for key, atoms in new.items() if key not in self._known}
        if not new:
            return
        cache_path = self.config.cache or self.folder / CACHE_FILE
        self.folder.mkdir(parents=True, exist_ok=True)
        keys, wanted = list(new), list(new.values())
        with (
            LabelCache(cache_path) as cache,
            Labeller(self.config, cache, self.folder / "engine") as labeller,
        ):
            for done, (index, label) in enumerate(labeller.label(wanted), start=1):
                self._known[keys[index]] = label
                if on_label is not None:
                    on_label(done, len(wanted))

    def attach(self, structures: Sequence[Atoms]) -> list[Atoms]:
        """Return copies with their labels, without those that have no converged label."""
        labels = [(atoms, self._known.get(content_hash(atoms))) for atoms in structures]
        return [label.attach(atoms) for atoms, label in labels if label and label.converged]

    def failed(self, structures: Sequence[Atoms]) -> int:
        """How many of these were labelled without success."""
        labels = [self._known.get(content_hash(atoms)) for atoms in structures]
        return sum(label is not None and not label.converged for label in labels)

    def seconds(self, structures: Sequence[Atoms]) -> float:
        """Engine seconds that the labels of these took, failed ones included."""
        labels = [self._known.get(content_hash(atoms)) for atoms in structures]
        return sum(label.engine_seconds for label in labels if label is not None)
