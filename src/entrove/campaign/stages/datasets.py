"""The one dataset of a campaign, as each of its entropies sees it."""

from collections.abc import Sequence
from typing import Literal

from ase import Atoms

from entrove.campaign.configuration.config import CampaignConfig
from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.functional import Bias
from entrove.entropy.local import LocalEntropy
from entrove.features import FeatureMap

View = tuple[str, str]
"""An entropy and a covariance mode."""


class SharedDataset:
    """The structures of the dataset, seen by every entropy that walkers or the selection use.

    All views have the same members at all times; each keeps statistics of its own.
    """

    def __init__(self, config: CampaignConfig, features: FeatureMap):
        self.features = features
        self._selecting: View = (config.entropy.kind, config.entropy.mode)
        wanted = {self._selecting} | {(bias.entropy, bias.mode) for bias in config.sampling.biases}
        self._views = {
            view: EntropyDataset.from_config(_with_view(config, view), features)
            for view in sorted(wanted)
            if view[0] in ("information", "paper")
        }
        local = LocalEntropy(
            distance_floor=config.entropy.distance_floor,
            neighbour_power=config.entropy.neighbour_power,
        )
        self._fixed = {
            view: Bias(features, local) for view in sorted(wanted) if view[0] == "local"
        }

    @property
    def selecting(self) -> EntropyDataset:
        """The view that decides which candidates are worth a label."""
        return self._views[self._selecting]

    def calibrate(self, structures: Sequence[Atoms]) -> None:
        """Whiten every view on structures of an unbiased run."""
        for view in self._views.values():
            view.calibrate(structures)

    def add(self, structures: Sequence[Atoms]) -> None:
        """Add structures to every view."""
        if structures:
            for view in self._views.values():
                view.add(structures)

    def biases(self) -> dict[View, Bias]:
        """What biases the walkers now, for every entropy and mode of the grid."""
        return {view: dataset.bias() for view, dataset in self._views.items()} | self._fixed


def _with_view(config: CampaignConfig, view: View):
    kind: Literal["information", "paper"] = "paper" if view[0] == "paper" else "information"
    return config.entropy.model_copy(update={"kind": kind, "mode": view[1]})
