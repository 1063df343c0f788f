"""A CHGNet network that evaluates batches.

CHGNet's own code builds the graph of each structure on the CPU, through pymatgen, and takes the
signed determinant as volume, so that a left-handed cell gets a stress of the wrong sign. This one
gives the network all edges and angles of the batch at once, found on the device.
Ref: Deng et al., Nat. Mach. Intell. 5, 1031 (2023).
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove._optional import require
from entrove.errors import StructureError
from entrove.models.batches import Piece, cut_between_systems, finish_results, pairs_that_fit
from entrove.models.neighbours import Neighbours, NeighbourSearch
from entrove.models.torch_settings import default_dtype
from entrove.threads import claim_threads, even_pieces, map_over_threads

PIECE_PAIRS = 3000
"""Pairs of neighbours that the network sees at once on a CPU: 64 atoms of silicon."""


class CHGNetModel(ModelInterface):
    """A CHGNet network as a torch-sim model for batches of crystals.

    Edges, reference energies and the sum of atomic energies are computed in float64, the network
    in its own precision. A state may have either precision; results are float64. Magnetic moments
    are not computed.
    """

    def __init__(self, network: Any, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = True
        self._memory_scales_with = "n_atoms_x_density"
        self.network = network.to(device).eval().requires_grad_(False)
        self.network_dtype = next(network.parameters()).dtype
        self.search = NeighbourSearch(float(network.graph_converter.atom_graph_cutoff))
        self.angle_cutoff_A = float(network.graph_converter.bond_graph_cutoff)
        self.reference_energies_eV = network.composition_model.fc.weight[0].to(self._dtype)

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        """Compute energy (eV), forces (eV/A) and stress (eV/A^3, positive = tensile).

        Raises `StructureError` for a system without a cell.
        """
        del kwargs
        state = state.to(device=self._device, dtype=self._dtype)
        volumes = torch.linalg.det(state.cell).abs()
        if bool((volumes == 0).any()):
            raise StructureError(
                "CHGNet is made for crystals and needs a cell with a volume; "
                "put a molecule into a box"
            )
        neighbours = self.search(state)
        with claim_threads(self._device), default_dtype(self.network_dtype):
            pieces = [(state, neighbours, piece) for piece in self._cut(state, neighbours)]
            outputs = map_over_threads(self._run, pieces, self._device)
        atomic, gradients = (torch.cat(values) for values in zip(*outputs, strict=True))
        atomic = atomic + self.reference_energies_eV[state.atomic_numbers.long() - 1]
        derivative = neighbours.pull_back(gradients, state)
        energy = torch.zeros(state.n_systems, dtype=self._dtype, device=self._device)
        results = {
            "energy": energy.index_add(0, state.system_idx, atomic),
            "forces": -derivative.positions,
            "stress": derivative.strain / volumes[:, None, None],
        }
        return finish_results(state, results)

    def count_neighbours(self, state: SimState) -> Int[Tensor, " systems"]:
        """Count the directed pairs that each system of a batch has within the cutoff."""
        state = state.to(device=self._device, dtype=self._dtype)
        centres = self.search(state).centre
        return state.system_idx[centres].bincount(minlength=state.n_systems)

    def _cut(self, state: SimState, neighbours: Neighbours) -> list[Piece]:
        """Cut a batch to fit the cache and threads of a CPU, or the memory of a GPU.

        CHGNet treats a graph without any angle in another way, with its 0.2.0 weights to another
        result; so systems with and without angles are never evaluated together.
        """
        pairs = len(neighbours.centre)
        if self._device.type == "cpu":
            wanted = even_pieces(-(-pairs // PIECE_PAIRS), self._device)
        else:
            wanted = -(-pairs // pairs_that_fit(self._device))
        short = neighbours.vectors.norm(dim=1) < self.angle_cutoff_A
        bonds = neighbours.centre[short].bincount(minlength=state.n_atoms)
        angles = torch.zeros(state.n_systems, dtype=torch.long, device=self._device)
        has_angles = angles.index_add(0, state.system_idx, (bonds > 1).long()) > 0
        changes = (has_angles[1:] != has_angles[:-1]).nonzero().reshape(-1) + 1
        return cut_between_systems(state, neighbours, wanted, changes.tolist())

    def _run(self, task: tuple[SimState, Neighbours, Piece]) -> tuple[Tensor, Tensor]:
        """Atomic energies without reference energies, and their gradient by every edge vector."""
        state, neighbours, piece = task
        pairs, first_atom = piece.pairs, piece.atoms.start
        vectors = neighbours.vectors[pairs].detach().to(self.network_dtype).requires_grad_()
        bonds = find_bonds(
            Neighbours(
                neighbours.centre[pairs] - first_atom,
                neighbours.neighbour[pairs] - first_atom,
                neighbours.shifts[pairs],
                neighbours.vectors[pairs],
            ),
            self.angle_cutoff_A,
        )
        numbers = state.atomic_numbers[piece.atoms].long()
        systems = state.system_idx[piece.atoms] - piece.systems.start
        with torch.enable_grad():
            graph = self._graph(numbers, systems, vectors, bonds)
            output = self.network._compute(graph, return_site_energies=True)
            atomic = torch.cat(output["site_energies"])
            if len(vectors) == 0:
                return atomic.detach().to(self._dtype), vectors.detach().to(self._dtype)
            (gradients,) = torch.autograd.grad(atomic.sum(), vectors)
        return atomic.detach().to(self._dtype), gradients.to(self._dtype)

    def _graph(
        self,
        numbers: Int[Tensor, " atoms"],
        systems: Int[Tensor, " atoms"],
        vectors: Float[Tensor, "pairs 3"],
        bonds: "Bonds",
    ) -> Any:
        """Put a batch into CHGNet's own form; its geometry follows from the edge vectors."""
        module = require("chgnet.model.model", extra="chgnet")
        network = self.network
        zeros = torch.zeros_like(vectors)
        edge_bases, bond_bases, units = network.bond_basis_expansion(
            center=zeros,
            neighbor=vectors,
            undirected2directed=bonds.first_pair,
            image=zeros,
            lattice=zeros.new_zeros(3, 3),
        )
        left, right = bonds.angles[:, 1], bonds.angles[:, 2]
        angle_bases = network.angle_basis_expansion(units[left], units[right])
        return module.BatchedGraph(
            atomic_numbers=numbers,
            bond_bases_ag=edge_bases,
            bond_bases_bg=bond_bases,
            angle_bases=angle_bases,
            batched_atom_graph=torch.stack([bonds.centre, bonds.neighbour], dim=1),
            batched_bond_graph=torch.stack(
                [bonds.angles[:, 0], bonds.of_pair[left], bonds.of_pair[right]], dim=1
            ),
            atom_owners=systems,
            directed2undirected=bonds.of_pair,
            # For CHGNet's own derivatives; ours are by the edge vectors.
            atom_positions=[],
            strains=[],
            volumes=[],
        )


@dataclass(frozen=True)
class Bonds:
    """The two directions of each bond joined, and the angles between short bonds.

    Pair k leads from atom `centre[k]` to an image of atom `neighbour[k]` and belongs to the bond
    `of_pair[k]`; `first_pair[b]` is a pair of bond b. A row of `angles` is an atom and two
    different short pairs that start there; each angle is listed in both orders.
    """

    centre: Int[Tensor, " pairs"]
    neighbour: Int[Tensor, " pairs"]
    of_pair: Int[Tensor, " pairs"]
    first_pair: Int[Tensor, " bonds"]
    angles: Int[Tensor, "angles 3"]


def find_bonds(neighbours: Neighbours, angle_cutoff_A: float) -> Bonds:
    """Find bonds and angles among the pairs of a batch, which are sorted by their centre."""
    centre, neighbour, shifts = neighbours.centre, neighbours.neighbour, neighbours.shifts
    # (i, j, S) and (j, i, -S) are one bond; of the two, the one that sorts first stands for it.
    forward = torch.cat([torch.stack([centre, neighbour], dim=1), shifts], dim=1)
    backward = torch.cat([torch.stack([neighbour, centre], dim=1), -shifts], dim=1)
    differs = (forward != backward).long().argmax(dim=1, keepdim=True)
    is_first = forward.gather(1, differs) < backward.gather(1, differs)
    bonds, of_pair = torch.where(is_first, forward, backward).unique(dim=0, return_inverse=True)
    indices = torch.arange(len(centre), device=centre.device)
    first_pair = torch.full((len(bonds),), len(centre), device=centre.device)
    first_pair = first_pair.scatter_reduce(0, of_pair, indices, "amin")
    short = indices[neighbours.vectors.norm(dim=1) < angle_cutoff_A]
    atoms = centre[short]
    counts = atoms.bincount()
    starts = counts.cumsum(0) - counts
    partners = counts[atoms]  # of every short pair: the short pairs that start where it does
    left = torch.arange(len(short), device=centre.device).repeat_interleave(partners)
    firsts = (partners.cumsum(0) - partners)[left]
    right = starts[atoms[left]] + torch.arange(len(left), device=centre.device) - firsts
    left, right = left[left != right], right[left != right]
    angles = torch.stack([atoms[left], short[left], short[right]], dim=1)
    return Bonds(centre, neighbour, of_pair, first_pair, angles)
