"""Low-rank updates of the weight matrices of a SevenNet model, whose own weights stay as they are.

A weight matrix W (rows, columns) becomes W + (alpha / rank) A B, with A (rows, rank) and B (rank,
columns). A begins with random numbers and B with zeros, so that training starts from the model as
it is. After training the product is added to W: the tuned model has no more weights than before.

Ref: Hu et al., LoRA, arXiv:2106.09685 (2021).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from entrove._optional import require


@dataclass(frozen=True)
class Block:
    """A matrix in a weight tensor: the rows times columns numbers from `offset` on.

    e3nn keeps all matrices of a linear layer, one for each irreducible representation, in one flat
    tensor. A matrix mixes channels of one representation, and none of its components: whatever the
    numbers in it, the energy is invariant.
    """

    weight: str
    offset: int
    rows: int
    columns: int


class LowRankUpdates(torch.nn.Module):
    """A module with low-rank updates of its matrices; only the factors of these are trained.

    Args:
        base: The module; its own weights are held fixed.
        rank: Columns of A and rows of B; fewer where the matrix has fewer rows or columns.
        alpha: The product counts alpha / rank.
        seed: Decides how A begins, with a normal distribution of variance one, as e3nn's weights.
    """

    def __init__(self, base: torch.nn.Module, *, rank: int, alpha: float, seed: int):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.blocks = list(matrices_of(base))
        generator = torch.Generator().manual_seed(seed)
        self.left, self.right = torch.nn.ParameterList(), torch.nn.ParameterList()
        for block in self.blocks:
            inner = min(rank, block.rows, block.columns)
            weight = base.get_parameter(block.weight)
            start = torch.randn((block.rows, inner), generator=generator)
            self.left.append(torch.nn.Parameter(start.to(weight)))
            self.right.append(torch.nn.Parameter(weight.new_zeros((inner, block.columns))))

    def forward(self, batch: Any) -> Any:
        """Evaluate the module with the updated weights."""
        return functional_call(
            self.base, self._merged(list(self.left), list(self.right)), (batch,)
        )

    def merged_state(self, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the state of the module with updates added to its weights.

        Args:
            factors: A and B by their names in this module, as `named_parameters` gives them.
        """
        count = range(len(self.blocks))
        left = [factors[f"left.{number}"] for number in count]
        right = [factors[f"right.{number}"] for number in count]
        return self.base.state_dict() | self._merged(left, right)

    def _merged(self, left: Sequence[Tensor], right: Sequence[Tensor]) -> dict[str, Tensor]:
        updates: dict[str, list[Float[Tensor, " entries"]]] = {}
        for block, a, b in zip(self.blocks, left, right, strict=True):
            updates.setdefault(block.weight, []).append((self.scale * (a @ b)).reshape(-1))
        merged: dict[str, Tensor] = {}
        for name, parts in updates.items():
            weight = self.base.get_parameter(name)
            merged[name] = weight + torch.cat(parts).reshape(weight.shape)
        return merged


def matrices_of(module: torch.nn.Module) -> Iterator[Block]:
    """Yield the weight matrices of a SevenNet model, those of one tensor together and in order.

    They are those of its linear layers, of tensor products with weights of their own (one matrix
    for each path, whose rows are pairs of channels), and of the networks that turn distances into
    weights of the convolutions.
    """
    o3 = require("e3nn.o3", extra="sevennet")
    fc = require("e3nn.nn._fc", extra="sevennet")
    for name, part in module.named_modules():
        of_e3nn: Any = part  # e3nn has no types
        if isinstance(part, fc._Layer):
            rows, columns = of_e3nn.weight.shape
            yield Block(f"{name}.weight", 0, rows, columns)
        elif isinstance(part, (o3.Linear, o3.TensorProduct)) and of_e3nn.internal_weights:
            offset = 0
            for instruction in of_e3nn.instructions:
                if not getattr(instruction, "has_weight", True):
                    continue
                shape = tuple(instruction.path_shape)
                rows = math.prod(shape[:-1])
                yield Block(f"{name}.weight", offset, rows, shape[-1])
                offset += rows * shape[-1]
