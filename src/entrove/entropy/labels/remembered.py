"""Derivatives of features that several selections from one pool share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ase import Atoms
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove.entropy.labels.derivatives import derivatives
from entrove.entropy.labels.directions import Directions
from entrove.features import FeatureMap, Features
from entrove.fingerprints.batching import to_state
from entrove.structures import content_hash

Slopes = Float[Tensor, "directions width"]


@dataclass(frozen=True, eq=False)
class RememberedDerivatives:
    """A feature map whose derivatives along the directions of a structure are computed once.

    They cost one evaluation per direction, and do not depend on what is labelled: picks in several
    rounds from one pool need them again. Each structure keeps directions x width numbers (8 bytes
    each), 63 kB for 31 directions of 256 features.

    Attributes:
        features: The feature map.
    """

    features: FeatureMap
    _known: dict[object, Slopes] = field(default_factory=dict[object, Slopes])

    @property
    def length(self) -> int:
        """Number of features per atom."""
        return self.features.length

    @property
    def per_structure(self) -> bool:
        """Whether the values belong to whole structures."""
        return bool(getattr(self.features, "per_structure", False))

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> Features:
        """Evaluate the features, each time."""
        return self.features.evaluate(state, pull_back=pull_back)

    def describe(self) -> dict[str, object]:
        """Identity of the feature map."""
        return self.features.describe()

    def derivatives(
        self,
        structures: Sequence[Atoms],
        directions: Sequence[Directions],
        species: Sequence[int],
        *,
        sums: Float[Tensor, "systems width"],
        step_A: float,
    ) -> list[Slopes]:
        """Return what `derivatives` returns, and compute only what is not known yet.

        Directions follow from the structure, its noise levels and their number, so that one pool
        has to be asked with the same settings.
        """
        keys = [
            (content_hash(atoms), of_one.displacements.shape, _length(of_one), step_A, *species)
            for atoms, of_one in zip(structures, directions, strict=True)
        ]
        new = [index for index, key in enumerate(keys) if key not in self._known]
        if new:
            found = derivatives(
                self.features,
                to_state([structures[index] for index in new]),
                [directions[index] for index in new],
                species,
                sums=sums[new],
                step_A=step_A,
            )
            self._known.update({keys[index]: row for index, row in zip(new, found, strict=True)})
        return [self._known[key] for key in keys]


def _length(directions: Directions) -> tuple[Any, ...]:
    """Tells directions of other noise levels apart."""
    return (
        float(directions.displacements.square().sum()),
        float(directions.strains.square().sum()),
    )
