"""Neighbour search through linked cells: O(atoms), whole batches, any periodicity.

Atoms are wrapped along periodic directions and sorted into bins about as wide as the cutoff; each
atom is compared with those in the bins around its own, periodic images of bins included.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrove.threads import claim_threads, even_pieces, map_over_threads

CENTRES_PER_PIECE = 128
"""Atoms whose neighbours are searched together on a CPU: their pairs fit the cache."""

BINS_PER_ATOM = 8
"""Upper bound of the number of bins per atom: vacuum must not cost memory."""


@dataclass(frozen=True)
class Lattices:
    """Cells of a batch, completed along directions that are not periodic.

    `reach` is the cutoff in units of the distance between opposite faces, 0 where not periodic.
    """

    cell: Float[Tensor, "systems 3 3"]  # vectors in rows, Angstrom
    inverse: Float[Tensor, "systems 3 3"]
    reach: Float[Tensor, "systems 3"]
    periodic: Bool[Tensor, "3"]
    largest_reach: tuple[float, ...]  # over all systems


@dataclass(frozen=True)
class PairSearch:
    """Directed pairs sorted by centre, and the shortest squared distance (inf without pairs)."""

    neighbour: Int[Tensor, " pairs"]
    displacement: Float[Tensor, "pairs 3"]
    count: Int[Tensor, " atoms"]
    shortest2: Float[Tensor, ""]


def search_linked_cells(
    positions: Float[Tensor, "atoms 3"],
    system: Int[Tensor, " atoms"],
    lattices: Lattices,
    cutoff_A: float,
) -> PairSearch:
    """Find every image closer than the cutoff to every atom, the atom itself excluded."""
    device = positions.device
    with claim_threads(device):
        grid = _Grid.build(positions, system, lattices, cutoff_A)
        atoms = torch.arange(len(positions), device=device)
        pieces = (
            1 if positions.is_cuda else even_pieces(-(-len(atoms) // CENTRES_PER_PIECE), device)
        )
        found = map_over_threads(grid.search_around, atoms.chunk(pieces), device)
    return PairSearch(
        neighbour=torch.cat([piece.neighbour for piece in found]),
        displacement=torch.cat([piece.displacement for piece in found]),
        count=torch.cat([piece.count for piece in found]),
        shortest2=torch.stack([piece.shortest2 for piece in found]).amin(),
    )


@dataclass(frozen=True)
class _Grid:
    """Atoms sorted into a grid of bins per system."""

    wrapped: Float[Tensor, "atoms 3"]
    system: Int[Tensor, " atoms"]
    lattices: Lattices
    cutoff_A: float
    shape: Int[Tensor, "systems 3"]
    bin_of_atom: Int[Tensor, "atoms 3"]
    start: Int[Tensor, " systems"]  # number of the system's first bin
    order: Int[Tensor, " atoms"]  # atoms sorted by bin
    first: Int[Tensor, " bins"]
    count: Int[Tensor, " bins"]
    rings: list[int]  # how many bins to visit on either side

    @classmethod
    def build(
        cls,
        positions: Float[Tensor, "atoms 3"],
        system: Int[Tensor, " atoms"],
        lattices: Lattices,
        cutoff_A: float,
    ) -> "_Grid":
        periodic, systems = lattices.periodic, len(lattices.cell)
        fractional = torch.bmm(positions[:, None, :], lattices.inverse[system])[:, 0]
        image = torch.floor(fractional).where(periodic, 0.0)
        fractional = fractional - image
        low, high = _range_per_system(fractional, system, systems)
        origin = low.where(~periodic, 0.0)
        extent = (high - low).where(~periodic, 1.0).clamp(min=1e-6)
        # Completed vectors have unit length: along them fractional coordinates are in Angstrom.
        reach = lattices.reach.where(periodic, cutoff_A)
        atoms = torch.bincount(system, minlength=systems)
        most = (BINS_PER_ATOM * atoms.to(extent)).pow(1 / 3)[:, None]
        shape = torch.minimum(extent / reach, most).floor().clamp(min=1)
        rings = torch.ceil(reach * shape / extent)
        # Without images there is nothing beyond the first and the last bin.
        rings = rings.where(periodic, rings.minimum(shape - 1)).amax(dim=0).long().tolist()
        bin_of_atom = ((fractional - origin[system]) * (shape / extent)[system]).long()
        shape = shape.long()
        # Rounding at the upper edge must not make a bin that does not exist.
        bin_of_atom = bin_of_atom.minimum(shape[system] - 1)
        bins = shape.prod(dim=1)
        start = bins.cumsum(0) - bins
        flat = start[system] + _ravel(bin_of_atom, shape[system])
        count = torch.bincount(flat, minlength=int(bins.sum()))
        return cls(
            wrapped=positions - torch.bmm(image[:, None, :], lattices.cell[system])[:, 0],
            system=system,
            lattices=lattices,
            cutoff_A=cutoff_A,
            shape=shape,
            bin_of_atom=bin_of_atom,
            start=start,
            order=torch.argsort(flat, stable=True),
            first=count.cumsum(0) - count,
            count=count,
            rings=rings,
        )

    def search_around(self, centres: Int[Tensor, " centres"]) -> PairSearch:
        """Find the neighbours of a range of atoms."""
        near, shift, count = self._bins_around(centres)
        # Row k of `origin` is what to add to an atom of the k-th (atom, bin) to get its
        # displacement. Components come before pairs in memory: gathers and sums are then fast.
        translation = torch.bmm(shift.to(self.wrapped), self.lattices.cell[self.system[centres]])
        origin = (translation - self.wrapped[centres][:, None, :]).view(-1, 3).t().contiguous()
        row = torch.repeat_interleave(count)
        within = torch.arange(len(row), device=row.device)
        within += (self.first[near] - count.cumsum(0) + count).index_select(0, row)
        neighbour = self.order.index_select(0, within)
        displacement = torch.stack(
            [
                self.wrapped[:, axis].take(neighbour).add_(origin[axis].take(row))
                for axis in range(3)
            ]
        )
        distance2 = displacement.square().sum(dim=0)
        keep = torch.nonzero(distance2 < self.cutoff_A**2).flatten()
        centre = centres[torch.div(row[keep], shift.shape[1], rounding_mode="floor")]
        neighbour, distance2 = neighbour[keep], distance2[keep]
        # An atom finds itself in its own bin, at distance zero exactly.
        other = torch.nonzero((neighbour != centre) | (distance2 > 0)).flatten()
        return PairSearch(
            neighbour=neighbour[other],
            displacement=displacement.index_select(1, keep[other]).t().contiguous(),
            count=torch.bincount(centre[other] - centres[0], minlength=len(centres)),
            shortest2=distance2[other].amin() if len(other) else distance2.new_tensor(torch.inf),
        )

    def _bins_around(
        self, centres: Int[Tensor, " centres"]
    ) -> tuple[Int[Tensor, " visits"], Int[Tensor, "centres steps 3"], Int[Tensor, " visits"]]:
        """Bins around each atom, the lattice vectors crossed to reach them, and atoms in them."""
        system = self.system[centres]
        steps = torch.cartesian_prod(
            *[torch.arange(-n, n + 1, device=system.device) for n in self.rings]
        )
        shape = self.shape[system][:, None, :]
        visited = self.bin_of_atom[centres][:, None, :] + steps
        shift = torch.div(visited, shape, rounding_mode="floor")
        near = (self.start[system][:, None] + _ravel(visited - shift * shape, shape)).flatten()
        inside = ((shift == 0) | self.lattices.periodic).all(dim=2)
        return near, shift, self.count[near] * inside.flatten()


def _range_per_system(
    fractional: Float[Tensor, "atoms 3"], system: Int[Tensor, " atoms"], systems: int
) -> tuple[Float[Tensor, "systems 3"], Float[Tensor, "systems 3"]]:
    index = system[:, None].expand(-1, 3)
    empty = fractional.new_zeros(systems, 3)
    low = empty.scatter_reduce(0, index, fractional, "amin", include_self=False)
    high = empty.scatter_reduce(0, index, fractional, "amax", include_self=False)
    return low, high


def _ravel(index: Int[Tensor, "*rows 3"], shape: Int[Tensor, "*other 3"]) -> Int[Tensor, "*rows"]:
    return (index[..., 0] * shape[..., 1] + index[..., 1]) * shape[..., 2] + index[..., 2]
