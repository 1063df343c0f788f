"""Which weights of a NequIP or Allegro network the strategy `frozen` trains.

Their parts are named alike ever since there are packages: `layer0_convnet`, ... and
`per_atom_energy_readout` in NequIP; `allegro.tps.0`, `allegro.latents.0`, ... and `edge_readout`
in Allegro. Names are all there is to go by: a package brings classes of its own.
"""

import re
from collections.abc import Iterable

import torch

from entrove.errors import ModelError

LAYER = re.compile(r"\.(?:layer(\d+)_convnet|allegro\.(?:tps|latents)\.(\d+))\.")
READOUT = re.compile(r"\.(?:per_atom_energy_readout|edge_readout)\.")


def names_of_last_interaction(names: Iterable[str]) -> set[str]:
    """Find the weights of the last interaction and of the energy readout.

    Args:
        names: Names of all weights, as `named_parameters` lists them.

    Energies and scales per species are not among them: the first are refitted before training.

    Raises `ModelError` when the network has no such parts.
    """
    known = list(names)
    layers = {name: _number_of_layer(name) for name in known}
    readout = {name for name in known if READOUT.search(name)}
    numbers = [number for number in layers.values() if number is not None]
    if not numbers or not readout:
        raise ModelError(
            "strategy=frozen needs a network of interactions and an energy readout, as those of "
            "NequIP and Allegro, and this model has none by these names; take strategy: naive, "
            "also in cross_validation.recipes"
        )
    last = max(numbers)
    return readout | {name for name, number in layers.items() if number == last}


def train_last_interaction(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Hold all weights fixed but those of the last interaction and of the energy readout.

    NequIP calls this with its model (`optimizer.param_groups`). Returns the weights to be trained.
    """
    trained = names_of_last_interaction(name for name, _ in model.named_parameters())
    for name, weight in model.named_parameters():
        if name not in trained:
            weight.requires_grad_(False)
    return [weight for name, weight in model.named_parameters() if name in trained]


def _number_of_layer(name: str) -> int | None:
    found = LAYER.search(name)
    return None if found is None else int(found[1] or found[2])
