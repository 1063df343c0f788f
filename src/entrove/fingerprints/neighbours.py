"""All neighbours closer than a cutoff, for a whole batch at once.

There is no smallest cell: where the cutoff reaches beyond the next image, more images are
included.
Two searches give the same pairs: few atoms are compared all with all (this file), many go through
linked cells (`linked_cells`), which costs O(atoms). Both are vectorised torch, on any device.
"""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.cells import complete_cell
from entrove.errors import StructureError
from entrove.fingerprints.linked_cells import Lattices, PairSearch, search_linked_cells

COINCIDENCE_A = 1e-4
"""Atoms closer than this are taken for the same atom given twice."""

MAX_DENSE_PAIRS = 2**17
"""Up to this number of pairs and images, comparing all with all is faster than linked cells."""

MAX_REACH = 100.0
"""Images of a cell to either side within the cutoff; a cell flatter than that is a mistake."""


@dataclass(frozen=True)
class Neighbours:
    """Directed pairs, sorted by centre; a neighbour may occur with several of its images.

    `displacement` points from the centre to the neighbour's image, in Angstrom. `count` is the
    number of neighbours of each atom, `first` the row of its first pair.
    """

    neighbour: Int[Tensor, " pairs"]
    displacement: Float[Tensor, "pairs 3"]
    count: Int[Tensor, " atoms"]
    first: Int[Tensor, " atoms"]


def find_neighbours(state: SimState, cutoff_A: float) -> Neighbours:
    """Find every periodic image closer than the cutoff to every atom, the atom itself excluded.

    Raises `StructureError` for positions that are not finite, for a periodic cell without volume,
    and for two atoms at one place.
    """
    positions, system = state.positions.detach(), state.system_idx
    lattices = _lattices(state, cutoff_A)
    atoms, systems = len(positions), len(lattices.cell)
    largest = atoms if systems == 1 else int(torch.bincount(system).max())
    # Once differences are reduced to the nearest image, this many further images can be in reach.
    rings = tuple(math.floor(reach + 0.5) for reach in lattices.largest_reach)
    dense_pairs = systems * largest**2 * math.prod(2 * ring + 1 for ring in rings)
    if dense_pairs > MAX_DENSE_PAIRS:
        found = search_linked_cells(positions, system, lattices, cutoff_A)
    else:
        found = _search_all_pairs(
            positions, system, lattices, cutoff_A, rings=rings, largest=largest
        )
    if float(found.shortest2) <= COINCIDENCE_A**2:
        _refuse_coincident(found, system)
    return Neighbours(
        found.neighbour, found.displacement, found.count, found.count.cumsum(0) - found.count
    )


def _lattices(state: SimState, cutoff_A: float) -> Lattices:
    """Cells with three vectors, their inverses, and the cutoff in units of their thickness."""
    # The sum is finite only if all are, and is one number to copy from the device.
    if not math.isfinite(float(state.positions.sum())):
        bad = torch.nonzero(~torch.isfinite(state.positions).all(dim=1)).flatten()
        system = int(state.system_idx[bad[0]])
        before = int((state.system_idx < system).sum())
        atoms = [index - before for index in bad[state.system_idx[bad] == system][:5].tolist()]
        raise StructureError(
            f"positions of atoms {atoms} are not finite numbers in {{structure}}; discard it",
            system,
        )
    flags = torch.broadcast_to(state.pbc, (3,))
    periodic = flags.tolist()
    given = state.row_vector_cell.detach()
    cell = given if all(periodic) else complete_cell(given, periodic)
    inverse, _ = torch.linalg.inv_ex(cell)
    reach = cutoff_A * torch.linalg.vector_norm(inverse, dim=1)
    if not all(periodic):
        reach = reach.where(flags, 0.0)
    largest_reach = reach.amax(dim=0).tolist()
    if not all(axis_reach <= MAX_REACH for axis_reach in largest_reach):
        system = int(torch.nonzero(~(reach <= MAX_REACH).all(dim=1))[0])
        raise StructureError(
            f"the cell of {{structure}}, {given[system].tolist()}, has no volume along its "
            f"periodic directions (pbc {periodic}); give independent vectors, or switch pbc off",
            system,
        )
    return Lattices(cell, inverse, reach, flags, tuple(largest_reach))


def _search_all_pairs(
    positions: Float[Tensor, "atoms 3"],
    system: Int[Tensor, " atoms"],
    lattices: Lattices,
    cutoff_A: float,
    *,
    rings: tuple[int, ...],
    largest: int,
) -> PairSearch:
    """Compare all atoms of a system with all; structures are padded to the largest."""
    systems, atoms = len(lattices.cell), len(positions)
    slots = None if systems * largest == atoms else _Slots.build(system, systems, largest)
    padded = positions if slots is None else slots.pad(positions)
    fractional = torch.bmm(lattices.inverse.mT, padded.view(systems, largest, 3).mT)
    difference = fractional[:, :, None, :] - fractional[:, :, :, None]
    difference.sub_(difference.round().mul_(lattices.periodic[:, None, None]))
    # From each atom to each, nearest image; and from there to the further images.
    nearest = torch.bmm(difference.view(systems, 3, -1).mT, lattices.cell)
    translation = torch.matmul(_images(rings, positions.device).to(positions), lattices.cell)
    images = translation.shape[1]
    # |x + t|^2 = x^2 + t^2 + 2 x t is accurate enough to find neighbours and needs no array of all
    # difference vectors.
    distance2 = (
        nearest.square().sum(dim=2)[:, :, None] + translation.square().sum(dim=2)[:, None, :]
    )
    distance2.baddbmm_(nearest, translation.mT, alpha=2)
    per_atom = distance2.view(systems, largest, largest, images)
    per_atom.diagonal(dim1=1, dim2=2)[:, images // 2].fill_(torch.inf)
    near = distance2 < cutoff_A**2
    count = near.view(systems * largest, -1).sum(dim=1)
    pair = torch.nonzero(near.view(-1, images))
    row, image = pair[:, 0], pair[:, 1]
    owner = torch.div(row, largest**2, rounding_mode="floor")
    displacement = nearest.view(-1, 3)[row]
    if images > 1:
        displacement += translation.view(-1, 3)[image + owner * images]
    neighbour = row % largest + owner * largest
    if slots is not None:
        neighbour, count = slots.atom[neighbour], count[slots.of_atom]
    distance2 = displacement.square().sum(dim=1)
    shortest2 = distance2.min() if len(row) else distance2.new_tensor(torch.inf)
    return PairSearch(neighbour, displacement, count, shortest2)


@functools.lru_cache(maxsize=64)
def _images(rings: tuple[int, ...], device: torch.device) -> Int[Tensor, "images 3"]:
    """Lattice translations within `rings` on either side; the middle one is zero."""
    return torch.cartesian_prod(*[torch.arange(-ring, ring + 1, device=device) for ring in rings])


@dataclass(frozen=True)
class _Slots:
    """Where the atoms of structures of different sizes go when all are padded to the largest."""

    of_atom: Int[Tensor, " atoms"]
    atom: Int[Tensor, " slots"]  # 0 in padding

    @classmethod
    def build(cls, system: Int[Tensor, " atoms"], systems: int, largest: int) -> "_Slots":
        counts = torch.bincount(system)
        atoms = torch.arange(len(system), device=system.device)
        shift = torch.arange(systems, device=system.device) * largest - (counts.cumsum(0) - counts)
        of_atom = atoms + shift[system]
        atom = system.new_zeros(systems * largest)
        atom[of_atom] = atoms
        return cls(of_atom, atom)

    def pad(self, positions: Float[Tensor, "atoms 3"]) -> Float[Tensor, "slots 3"]:
        """Fill padding with NaN, which is nearer than the cutoff to nothing."""
        padded = positions.new_full((len(self.atom), 3), torch.nan)
        padded[self.of_atom] = positions
        return padded


def _refuse_coincident(found: PairSearch, system: Int[Tensor, " atoms"]) -> None:
    pair = int(found.displacement.square().sum(dim=1).argmin())
    first = int(torch.searchsorted(found.count.cumsum(0), pair, right=True))
    second = int(found.neighbour[pair])
    structure = int(system[first])
    offset = int((system < structure).sum())
    distance = float(found.displacement[pair].norm())
    raise StructureError(
        f"atoms {first - offset} and {second - offset} of {{structure}} are at one place "
        f"({distance:.1e} Angstrom apart); remove one of them",
        structure,
    )
