"""A sketch of the gradients of all weights: features of a network that is tuned as a whole.

To first order, tuning changes the energy of a configuration by dtheta . dE/dtheta. So X_c =
dE_c/dtheta are the features in which a tuned network is linear (its tangent kernel), and their
derivatives by positions give its forces. The 842,000 entries of SevenNet-0 are added up with
random signs in `length` places (a count sketch): scalar products are right on average, with a
relative error of about sqrt(2 / length).

X_c belongs to a configuration, not to its atoms: each of its n atoms gets X_c / n.

Refs: Jacot, Gabriel & Hongler, NeurIPS 31 (2018); Weinberger et al., ICML 26 (2009), for the
sketch; Holzmüller et al., JMLR 24, 164 (2023), for selection by sketched gradients.
"""

import copy
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import ModelError
from entrove.features import PullBack
from entrove.models.sevennet.model import SevenNetModel
from entrove.models.torch_settings import default_dtype
from entrove.threads import claim_threads, map_over_threads

FORCE_OUTPUT = "force_output"
"""SevenNet's name for the module that turns energies into forces, the last one."""


@dataclass(frozen=True)
class GradientFeatures:
    """Values alone: second derivatives by weights and positions are left to differences."""

    values: Float[Tensor, "atoms features"]

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """Refuse: raises `ModelError`."""
        del gradient
        raise ModelError(
            "gradients of weights have no pull-back here, so they cannot bias walkers; use "
            "fingerprints or the model's last layer for that"
        )


class SevenNetWeightGradients:
    """A feature map for selection by labels; it has a copy of the network's weights.

    `length` is the number of places of the sketch, `seed` decides places and signs.
    """

    per_structure = True

    def __init__(
        self, model: SevenNetModel, *, name: str, length: int = 512, seed: int = 0
    ) -> None:
        self._model = model
        self._name = name
        self._seed = seed
        self.length = length
        self._energy = _until_forces(model.network)
        self._weights = [*self._energy.parameters()]
        count = sum(weight.numel() for weight in self._weights)
        generator = torch.Generator().manual_seed(seed)
        self._place = torch.randint(length, (count,), generator=generator).to(model.device)
        signs = torch.randint(2, (count,), generator=generator) * 2 - 1
        self._signs = signs.to(model.device, model.network_dtype)

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
            sketches = torch.stack(map_over_threads(self._sketch, pieces, model.device))
        per_atom = sketches / state.n_atoms_per_system[:, None]
        return GradientFeatures(per_atom[state.system_idx].to(model.dtype))

    def describe(self) -> dict[str, object]:
        """Name, fidelity, size and seed of the sketch, and a hash of the weights."""
        digest = hashlib.sha256()
        for weight in self._weights:
            digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
        return {
            "features": "sevennet weight gradients",
            "model": self._name,
            "fidelity": self._model.modal_index,
            "length": self.length,
            "seed": self._seed,
            "weights_sha256": digest.hexdigest(),
        }

    def _sketch(self, graph: dict[str, Tensor]) -> Float[Tensor, " features"]:
        gradient = self.exact(graph)
        sketch = torch.zeros(self.length, dtype=gradient.dtype, device=gradient.device)
        return sketch.index_add_(0, self._place, gradient * self._signs)

    def exact(self, graph: dict[str, Tensor]) -> Float[Tensor, " weights"]:
        """dE/dtheta of all systems of a graph together."""
        key = require("sevenn._keys", extra="sevennet")
        energy = self._energy(graph)[key.ATOMIC_ENERGY].sum()
        slopes = torch.autograd.grad(energy, self._weights, allow_unused=True)
        return torch.cat(
            [
                (torch.zeros_like(weight) if slope is None else slope).reshape(-1)
                for weight, slope in zip(self._weights, slopes, strict=True)
            ]
        )


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
