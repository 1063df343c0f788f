"""A model's own per-atom features, with their gradient through the edge vectors of its graph."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import ModelError
from entrove.features import PullBack
from entrove.models.neighbours import Neighbours


@dataclass(frozen=True)
class EdgeFeatures:
    """Features whose graph hangs on the edge vectors; the graph lives as long as this object.

    `output` and `vectors` (float64, A) are empty of gradients when values alone were asked for.
    """

    state: SimState
    neighbours: Neighbours
    vectors: Float[Tensor, "pairs 3"]
    output: Float[Tensor, "atoms features"]

    @property
    def values(self) -> Float[Tensor, "atoms features"]:
        """Per-atom features in the order of the state's atoms, detached, float64."""
        return self.output.detach().to(self.vectors.dtype)

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """Turn dL/dvalues into dL/dr and dL/d(strain), by one backward pass; may be called repeatedly.

        Edge vectors v = r_j + S h - r_i carry everything: dL/dr_k is the sum of dL/dv over edges that end
        in k less that over edges that start there, dL/d(strain) the symmetric part of sum v (dL/dv)^T.
        Raises `ModelError` when only the values were asked for.
        """
        if not self.output.requires_grad:
            raise ModelError(
                "these features were evaluated with pull_back=False; evaluate them again with it"
            )
        (edges,) = torch.autograd.grad(
            self.output, self.vectors, gradient.to(self.output.dtype), retain_graph=True
        )
        positions = torch.zeros_like(self.state.positions, dtype=edges.dtype)
        positions = positions.index_add(0, self.neighbours.neighbour, edges)
        positions = positions.index_add(0, self.neighbours.centre, -edges)
        outer = self.vectors.detach()[:, :, None] * edges[:, None, :]
        strain = torch.zeros(self.state.n_systems, 3, 3, dtype=edges.dtype, device=edges.device)
        strain = strain.index_add(0, self.state.system_idx[self.neighbours.centre], outer)
        return PullBack(positions, (strain + strain.mT) / 2)
