"""The last layer of NequIP and Allegro as per-atom features.

NequIP: the invariant node features that enter the energy readout. Allegro has features per edge
only: an atom's are the sum over the edges that it is the centre of, as its energy is a sum over
them.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.edge_features import EdgeFeatures, scalar_columns
from entrove.models.nequip.model import NequIPModel, energy_modules
from entrove.models.torch_settings import default_dtype
from entrove.models.weight_sketch import hash_of_weights

NODE_READOUT = "per_atom_energy_readout"
EDGE_READOUT = "edge_readout"


class NequIPFeatures:
    """A feature map; it shares the network's weights with the model."""

    def __init__(self, model: NequIPModel, *, name: str) -> None:
        self._model = model
        self._name = name
        modules = dict(energy_modules(model.network.module).named_children())
        readouts = [readout for readout in (EDGE_READOUT, NODE_READOUT) if readout in modules]
        if not readouts:
            raise ModelError(
                f"{name}: the network has none of the readouts that NequIP and Allegro have "
                f"({EDGE_READOUT}, {NODE_READOUT}); use Gaussian-overlap fingerprints"
            )
        self._readout = readouts[0]
        self._trunk = list(modules.values())[: list(modules).index(self._readout)]
        key = require("nequip.data.AtomicDataDict", extra="nequip")
        per_edge = self._readout == EDGE_READOUT
        self._field = key.EDGE_FEATURES_KEY if per_edge else key.NODE_FEATURES_KEY
        irreps = self._trunk[-1].irreps_out[self._field]
        self._columns = scalar_columns(irreps).to(model.device)

    @property
    def length(self) -> int:
        """Number of features per atom."""
        return len(self._columns)

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> EdgeFeatures:
        """Compute the features of every atom of a batch, in the network's precision."""
        state = state.to(device=self._model.device, dtype=self._model.dtype)
        with default_dtype(torch.float64):
            data, neighbours = self._model.graph_with_vectors(state)
            neighbours.vectors.requires_grad_(pull_back)
            with torch.set_grad_enabled(pull_back):
                for module in self._trunk:
                    data = module(data)
                output = self._per_atom(data[self._field], neighbours.centre, state.n_atoms)
        return EdgeFeatures(state, neighbours, output)

    def describe(self) -> dict[str, object]:
        """Name, length, and a hash of the weights: a fine-tuned model has other features."""
        weights = (weight for module in self._trunk for weight in module.state_dict().values())
        return {
            "features": f"nequip before {self._readout}",
            "model": self._name,
            "length": self.length,
            "weights_sha256": hash_of_weights(weights),
        }

    def _per_atom(
        self, layer: Float[Tensor, "rows columns"], centre: Tensor, n_atoms: int
    ) -> Float[Tensor, "atoms features"]:
        scalars = layer[:, self._columns]
        if self._readout == NODE_READOUT:
            return scalars
        zeros = torch.zeros(n_atoms, scalars.shape[1], dtype=scalars.dtype, device=scalars.device)
        return zeros.index_add(0, centre, scalars)
