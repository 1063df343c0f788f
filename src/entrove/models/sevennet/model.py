"""A SevenNet network that evaluates batches.

SevenNet's own torch-sim wrapper loops over the systems of a batch in Python, fails on dense
crystals (see `neighbours`), takes float32 states only, and gives absurd stresses for left-handed
cells. This one gives the network all edges of the batch at once. Ref: Park et al., J. Chem. Theory
Comput. 20, 4857 (2024).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove._optional import require
from entrove.models.batches import cut_between_systems, finish_results, pairs_that_fit
from entrove.models.neighbours import Neighbours, NeighbourSearch
from entrove.models.torch_settings import default_dtype
from entrove.threads import claim_threads, even_pieces, map_over_threads

PIECE_PAIRS = 1800
"""Pairs of neighbours that the network sees at once on a CPU: 64 atoms of silicon.

Larger graphs leave the cache (8 ms instead of 7 ms per atom), and threads side by side on pieces
do more than threads inside the network's small operations (3.6 ms instead of 7 ms per atom on
two).
"""


class SevenNetModel(ModelInterface):
    """A SevenNet network as a torch-sim model for batches.

    Edges and the sum of atomic energies are computed in float64, the network in its own precision.
    A state may have either precision; results are float64. For molecules and non-finite positions
    see `finish_results`.
    """

    def __init__(self, network: Any, modal: str | None, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = True
        self._memory_scales_with = "n_atoms_x_density"
        self.network = network.to(device).eval().requires_grad_(False)
        self.network.set_is_batch_data(True)
        # The index of the fidelity is part of each batch instead.
        self.network.eval_modal_map = False
        self.modal_index = None if modal is None else int(network.modal_map[modal])
        self.network_dtype = next(network.parameters()).dtype
        self.search = NeighbourSearch(float(network.cutoff))

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        """Compute energy (eV), forces (eV/A) and stress (eV/A^3, positive = tensile)."""
        del kwargs
        state = state.to(device=self._device, dtype=self._dtype)
        neighbours = self.search(state)
        with claim_threads(self._device), default_dtype(self.network_dtype):
            pieces = self.cut(self.graph(state, neighbours), state, neighbours)
            outputs = map_over_threads(self._run, pieces, self._device)
        return self._results(state, outputs)

    def count_neighbours(self, state: SimState) -> Int[Tensor, " systems"]:
        """Count the directed pairs that each system of a batch has within the cutoff."""
        state = state.to(device=self._device, dtype=self._dtype)
        centres = self.search(state).centre
        return state.system_idx[centres].bincount(minlength=state.n_systems)

    def graph(self, state: SimState, neighbours: Neighbours) -> dict[str, Tensor]:
        """Put a batch and its neighbours into the dictionary that the network's modules read."""
        key = require("sevenn._keys", extra="sevennet")
        numbers = state.atomic_numbers.long()
        graph = {
            key.NODE_FEATURE: numbers,
            key.ATOMIC_NUMBERS: numbers,
            key.POS: state.positions.to(self.network_dtype),
            key.EDGE_IDX: torch.stack([neighbours.centre, neighbours.neighbour]),
            key.EDGE_VEC: neighbours.vectors.to(self.network_dtype),
            key.CELL_VOLUME: torch.linalg.det(state.cell).abs().to(self.network_dtype),
            key.NUM_ATOMS: state.system_idx.bincount(minlength=state.n_systems),
            key.BATCH: state.system_idx,
        }
        if self.modal_index is not None:
            graph[key.MODAL_TYPE] = torch.full(
                (state.n_systems,), self.modal_index, device=self._device
            )
        return graph

    def cut(
        self,
        graph: dict[str, Tensor],
        state: SimState,
        neighbours: Neighbours,
        *,
        single: bool = False,
    ) -> list[dict[str, Tensor]]:
        """Cut a graph between systems into pieces of about equal numbers of pairs.

        They fit into the cache of a CPU, and into the memory of a GPU, where a batch that fits
        stays whole. With `single`, every system is a piece.
        """
        wanted = count_pieces(len(neighbours.centre), self._device)
        cuts = range(1, state.n_systems) if single else ()
        if min(wanted, state.n_systems) < 2 and not cuts:
            return [graph]
        key = require("sevenn._keys", extra="sevennet")
        pieces = []
        for piece in cut_between_systems(state, neighbours, wanted, cuts):
            cut = {name: values[piece.systems] for name, values in graph.items()}
            for name in (key.NODE_FEATURE, key.ATOMIC_NUMBERS, key.POS):
                cut[name] = graph[name][piece.atoms]
            cut[key.BATCH] = graph[key.BATCH][piece.atoms] - piece.systems.start
            cut[key.EDGE_IDX] = graph[key.EDGE_IDX][:, piece.pairs] - piece.atoms.start
            cut[key.EDGE_VEC] = graph[key.EDGE_VEC][piece.pairs]
            pieces.append(cut)
        return pieces

    def _run(self, graph: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Atomic energies, forces, and SevenNet's own stress of a graph."""
        key = require("sevenn._keys", extra="sevennet")
        output = self.network(graph)
        found = (
            output[name].detach() for name in (key.ATOMIC_ENERGY, key.PRED_FORCE, key.PRED_STRESS)
        )
        energies, forces, stress = (values.to(self._dtype) for values in found)
        return energies.reshape(-1), forces, stress

    def _results(
        self, state: SimState, outputs: Sequence[tuple[Tensor, Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        atomic, forces, stress = (torch.cat(values) for values in zip(*outputs, strict=True))
        energy = torch.zeros(state.n_systems, dtype=self._dtype, device=self._device)
        results = {
            "energy": energy.index_add(0, state.system_idx, atomic),
            "forces": forces,
            # SevenNet's order is xx, yy, zz, xy, yz, zx and its sign is that of a pressure.
            "stress": -full_matrix(stress),
        }
        return finish_results(state, results)


def count_pieces(pairs: int, device: torch.device) -> int:
    """Count the pieces for the cache and threads of a CPU, or for the memory of a GPU."""
    if device.type == "cpu":
        return even_pieces(-(-pairs // PIECE_PAIRS), device)
    return -(-pairs // pairs_that_fit(device))


def full_matrix(six: Float[Tensor, "systems 6"]) -> Float[Tensor, "systems 3 3"]:
    """Turn xx, yy, zz, xy, yz, zx into a symmetric matrix."""
    return six[:, [0, 3, 5, 3, 1, 4, 5, 4, 2]].reshape(-1, 3, 3)
