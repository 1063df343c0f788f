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
from entrove.labelling.store.moments import key_of
from entrove.sampling.candidates import Candidate

OnLabel = Callable[[int, int], None]
"""Called with the labels done and the labels in all."""


@dataclass
class StudyLabels:
    """Labels by structure and initial magnetic moments, computed on demand and kept in a cache.

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

    def recall(self, candidates: Sequence[Candidate]) -> None:
        """Read the labels of these that the cache has; nothing is computed."""
        with self._labeller() as labeller:
            for key, atoms in self._unknown(candidates).items():
                if labeller.cache.is_labelled(atoms, labeller.level):
                    label = labeller.cache.get(atoms, labeller.level)
                    self._known |= {} if label is None else {key: label}

    def compute(self, candidates: Sequence[Candidate], on_label: OnLabel | None = None) -> None:
        """Label all of these that are not labelled yet; what fails stays without a label."""
        new = self._unknown(candidates)
        if not new:
            return
        keys, wanted = list(new), list(new.values())
        with self._labeller() as labeller:
            for done, (index, label) in enumerate(labeller.label(wanted), start=1):
                self._known[keys[index]] = label
                if on_label is not None:
                    on_label(done, len(wanted))

    def _unknown(self, candidates: Sequence[Candidate]) -> dict[str, Atoms]:
        structures = with_seed_moments(self.campaign, candidates)
        by_key = {key_of(atoms): atoms for atoms in structures}
        return {key: atoms for key, atoms in by_key.items() if key not in self._known}

    @contextmanager
    def _labeller(self) -> Iterator[Labeller]:
        config = self.campaign.config.labelling
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            LabelCache(config.cache or self.folder / CACHE_FILE) as cache,
            Labeller(config, cache, self.folder / "engine") as labeller,
        ):
            yield labeller

    def attach(self, candidates: Sequence[Candidate]) -> list[Atoms]:
        """Return structures with their labels, without those that have no converged label."""
        pairs = zip(candidates, self._labels_of(candidates), strict=True)
        return [label.attach(c.to_atoms()) for c, label in pairs if label and label.converged]

    def has_all(self, candidates: Sequence[Candidate]) -> bool:
        """Whether all of these are labelled, with success or without."""
        return None not in self._labels_of(candidates)

    def failed(self, candidates: Sequence[Candidate]) -> int:
        """How many of these were labelled without success."""
        labels = self._labels_of(candidates)
        return sum(label is not None and not label.converged for label in labels)

    def seconds(self, candidates: Sequence[Candidate]) -> float:
        """Engine seconds that the labels of these took, failed ones included."""
        labels = self._labels_of(candidates)
        return sum(label.engine_seconds for label in labels if label is not None)

    def _labels_of(self, candidates: Sequence[Candidate]) -> list[Label | None]:
        structures = with_seed_moments(self.campaign, candidates)
        return [self._known.get(key_of(atoms)) for atoms in structures]
