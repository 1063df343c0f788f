"""SevenNet's last layer as per-atom features.

They are the invariant (l = 0, even) node features that enter the energy readout: what the network
knows about an atom's surroundings, through all its message passing, before it is turned into one
number. They are as symmetric as the network: SevenNet-0 respects rotations, not inversion.
"""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.edge_features import EdgeFeatures, scalar_columns
from entrove.models.neighbours import Neighbours
from entrove.models.sevennet.model import SevenNetModel
from entrove.models.torch_settings import default_dtype
from entrove.models.weight_sketch import hash_of_weights
from entrove.threads import claim_threads, map_over_threads

READOUT = "reduce_input_to_hidden"
"""SevenNet's name for the first module of the energy readout."""


class SevenNetFeatures:
    """A feature map; it shares the network's weights and its neighbour search with the model."""

    def __init__(self, model: SevenNetModel, *, name: str) -> None:
        self._model = model
        self._name = name
        self._trunk = _trunk(model.network)
        o3 = require("e3nn.o3", extra="sevennet")
        irreps = o3.Irreps(model.network.get_irreps_in(READOUT))
        self._columns = scalar_columns(irreps).to(model.device)

    @property
    def length(self) -> int:
        """Number of features per atom."""
        return len(self._columns)

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> EdgeFeatures:
        """Compute the features of every atom of a batch, in the network's precision.

        Values alone are computed piece by piece, side by side on the threads of a CPU.
        """
        model = self._model
        state = state.to(device=model.device, dtype=model.dtype)
        found = model.search(state)
        vectors = found.vectors.detach().requires_grad_(pull_back)
        neighbours = Neighbours(found.centre, found.neighbour, found.shifts, vectors)
        with claim_threads(model.device), default_dtype(model.network_dtype):
            graph = model.graph(state, neighbours)
            pieces = [graph] if pull_back else model.cut(graph, state, neighbours)
            run = self._run if pull_back else torch.no_grad()(self._run)
            output = torch.cat(map_over_threads(run, pieces, model.device))
        return EdgeFeatures(state, neighbours, output)

    def _run(self, graph: dict[str, Tensor]) -> Tensor:
        key = require("sevenn._keys", extra="sevennet")
        return self._trunk(graph)[key.NODE_FEATURE][:, self._columns]

    def describe(self) -> dict[str, object]:
        """Name, fidelity, length and hash of the weights: a tuned model has other features."""
        return {
            "features": "sevennet last layer",
            "model": self._name,
            "fidelity": self._model.modal_index,
            "length": self.length,
            "weights_sha256": hash_of_weights(self._trunk.state_dict().values()),
        }


def _trunk(network: Any) -> Any:
    """Cut the network before its readout; the modules are shared, not copied."""
    modules = OrderedDict(network.named_children())
    if READOUT not in modules:
        raise ModelError(
            f"this SevenNet network has no module '{READOUT}', so its last layer cannot be found; "
            "use Gaussian-overlap fingerprints"
        )
    names = list(modules)
    before = OrderedDict((name, modules[name]) for name in names[: names.index(READOUT)])
    sequential = require("sevenn.nn.sequential", extra="sevennet")
    trunk = sequential.AtomGraphSequential(
        before, cutoff=network.cutoff, type_map=network.type_map
    )
    return trunk.eval()
