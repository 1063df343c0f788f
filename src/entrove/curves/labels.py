"""The labels of a study: each structure once, whichever arms and tests want it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.stages.first_labels import FirstLabels, label_first
from entrove.campaign.stages.moments import with_seed_moments
from entrove.labelling.label_structures import CACHE_FILE
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Label
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate
from entrove.structures import content_hash

OnLabel = Callable[[int, int], None]
"""Called with the labels done and the labels in all."""


@dataclass
class StudyLabels:
    """Labels by content hash, computed on demand and kept in a cache.

    Attributes:
        campaign: Its engine and executor compute them, from the magnetic moments of its seeds.
        folder: Where the cache and the engine's files are.
    """

    campaign: CheckedCampaign
    folder: Path
    _known: dict[str, Label] = field(default_factory=dict[str, Label], init=False)

    def check_first(self, candidates: Sequence[Candidate]) -> FirstLabels:
        """Check the engine on a few of these, as a campaign does before it labels others.

        Raises `CampaignError` for labels that are not to be trusted, where the configuration of
        the campaign says so.
        """
        with self._labeller() as labeller:
            atoms = with_seed_moments(self.campaign, candidates)
            return label_first(labeller, candidates, atoms, self.folder / "denser-kpoints")

    def compute(self, candidates: Sequence[Candidate], on_label: OnLabel | None = None) -> None:
        """Label all of these that are not labelled yet; what fails stays without a label."""
        by_key = {content_hash(candidate.atoms): candidate for candidate in candidates}
        new = {key: found for key, found in by_key.items() if key not in self._known}
        if not new:
            return
        keys, wanted = list(new), with_seed_moments(self.campaign, list(new.values()))
        with self._labeller() as labeller:
            for done, (index, label) in enumerate(labeller.label(wanted), start=1):
                self._known[keys[index]] = label
                if on_label is not None:
                    on_label(done, len(wanted))

    @contextmanager
    def _labeller(self) -> Iterator[Labeller]:
        config = self.campaign.config.labelling
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            LabelCache(config.cache or self.folder / CACHE_FILE) as cache,
            Labeller(config, cache, self.folder / "engine") as labeller,
        ):
            yield labeller

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
