"""Neighbours of every atom of a batch, from nvalchemiops, which comes with torch-sim.

torch-sim's own function for it reserves memory for about 110 neighbours at 5 A and fails when
there are more (in diamond compressed by 10 % in length, for example). Here the memory follows the
density and grows on demand.
"""

import logging
import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from nvalchemiops.neighbors.neighbor_utils import NeighborOverflowError
from nvalchemiops.torch.neighbors import batch_cell_list, batch_naive_neighbor_list
from torch import Tensor
from torch_sim.state import SimState

from entrove.cells import complete_cell
from entrove.errors import StructureError
from entrove.features import PullBack

_log = logging.getLogger(__name__)

ATOMS_FOR_CELL_LIST = 200
"""Systems of at least this many atoms use linked cells; below, all pairs are cheaper.

Measured: 3 ms at 216 atoms.
"""


@dataclass(frozen=True)
class Neighbours:
    """Directed pairs (i, j) with |r_j + S h - r_i| < cutoff; both directions of a bond are listed.

    `vectors` are r_j + S h - r_i in A, in the dtype of the positions.
    """

    centre: Int[Tensor, " pairs"]
    neighbour: Int[Tensor, " pairs"]
    shifts: Int[Tensor, "pairs 3"]
    vectors: Float[Tensor, "pairs 3"]

    def pull_back(self, gradient: Float[Tensor, "pairs 3"], state: SimState) -> PullBack:
        """Turn dL/d(vectors) of a scalar L into dL/dr and dL/d(strain).

        dL/dr_k is the sum of dL/dv over pairs that end in k less that over pairs that start there,
        dL/d(strain) the symmetric part of sum v (dL/dv)^T over the pairs of a system.
        """
        positions = torch.zeros_like(state.positions, dtype=gradient.dtype)
        positions = positions.index_add(0, self.neighbour, gradient)
        positions = positions.index_add(0, self.centre, -gradient)
        outer = self.vectors.detach()[:, :, None] * gradient[:, None, :]
        strain = torch.zeros(state.n_systems, 3, 3, dtype=gradient.dtype, device=gradient.device)
        strain = strain.index_add(0, state.system_idx[self.centre], outer)
        return PullBack(positions, (strain + strain.mT) / 2)


class NeighbourSearch:
    """Finds the pairs of a batch within a cutoff; remembers how much room they needed."""

    def __init__(self, cutoff_A: float) -> None:
        self.cutoff_A = cutoff_A
        self._room = 16

    def __call__(self, state: SimState) -> Neighbours:
        """List the pairs of each system of `state`; systems never see each other.

        Raises `StructureError` when the periodic vectors of a cell are not independent.
        """
        pbc = state.pbc.reshape(-1, 3).expand(state.n_systems, 3)
        return self.find(state.positions, state.row_vector_cell, pbc, state.system_idx)

    def find(
        self,
        positions: Float[Tensor, "atoms 3"],
        cell: Float[Tensor, "systems 3 3"],
        pbc: Bool[Tensor, "systems 3"],
        system_idx: Int[Tensor, " atoms"],
    ) -> Neighbours:
        """List the pairs of a batch given as tensors; the rows of `cell` are lattice vectors."""
        cell = cell.contiguous()
        atoms_per_system = system_idx.bincount(minlength=len(cell))
        densest = _densest(atoms_per_system, cell)
        if densest == math.inf:
            cell = _with_volumes(cell, pbc)
            densest = _densest(atoms_per_system, cell)
        if densest == math.inf:
            raise StructureError(
                "a cell has no volume: its vectors lie in one plane; repair the cell"
            )
        if bool(pbc.any()) and math.isfinite(densest):
            sphere = 4.0 / 3.0 * math.pi * self.cutoff_A**3
            self._room = max(self._room, 16 * math.ceil((1.25 * densest * sphere + 16) / 16))
        largest = int(atoms_per_system.max())
        search = batch_cell_list if largest >= ATOMS_FOR_CELL_LIST else batch_naive_neighbor_list
        while True:
            try:
                found = search(
                    positions=positions.detach().contiguous(),
                    cutoff=self.cutoff_A,
                    batch_idx=system_idx.to(torch.int32),
                    cell=cell.detach(),
                    pbc=pbc.contiguous(),
                    max_neighbors=self._room,
                    return_neighbor_list=True,
                )
            except NeighborOverflowError:
                self._room *= 2
                _log.debug(
                    "more than %d neighbours within %g A; room doubled",
                    self._room // 2,
                    self.cutoff_A,
                )
            else:
                break
        # With a cell and a list asked for, it is always these three.
        pairs, _first_of_atom, shifts = cast("tuple[Tensor, Tensor, Tensor]", found)
        centre, neighbour = pairs.long()
        offsets = torch.einsum("ps,psc->pc", shifts.to(cell.dtype), cell[system_idx[centre]])
        vectors = positions[neighbour] + offsets - positions[centre]
        return Neighbours(centre, neighbour, shifts.long(), vectors)


def _densest(
    atoms_per_system: Int[Tensor, " systems"], cell: Float[Tensor, "systems 3 3"]
) -> float:
    """Most atoms per volume in A^-3; infinite when a cell has no volume."""
    return float((atoms_per_system / torch.linalg.det(cell.detach()).abs()).max())


def _with_volumes(
    cell: Float[Tensor, "systems 3 3"], pbc: Bool[Tensor, "systems 3"]
) -> Float[Tensor, "systems 3 3"]:
    """Give cells without a volume one along directions that are not periodic, where it is missing.

    Any vectors serve there: no image along them is looked at.
    """
    flat = torch.linalg.det(cell.detach()) == 0
    completed = cell.detach().clone()
    for periodic in pbc[flat].unique(dim=0):
        rows = flat & (pbc == periodic).all(dim=1)
        completed[rows] = complete_cell(completed[rows], periodic.tolist())
    return torch.where((flat[:, None] & ~pbc)[:, :, None], completed, cell)
