"""A NequIP or Allegro network, eager or compiled, that evaluates batches.

Ref: Musaelian et al., Nat. Commun. 14, 579 (2023) (Allegro);
Batzner et al., Nat. Commun. 13, 2453 (2022) (NequIP).
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import ModelError
from entrove.models.batches import expected_pairs, finish_results, pairs_that_fit
from entrove.models.neighbours import Neighbours
from entrove.models.torch_settings import default_dtype

NEIGHBOUR_BACKEND = "entrove"
"""Name under which NequIP knows our neighbour search."""


@dataclass(frozen=True)
class Network:
    """A network of the NequIP framework, eager or compiled, and what it says about itself."""

    module: Any
    metadata: dict[str, Any]
    type_names: tuple[str, ...]
    cutoff_A: float
    compiled: bool

    def transforms(self, neighbour_backend: str) -> list[Any]:
        """Build what turns a batch into the network's input: atom types and neighbours."""
        integration = require("nequip.integrations.utils", extra="nequip")
        return integration.basic_transforms(
            self.metadata,
            self.cutoff_A,
            list(self.type_names),
            {name: name for name in self.type_names},
            neighborlist_backend=neighbour_backend,
        )

    def energies_per_species(self) -> dict[str, float]:
        """Energy in eV that the network adds per atom of each species, to refit it.

        Raises `ModelError` when NequIP cannot change it: there is no such layer or several, or it
        lacks energies or scales, as NequIP builds it by default.
        """
        # By name: a packaged model brings classes of its own.
        layers: list[Any] = [
            part for part in self.module.modules() if type(part).__name__ == "PerTypeScaleShift"
        ]
        if len(layers) != 1:
            raise ModelError(
                f"this model has {len(layers)} layers of energies per species, tuning needs one; "
                "set refit_reference_energies: false, or take another model"
            )
        (layer,) = layers
        if not (layer.has_scales and layer.has_shifts):
            # NequIP's modifier fails where one of the two is missing, whatever it is given.
            raise ModelError(
                "the energies per species of this model cannot be refitted; take a model that was "
                "built with per_type_energy_scales and per_type_energy_shifts or, if its energies "
                "are at the level of theory of the labels, set refit_reference_energies: false"
            )
        values = layer.shifts.detach().double().reshape(-1).tolist()
        if len(values) == 1:
            values = values * len(self.type_names)
        return dict(zip(self.type_names, values, strict=True))


class NequIPModel(ModelInterface):
    """NequIP's own torch-sim wrapper, with a neighbour list that takes dense crystals.

    Why the list of torch-sim does not is said in `neighbours`.
    """

    def __init__(
        self, network: Network, device: torch.device, neighbour_backend: str = NEIGHBOUR_BACKEND
    ) -> None:
        super().__init__()
        wrapper = require("nequip.integrations.torchsim", extra="nequip")
        self._device = device
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = True
        self._memory_scales_with = "n_atoms_x_density"
        self.network = network
        self.inner = wrapper.NequIPTorchSimCalc(
            model=network.module, device=device, transforms=network.transforms(neighbour_backend)
        )

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        """Compute energy (eV), forces (eV/A) and stress (eV/A^3, positive = tensile).

        A batch whose pairs do not fit into memory at once is evaluated in pieces.
        """
        del kwargs
        state = state.to(device=self._device, dtype=self._dtype)
        with default_dtype(torch.float64):
            outputs = [self.inner(piece) for piece in self._cut(state)]
        results = {
            name: torch.cat([output[name] for output in outputs]).to(self._dtype)
            for name in outputs[0]
        }
        if "stress" not in results:
            results["stress"] = torch.zeros(
                state.n_systems, 3, 3, dtype=self._dtype, device=self._device
            )
        return finish_results(state, results)

    def _cut(self, state: SimState) -> list[SimState]:
        """Cut a batch between systems into pieces whose pairs fit into memory."""
        most = pairs_that_fit(self._device)
        pbc = state.pbc.reshape(-1).tolist()
        volumes = torch.linalg.det(state.cell).abs().tolist()
        pieces: list[list[int]] = [[]]
        held = 0.0
        for index, atoms in enumerate(state.n_atoms_per_system.tolist()):
            pairs = expected_pairs(atoms, volumes[index], pbc, self.network.cutoff_A)
            if pieces[-1] and held + pairs > most:
                pieces.append([])
                held = 0.0
            pieces[-1].append(index)
            held += pairs
        return [state] if len(pieces) == 1 else [state[piece] for piece in pieces]

    def graph(self, state: SimState) -> dict[str, Tensor]:
        """Put a batch and its neighbours into the dictionary that the network's modules read."""
        key = require("nequip.data.AtomicDataDict", extra="nequip")
        data = {
            key.POSITIONS_KEY: state.positions,
            key.CELL_KEY: state.row_vector_cell.contiguous(),
            key.PBC_KEY: state.pbc.reshape(-1, 3).expand(state.n_systems, 3).contiguous(),
            key.BATCH_KEY: state.system_idx,
            key.NUM_NODES_KEY: state.system_idx.bincount(minlength=state.n_systems),
            key.ATOMIC_NUMBERS_KEY: state.atomic_numbers,
        }
        for transform in self.inner.transforms:
            data = transform(data)
        return data

    def graph_with_vectors(self, state: SimState) -> tuple[dict[str, Tensor], Neighbours]:
        """The same dictionary with the vectors of the edges, and these as neighbours.

        The vectors are detached; the network's modules read the tensor of the neighbours.
        """
        key = require("nequip.data.AtomicDataDict", extra="nequip")
        data = self.graph(state)
        centre, neighbour = data[key.EDGE_INDEX_KEY]
        shifts = data[key.EDGE_CELL_SHIFT_KEY]
        offsets = torch.einsum(
            "ps,psc->pc", shifts, state.row_vector_cell[state.system_idx[centre]]
        )
        vectors = state.positions[neighbour] + offsets - state.positions[centre]
        data[key.EDGE_VECTORS_KEY] = vectors.detach()
        return data, Neighbours(centre, neighbour, shifts.long(), data[key.EDGE_VECTORS_KEY])

    def count_neighbours(self, state: SimState) -> Int[Tensor, " systems"]:
        """Count the directed pairs that each system of a batch has within the cutoff."""
        key = require("nequip.data.AtomicDataDict", extra="nequip")
        state = state.to(device=self._device, dtype=self._dtype)
        centres = self.graph(state)[key.EDGE_INDEX_KEY][0]
        return state.system_idx[centres].bincount(minlength=state.n_systems)


def energy_modules(network: Any) -> Any:
    """Find the sequence of modules inside the graph model and its force output."""
    try:
        return network.model.func
    except AttributeError as error:
        raise ModelError(
            "this network does not have the layout of a NequIP or Allegro model (graph model, "
            "force output, energy modules); use Gaussian-overlap fingerprints"
        ) from error
