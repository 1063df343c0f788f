"""Two- and three-body functions of the surroundings of each atom, for fits and comparisons.

A neighbour density around atom i, expanded in radial functions g and monomials of direction,

    A_q,lm = sum_j g_k(r_ij) c(Z_j) Y_lm(d_ij / r_ij),   q = (k, c),

gives invariants sum_m A_q,lm A_q',lm for l = 0 to 3 beside the pair sums. They do not change under
rotation, translation, permutation and inversion. They are those of a moment tensor potential of
low level (Shapeev, Multiscale Model. Simul. 14, 1153 (2016), eq. 3), cheaper than eigenvalues of
overlap matrices and linear enough for a potential.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor

from entrove.fingerprints.batching import Batch
from entrove.fingerprints.neighbours import Neighbours, find_neighbours

PAIR_FUNCTIONS = 10
MOST_BLOCKS = 6
"""Elements beyond this number share one block of features, with a constant for each."""

_LARGEST_POWER = 3


def _monomials() -> tuple[list[tuple[int, int, int]], list[float], list[slice]]:
    """Powers of x, y, z up to the third degree, the roots of their counts, and the degrees."""
    powers, weights, degrees = [], [], []
    factorial = (1, 1, 2, 6)
    for degree in range(_LARGEST_POWER + 1):
        start = len(powers)
        for x in range(degree, -1, -1):
            for y in range(degree - x, -1, -1):
                z = degree - x - y
                powers.append((x, y, z))
                count = factorial[degree] / (factorial[x] * factorial[y] * factorial[z])
                weights.append(count**0.5)
        degrees.append(slice(start, len(powers)))
    return powers, weights, degrees


_POWERS, _WEIGHTS, _DEGREES = _monomials()


@dataclass(frozen=True)
class Surroundings:
    """A batch with the neighbours of its atoms, padded: what a basis is evaluated on."""

    batch: Batch
    displacement: Float[Tensor, "atoms slots 3"]
    is_neighbour: Float[Tensor, "atoms slots"]
    neighbour: Int[Tensor, "atoms slots"]

    @property
    def centre(self) -> Int[Tensor, "atoms slots"]:
        """The atom in the centre of each slot."""
        return torch.arange(len(self.neighbour))[:, None].expand_as(self.neighbour)

    def shortest_distances_A(self, systems: int) -> Float[np.ndarray, " systems"]:
        """The shortest distance within each system, infinite where no atom has a neighbour."""
        lengths = self.displacement.norm(dim=-1)
        lengths = torch.where(self.is_neighbour > 0, lengths, torch.inf)
        of_atoms = (
            lengths.amin(dim=1) if lengths.shape[1] else lengths.new_full((len(lengths),), 1e9)
        )
        shortest = torch.full((systems,), torch.inf, dtype=lengths.dtype)
        shortest = shortest.scatter_reduce(0, self.batch.state.system_idx, of_atoms, "amin")
        return shortest.numpy()


@dataclass(frozen=True)
class Basis:
    """Which elements, which cutoff; `width` numbers per structure."""

    species: tuple[int, ...]
    cutoff_A: float
    shortest_A: float

    @property
    def _shares_block(self) -> bool:
        return len(self.species) > MOST_BLOCKS

    @property
    def blocks(self) -> int:
        """Blocks of features: one per element of the centre, or one for all."""
        return 1 if self._shares_block else len(self.species)

    @property
    def _channels(self) -> int:
        return len(self.species) if len(self.species) <= 3 else 2

    @property
    def _radial(self) -> int:
        return 4 if self._channels <= 2 else 3

    @property
    def per_atom(self) -> int:
        """Number of invariants of an atom."""
        densities = self._radial * self._channels
        return PAIR_FUNCTIONS * self._channels + 4 * densities * (densities + 1) // 2

    @property
    def width(self) -> int:
        """Number of features of a structure: a constant per element, and the invariants."""
        return len(self.species) + self.blocks * self.per_atom

    def surroundings(self, batch: Batch) -> Surroundings:
        """Find neighbours. Raises `StructureError` for coincident atoms and flat cells."""
        return _pad(batch, find_neighbours(batch.state, self.cutoff_A))

    def of_atoms(
        self, around: Surroundings, displacement: Float[Tensor, "atoms slots 3"] | None = None
    ) -> Float[Tensor, "atoms features"]:
        """Invariants of every atom; with other displacements of its neighbours, of those."""
        x = around.displacement if displacement is None else displacement
        lengths = x.square().sum(-1).clamp_min(1e-12).sqrt()
        radial = (lengths / self.cutoff_A).clamp(max=1.0)
        envelope = (1 - radial.square()).pow(3) * around.is_neighbour
        channels = self._channel_table(x.dtype)[around.batch.state.atomic_numbers.long()]
        of_neighbours = channels[around.neighbour]
        pair = self._gaussians(lengths, PAIR_FUNCTIONS) * envelope[..., None]
        pairs = torch.bmm(pair.mT, of_neighbours).flatten(1)
        density = self._gaussians(lengths, self._radial) * envelope[..., None]
        density = (density[..., :, None] * of_neighbours[..., None, :]).flatten(2)
        unit = x / lengths[..., None]
        moments = torch.bmm(density.mT, _directions(unit)) * torch.tensor(_WEIGHTS, dtype=x.dtype)
        first, second = torch.triu_indices(density.shape[2], density.shape[2])
        products = [
            torch.bmm(moments[..., degree], moments[..., degree].mT)[:, first, second]
            for degree in _DEGREES
        ]
        return torch.cat([pairs, *products], dim=1)

    def sums(
        self, around: Surroundings, of_atoms: Float[Tensor, "atoms features"]
    ) -> Float[Tensor, "systems width"]:
        """Features of every system: counts of the elements, and sums over atoms by block."""
        state = around.batch.state
        places = self._places(state.atomic_numbers)
        systems, species = int(state.n_systems), len(self.species)
        counts = of_atoms.new_zeros(systems * species)
        counts.index_add_(0, state.system_idx * species + places, of_atoms.new_ones(len(places)))
        block = state.system_idx * self.blocks + (0 if self._shares_block else places)
        summed = of_atoms.new_zeros(systems * self.blocks, self.per_atom)
        summed = summed.index_add(0, block, of_atoms)
        return torch.cat([counts.view(systems, species), summed.view(systems, -1)], dim=1)

    def means_and_spreads(
        self, around: Surroundings, of_atoms: Float[Tensor, "atoms features"]
    ) -> tuple[Float[Tensor, "systems block_features"], Float[Tensor, "systems block_features"]]:
        """Means and standard deviations of invariants over the atoms of each block of a system.

        Both are zero for a block of which a system has no atom. Deviations are taken from the
        mean before they are squared: a difference of squares would leave equal surroundings a
        spread of 1e-8 of their invariants.
        """
        state = around.batch.state
        systems, atoms = int(state.n_systems), len(of_atoms)
        places = 0 if self._shares_block else self._places(state.atomic_numbers)
        block = state.system_idx * self.blocks + places
        counts = of_atoms.new_zeros(systems * self.blocks)
        counts = counts.index_add(0, block, of_atoms.new_ones(atoms)).clamp_min(1)[:, None]
        empty = of_atoms.new_zeros(systems * self.blocks, self.per_atom)
        means = empty.index_add(0, block, of_atoms) / counts
        squares = (of_atoms - means[block]).square()
        spreads = (empty.index_add(0, block, squares) / counts).sqrt()
        return means.view(systems, -1), spreads.view(systems, -1)

    def _places(self, numbers: Tensor) -> Tensor:
        table = torch.zeros(max(*self.species, 1) + 1, dtype=torch.int64)
        table[list(self.species)] = torch.arange(len(self.species))
        return table[numbers.long()]

    def _channel_table(self, dtype: torch.dtype) -> Tensor:
        table = torch.zeros(max(*self.species, 1) + 1, self._channels, dtype=dtype)
        chosen = list(self.species)
        if len(chosen) <= 3:
            table[chosen] = torch.eye(len(chosen), dtype=dtype)
            return table
        radii = torch.tensor(covalent_radii[chosen], dtype=dtype)
        table[chosen, 0] = 1.0
        table[chosen, 1] = (radii - radii.mean()) / radii.std().clamp_min(1e-3)
        return table

    def _gaussians(self, lengths: Tensor, count: int) -> Tensor:
        centres = torch.linspace(self.shortest_A, 0.95 * self.cutoff_A, count, dtype=lengths.dtype)
        spacing = (0.95 * self.cutoff_A - self.shortest_A) / max(count - 1, 1)
        return torch.exp(-0.5 * ((lengths[..., None] - centres) / spacing).square())


def choose_cutoff(volumes_per_atom_A3: Sequence[float], *, neighbours: float = 26.0) -> float:
    """Return the cutoff in Angstrom within which an atom has about so many neighbours."""
    volume = float(np.median(volumes_per_atom_A3)) if len(volumes_per_atom_A3) else 20.0
    return float(np.clip((neighbours * volume * 3 / (4 * np.pi)) ** (1 / 3), 3.0, 6.0))


def _directions(unit: Float[Tensor, "atoms slots 3"]) -> Float[Tensor, "atoms slots monomials"]:
    """Monomials of a direction, each made from one of the degree below."""
    x, y, z = unit.unbind(-1)
    made: dict[tuple[int, ...], Tensor] = {(0, 0, 0): torch.ones_like(x)}
    for powers in _POWERS[1:]:
        axis = next(axis for axis in range(3) if powers[axis])
        below = (*powers[:axis], powers[axis] - 1, *powers[axis + 1 :])
        made[powers] = made[below] * (x, y, z)[axis]
    return torch.stack([made[powers] for powers in _POWERS], dim=-1)


def _pad(batch: Batch, near: Neighbours) -> Surroundings:
    slots = int(near.count.max()) if len(near.count) else 0
    slot = torch.arange(slots)
    real = slot < near.count[:, None]
    pair = ((near.first[:, None] + slot) * real).clamp(max=max(len(near.neighbour) - 1, 0))
    if len(near.neighbour) == 0:
        empty = near.displacement.new_zeros(len(near.count), 0, 3)
        return Surroundings(batch, empty, empty[..., 0], torch.zeros(len(near.count), 0).long())
    # Padding sits at a distance of one Angstrom with weight zero: no derivative is undefined.
    shift = torch.tensor([1.0, 0.0, 0.0], dtype=near.displacement.dtype)
    displacement = torch.where(real[..., None], near.displacement[pair], shift)
    own = torch.arange(len(near.count))[:, None]
    return Surroundings(
        batch,
        displacement,
        real.to(displacement.dtype),
        torch.where(real, near.neighbour[pair], own),
    )
