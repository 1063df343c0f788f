"""A loaded model: it evaluates batches, has an ASE calculator, and knows its elements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from torch_sim.models.interface import ModelInterface

from entrove.errors import ModelError
from entrove.features import FeatureMap
from entrove.structures import species_of


@dataclass(frozen=True)
class LoadedModel:
    """A model for batches, its own ASE calculator, and what it knows.

    `model` takes a torch-sim `SimState` and returns energy (systems,) in eV, forces (atoms, 3) in
    eV/A and stress (systems, 3, 3) in eV/A^3 with ASE's sign (positive = tensile). `species` holds
    the chemical symbols that it was trained for, None when the model cannot say. `cutoff_A` is the
    radius of its neighbour list, None when it has none of its own. `batched` is False when `model`
    evaluates the systems of a batch one by one. `members` are the models of a committee. The
    methods below call the functions `make_...`, which are None where the model gives no access.
    """

    name: str
    model: ModelInterface
    species: frozenset[str] | None
    cutoff_A: float | None
    batched: bool
    make_calculator: Callable[[], BaseCalculator]
    make_features: Callable[[], FeatureMap] | None = None
    make_weight_gradients: Callable[[], FeatureMap] | None = None
    members: tuple["LoadedModel", ...] = ()

    def calculator(self) -> BaseCalculator:
        """Build the model's own ASE calculator, which shares no batching code with `model`."""
        return self.make_calculator()

    def features(self) -> FeatureMap:
        """Build the map from atoms to the model's own last-layer features.

        Raises `ModelError` when the model gives no access to them.
        """
        if self.make_features is None:
            raise ModelError(
                f"{self.name}: this model gives no access to its per-atom features; "
                "use Gaussian-overlap fingerprints, or a SevenNet or eager NequIP/Allegro model"
            )
        return self.make_features()

    def weight_gradients(self) -> FeatureMap:
        """Build the map from configurations to a sketch of their gradients by all weights.

        Its values belong to whole configurations: a selection by labels takes it, a bias does not.

        Raises `ModelError` when the model gives no access to its weights.
        """
        if self.make_weight_gradients is None:
            raise ModelError(
                f"{self.name}: the gradients of this model's weights are not available; use its "
                "last layer or Gaussian-overlap fingerprints, or a SevenNet or eager "
                "NequIP/Allegro model"
            )
        return self.make_weight_gradients()

    def feature_map(
        self,
        wanted: Literal["auto", "model", "gradients", "fingerprint"],
        fingerprints: Callable[[], FeatureMap],
        *,
        of_atoms: bool = False,
    ) -> FeatureMap:
        """Return the features of rows of labels, by the name that a configuration gives them.

        Args:
            wanted: "gradients" for a sketch of the gradients by all weights, "model" for the last
                layer, "fingerprint" for `fingerprints()`; "auto" for the first of these that this
                model has.
            fingerprints: Makes features that need no model.
            of_atoms: "auto" takes no gradients, which are features of a whole structure.

        Raises `ModelError` when the model gives no access to what is wanted.
        """
        if wanted == "auto" and self.make_weight_gradients is not None and not of_atoms:
            wanted = "gradients"
        elif wanted == "auto":
            wanted = "fingerprint" if self.make_features is None else "model"
        match wanted:
            case "model":
                return self.features()
            case "gradients":
                return self.weight_gradients()
            case "fingerprint":
                return fingerprints()

    def check_species(self, structures: Sequence[Atoms]) -> None:
        """Raise `ModelError` when a structure holds an element that the model does not know."""
        if self.species is None:
            return
        unknown = [symbol for symbol in species_of(structures) if symbol not in self.species]
        if unknown:
            raise ModelError(
                f"{self.name} does not know {', '.join(unknown)}; "
                f"it knows {', '.join(sorted(self.species))}; "
                "choose a model that covers these elements"
            )
