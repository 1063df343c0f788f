"""A model's own per-atom features, with their gradient through the edge vectors of its graph."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import ModelError
from entrove.features import PullBack
from entrove.models.neighbours import Neighbours


@dataclass(frozen=True)
class EdgeFeatures:
    """Features that depend on the edge vectors; their graph lives as long as this object.

    `output` is a function of `neighbours.vectors` (float64, A); neither requires a gradient when
    the values alone were asked for.
    """

    state: SimState
    neighbours: Neighbours
    output: Float[Tensor, "atoms features"]

    @property
    def values(self) -> Float[Tensor, "atoms features"]:
        """Per-atom features in the order of the state's atoms, detached, float64."""
        return self.output.detach().to(self.neighbours.vectors.dtype)

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """Turn dL/dvalues into dL/dr and dL/d(strain), by one backward pass; see `Neighbours`.

        It may be called repeatedly. Raises `ModelError` when only the values were asked for.
        """
        if not self.output.requires_grad:
            raise ModelError(
                "these features were evaluated with pull_back=False; evaluate them again with it"
            )
        (edges,) = torch.autograd.grad(
            self.output, self.neighbours.vectors, gradient.to(self.output.dtype), retain_graph=True
        )
        return self.neighbours.pull_back(edges, self.state)


def scalar_columns(irreps: Any) -> Int[Tensor, " columns"]:
    """Columns of features that rotations and inversion leave as they are.

    Args:
        irreps: What the columns are, as `e3nn.o3.Irreps`.
    """
    columns = [
        torch.arange(part.start, part.stop)
        for part, (_count, irrep) in zip(irreps.slices(), irreps, strict=True)
        if irrep.l == 0 and irrep.p == 1
    ]
    return torch.cat(columns)
