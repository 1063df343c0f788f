"""All neighbours closer than a cutoff, for a whole batch at once.

A linked-cell search written in vectorised torch: atoms are wrapped along periodic directions, sorted
into bins, and each atom meets the bins around its own, periodic images of bins included. There is no
smallest cell: where the cutoff reaches beyond the next image, more rings of bins are visited. It is
O(atoms), runs on any device, and needs no compilation.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import StructureError

COINCIDENCE_A = 1e-4
"""Atoms closer than this are taken for one atom that was given twice."""

_BINS_PER_ATOM = 8
"""Upper bound of the number of bins per atom: vacuum must not cost memory."""


@dataclass(frozen=True)
class Neighbours:
    """Directed pairs, sorted by centre; an atom may meet several images of the same neighbour.

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
    if not bool(torch.isfinite(positions).all()):
        bad = torch.nonzero(~torch.isfinite(positions).all(dim=1)).flatten()[:5].tolist()
        raise StructureError(f"positions of atoms {bad} are not finite numbers; discard this structure")
    periodic = torch.broadcast_to(state.pbc, (3,))
    cell = _complete_cell(state.row_vector_cell.detach(), periodic)
    inverse = torch.linalg.inv(cell)
    fractional = torch.bmm(positions[:, None, :], inverse[system])[:, 0]
    image = torch.floor(fractional).where(periodic, 0)
    fractional = fractional - image
    wrapped = positions - torch.bmm(image[:, None, :], cell[system])[:, 0]

    bins = _Bins.build(fractional, system, periodic, inverse, cutoff_A)
    centre, neighbour, shift = bins.candidates(fractional, system, periodic)
    translation = torch.bmm(shift[:, None, :].to(cell), cell[system[centre]])[:, 0]
    displacement = wrapped[neighbour] - wrapped[centre] + translation
    distance2 = displacement.square().sum(dim=1)
    itself = (centre == neighbour) & ~shift.any(dim=1)
    keep = torch.nonzero((distance2 < cutoff_A**2) & ~itself).flatten()
    centre, neighbour, displacement = centre[keep], neighbour[keep], displacement[keep]
    _refuse_coincident(centre, neighbour, distance2[keep], system)
    count = torch.bincount(centre, minlength=len(positions))
    return Neighbours(neighbour, displacement, count, torch.cumsum(count, 0) - count)


def _complete_cell(
    cell: Float[Tensor, "systems 3 3"], periodic: Bool[Tensor, "3"]
) -> Float[Tensor, "systems 3 3"]:
    """Replace the vectors of directions that are not periodic by unit vectors normal to the others."""
    flags = periodic.tolist()
    directions = [axis for axis in range(3) if flags[axis]]
    if len(directions) == 3:
        completed = cell
    elif not directions:
        completed = torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell)
    else:
        # The right singular vectors beyond the rank span the space normal to the periodic vectors.
        normal = torch.linalg.svd(cell[:, directions], full_matrices=True).Vh[:, len(directions) :]
        completed = cell.clone()
        completed[:, [axis for axis in range(3) if not flags[axis]]] = normal
    scale = torch.linalg.vector_norm(completed, dim=2).prod(dim=1)
    flat = ~(torch.linalg.det(completed).abs() > 1e-9 * scale)
    if bool(flat.any()):
        system = int(torch.nonzero(flat)[0])
        raise StructureError(
            f"the cell of structure {system}, {cell[system].tolist()}, has no volume along its periodic "
            f"directions (pbc {flags}); give three independent vectors or switch pbc off"
        )
    return completed


@dataclass(frozen=True)
class _Bins:
    """Atoms sorted into a grid of bins per system. All quantities are in fractional coordinates."""

    shape: Int[Tensor, "systems 3"]
    origin: Float[Tensor, "systems 3"]
    extent: Float[Tensor, "systems 3"]
    start: Int[Tensor, " systems"]  # number of the system's first bin
    order: Int[Tensor, " atoms"]  # atoms sorted by bin
    first: Int[Tensor, " bins"]
    count: Int[Tensor, " bins"]
    rings: tuple[int, int, int]  # how many bins to visit on either side

    @classmethod
    def build(
        cls,
        fractional: Float[Tensor, "atoms 3"],
        system: Int[Tensor, " atoms"],
        periodic: Bool[Tensor, "3"],
        inverse: Float[Tensor, "systems 3 3"],
        cutoff_A: float,
    ) -> "_Bins":
        n_systems = len(inverse)
        # The cutoff in units of the distance between opposite faces of the cell.
        reach = cutoff_A * torch.linalg.vector_norm(inverse, dim=1)
        low, high = _range_per_system(fractional, system, n_systems)
        origin = low.where(~periodic, 0)
        extent = (high - low).where(~periodic, 1.0).clamp(min=1e-6)
        atoms = torch.bincount(system, minlength=n_systems)
        most = (_BINS_PER_ATOM * atoms.to(extent)).pow(1 / 3).clamp(min=1)[:, None]
        shape = torch.floor(extent / reach).clamp(min=1).minimum(most.floor())
        rings = torch.ceil(reach * shape / extent)
        # Without images there is nothing beyond the first and the last bin.
        rings = rings.where(periodic, rings.minimum(shape - 1)).amax(dim=0).long().tolist()
        shape = shape.long()
        bins = shape.prod(dim=1)
        start = torch.cumsum(bins, 0) - bins
        index = _bin_of(fractional, system, shape, origin, extent)
        flat = start[system] + _ravel(index, shape[system])
        order = torch.argsort(flat, stable=True)
        count = torch.bincount(flat, minlength=int(bins.sum()))
        return cls(shape, origin, extent, start, order, torch.cumsum(count, 0) - count, count, tuple(rings))

    def candidates(
        self, fractional: Float[Tensor, "atoms 3"], system: Int[Tensor, " atoms"], periodic: Bool[Tensor, "3"]
    ) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"], Int[Tensor, "pairs 3"]]:
        """Centre, neighbour and lattice shift of every pair whose bins are near enough."""
        device = fractional.device
        steps = torch.cartesian_prod(*[torch.arange(-n, n + 1, device=device) for n in self.rings])
        shape = self.shape[system]
        own = _bin_of(fractional, system, self.shape, self.origin, self.extent)
        visited = own[:, None, :] + steps[None, :, :]
        shift = torch.div(visited, shape[:, None, :], rounding_mode="floor")
        inside = ((shift == 0) | periodic).all(dim=2)
        visited = visited - shift * shape[:, None, :]
        flat = (self.start[system][:, None] + _ravel(visited, shape[:, None, :])).flatten()
        count = self.count[flat] * inside.flatten()
        row = torch.repeat_interleave(count)
        within = torch.arange(len(row), device=device) - (torch.cumsum(count, 0) - count)[row]
        neighbour = self.order[self.first[flat][row] + within]
        return torch.div(row, len(steps), rounding_mode="floor"), neighbour, shift.reshape(-1, 3)[row]


def _range_per_system(
    fractional: Float[Tensor, "atoms 3"], system: Int[Tensor, " atoms"], n_systems: int
) -> tuple[Float[Tensor, "systems 3"], Float[Tensor, "systems 3"]]:
    index = system[:, None].expand(-1, 3)
    empty = fractional.new_zeros(n_systems, 3)
    low = empty.scatter_reduce(0, index, fractional, "amin", include_self=False)
    high = empty.scatter_reduce(0, index, fractional, "amax", include_self=False)
    return low, high


def _bin_of(
    fractional: Float[Tensor, "atoms 3"],
    system: Int[Tensor, " atoms"],
    shape: Int[Tensor, "systems 3"],
    origin: Float[Tensor, "systems 3"],
    extent: Float[Tensor, "systems 3"],
) -> Int[Tensor, "atoms 3"]:
    """Bin of each atom; rounding at the upper edge must not make a bin that does not exist."""
    shape = shape[system]
    index = ((fractional - origin[system]) / extent[system] * shape).long()
    return index.clamp(min=torch.zeros_like(shape), max=shape - 1)


def _ravel(index: Int[Tensor, "*shape 3"], shape: Int[Tensor, "*other 3"]) -> Int[Tensor, "*shape"]:
    return (index[..., 0] * shape[..., 1] + index[..., 1]) * shape[..., 2] + index[..., 2]


def _refuse_coincident(
    centre: Int[Tensor, " pairs"],
    neighbour: Int[Tensor, " pairs"],
    distance2: Float[Tensor, " pairs"],
    system: Int[Tensor, " atoms"],
) -> None:
    if len(distance2) == 0 or float(distance2.min()) > COINCIDENCE_A**2:
        return
    pair = int(distance2.argmin())
    first, second, structure = int(centre[pair]), int(neighbour[pair]), int(system[centre[pair]])
    offset = int((system < structure).sum())
    raise StructureError(
        f"atoms {first - offset} and {second - offset} of structure {structure} are at one place "
        f"({float(distance2[pair]) ** 0.5:.1e} Angstrom apart); remove one of them"
    )
