"""Gradients of all weights of NequIP and Allegro, sketched: see `entrove.models.weight_sketch`."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove._optional import require
from entrove.models.nequip.model import NequIPModel, energy_modules
from entrove.models.torch_settings import default_dtype
from entrove.models.weight_sketch import SKETCH_LENGTH, GradientFeatures, WeightSketch


class NequIPWeightGradients:
    """A feature map for selection by labels; it has a copy of the network's weights.

    `length` is the number of places of the sketch, `seed` decides places and signs.
    """

    per_structure = True

    def __init__(
        self, model: NequIPModel, *, name: str, length: int = SKETCH_LENGTH, seed: int = 0
    ) -> None:
        self._model = model
        self._name = name
        self.length = length
        self._energy = copy.deepcopy(energy_modules(model.network.module))
        self._energy = self._energy.eval().requires_grad_(True)
        self._sketch = WeightSketch([*self._energy.parameters()], length, seed)

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> GradientFeatures:
        """Compute X_c / n for every atom; one backward pass per system.

        `pull_back` changes nothing.
        """
        del pull_back
        state = state.to(device=self._model.device, dtype=self._model.dtype)
        sketches = torch.stack(
            [self._sketch.of(self.exact(state[[system]])) for system in range(state.n_systems)]
        )
        per_atom = sketches.to(self._model.dtype) / state.n_atoms_per_system[:, None]
        return GradientFeatures(per_atom[state.system_idx])

    def describe(self) -> dict[str, object]:
        """Name, size and seed of the sketch, and a hash of the weights."""
        return {
            "features": "nequip weight gradients",
            "model": self._name,
            **self._sketch.describe(),
        }

    def exact(self, state: SimState) -> Float[Tensor, " weights"]:
        """dE/dtheta of all systems of a state together."""
        return self._sketch.gradient(self.energy(state))

    def energy(self, state: SimState) -> Float[Tensor, ""]:
        """Energy of all systems of a state together, differentiable in the weights."""
        key = require("nequip.data.AtomicDataDict", extra="nequip")
        with default_dtype(torch.float64):
            data, _ = self._model.graph_with_vectors(state)
            return self._energy(data)[key.TOTAL_ENERGY_KEY].sum()
