"""One dataset, as each of several entropies sees it."""

from collections.abc import Iterable, Sequence

from ase import Atoms

from entrove.entropy.config import EntropyConfig
from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.functional import Bias
from entrove.entropy.local import LocalEntropy
from entrove.features import FeatureMap

View = tuple[str, str]
"""An entropy and a covariance mode."""


class DatasetViews:
    """The structures of a dataset, seen by every entropy that walkers or the selection use.

    All views have the same members, but for the structures that the paper's entropy starts from;
    each keeps statistics of its own.

    Args:
        features: Turns atoms into features, the same for all views.
        config: The entropy that selects, and the parameters of all of them.
        others: Entropies and modes that walkers are biased by; "none" needs no view.
    """

    def __init__(
        self, features: FeatureMap, config: EntropyConfig, others: Iterable[View] = ()
    ) -> None:
        self.features = features
        # Rows of labels are for candidates only: snapshots are admitted by information.
        kind = "information" if config.kind == "labels" else config.kind
        self._selecting: View = (kind, config.mode)
        wanted = sorted({self._selecting, *others})
        self._views: dict[View, EntropyDataset] = {
            (kind, mode): EntropyDataset.from_config(
                config.model_copy(update={"kind": kind, "mode": mode}), features
            )
            for kind, mode in wanted
            if kind in ("information", "paper")
        }
        local = LocalEntropy(
            distance_floor=config.distance_floor, neighbour_power=config.neighbour_power
        )
        self._fixed: dict[View, Bias] = {
            (kind, mode): Bias(features, local) for kind, mode in wanted if kind == "local"
        }

    @property
    def selecting(self) -> EntropyDataset:
        """The view that decides which candidates are worth a label."""
        return self._views[self._selecting]

    def calibrate(self, structures: Sequence[Atoms]) -> None:
        """Whiten every view on structures of an unbiased run."""
        for view in self._views.values():
            view.calibrate(structures)

    def start_from(self, structures: Sequence[Atoms]) -> None:
        """Add structures to the views of the paper's entropy only.

        Its covariance is a mean: without anything near the crystals, the first distorted cells
        set a bar that no thermal or ordered cell passes. Information needs no start.

        They have no labels: a selection may pick them, at the gain of one more copy.
        """
        for (kind, _), view in self._views.items():
            if kind == "paper" and structures:
                view.start_from(structures)

    def add(self, structures: Sequence[Atoms]) -> None:
        """Add structures to every view."""
        if structures:
            for view in self._views.values():
                view.add(structures)

    def biases(self) -> dict[View, Bias]:
        """What biases walkers now, for every entropy and mode."""
        return {view: dataset.bias() for view, dataset in self._views.items()} | self._fixed
