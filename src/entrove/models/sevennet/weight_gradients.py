"""Gradients of all weights of SevenNet, sketched: see `entrove.models.weight_sketch`."""

import copy
from collections import OrderedDict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.sevennet.model import SevenNetModel
from entrove.models.torch_settings import default_dtype
from entrove.models.weight_sketch import SKETCH_LENGTH, GradientFeatures, WeightSketch
from entrove.threads import claim_threads, map_over_threads

FORCE_OUTPUT = "force_output"
"""SevenNet's name for the module that turns energies into forces, the last one."""


class SevenNetWeightGradients:
    """A feature map for selection by labels; it has a copy of the network's weights.

    `length` is the number of places of the sketch, `seed` decides places and signs.
    """

    per_structure = True

    def __init__(
        self, model: SevenNetModel, *, name: str, length: int = SKETCH_LENGTH, seed: int = 0
    ) -> None:
        self._model = model
        self._name = name
        self.length = length
        self._energy = _until_forces(model.network)
        self._sketch = WeightSketch([*self._energy.parameters()], length, seed)

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> GradientFeatures:
        """Compute X_c / n for every atom; one backward pass per system, side by side on threads.

        `pull_back` changes nothing.
        """
        del pull_back
        model = self._model
        state = state.to(device=model.device, dtype=model.dtype)
        with claim_threads(model.device), default_dtype(model.network_dtype):
            neighbours = model.search(state)
            graph = model.graph(state, neighbours)
            pieces = model.cut(graph, state, neighbours, single=True)
            sketches = torch.stack(
                map_over_threads(
                    lambda piece: self._sketch.of(self.exact(piece)), pieces, model.device
                )
            )
        per_atom = sketches / state.n_atoms_per_system[:, None]
        return GradientFeatures(per_atom[state.system_idx].to(model.dtype))

    def describe(self) -> dict[str, object]:
        """Name, fidelity, size and seed of the sketch, and a hash of the weights."""
        return {
            "features": "sevennet weight gradients",
            "model": self._name,
            "fidelity": self._model.modal_index,
            **self._sketch.describe(),
        }

    def exact(self, graph: dict[str, Tensor]) -> Float[Tensor, " weights"]:
        """dE/dtheta of all systems of a graph together."""
        key = require("sevenn._keys", extra="sevennet")
        return self._sketch.gradient(self._energy(graph)[key.ATOMIC_ENERGY].sum())


def _until_forces(network: Any) -> Any:
    """Copy the network without its output of forces; its weights ask for gradients."""
    modules = OrderedDict(network.named_children())
    if FORCE_OUTPUT not in modules:
        raise ModelError(
            f"this SevenNet network has no module '{FORCE_OUTPUT}', so its energy cannot be "
            "found; use its last layer or Gaussian-overlap fingerprints"
        )
    del modules[FORCE_OUTPUT]
    sequential = require("sevenn.nn.sequential", extra="sevennet")
    energy = sequential.AtomGraphSequential(
        copy.deepcopy(modules), cutoff=network.cutoff, type_map=network.type_map
    )
    return energy.eval().requires_grad_(True)
