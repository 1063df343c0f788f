"""A running average of the weights, which generalises better than the last weights of a short run.

Ref: Polyak and Juditsky, SIAM J. Control Optim. 30, 838 (1992).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def trainable_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """Weights that training may change, by name."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def copy_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of the weights that training may change."""
    return {name: weight.detach().clone() for name, weight in trainable_weights(module).items()}


def update_average(
    average: dict[str, Tensor], module: torch.nn.Module, step: int, decay: float
) -> None:
    """In place: average <- d average + (1 - d) weights, d = min(decay, (1 + step)/(10 + step))."""
    share = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    with torch.no_grad():
        for name, weight in trainable_weights(module).items():
            average[name].lerp_(weight.detach(), share)


@contextmanager
def weights_swapped_in(module: torch.nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Run the block with other weights, then restore the module's own."""
    own = copy_weights(module)
    module.load_state_dict(weights, strict=False)
    try:
        yield
    finally:
        module.load_state_dict(own, strict=False)
