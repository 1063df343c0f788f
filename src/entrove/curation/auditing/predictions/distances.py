"""Distances between atoms of many structures, in batches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float

from entrove.curation.auditing.predictions.basis import Basis, Surroundings
from entrove.curation.auditing.predictions.quick_potential import over_batches
from entrove.errors import StructureError
from entrove.fingerprints.batching import Batch, to_batches


def distances(basis: Basis, structures: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Shortest distance of each structure in Angstrom, and relative to sums of radii.

    Both are infinite beyond the cutoff of the basis, and zero for coincident atoms.
    """
    shortest, near = np.zeros(len(structures)), np.zeros(len(structures))

    def measure(batch: Batch, members: np.ndarray) -> None:
        around = basis.surroundings(batch)
        places = members[batch.structures]
        shortest[places] = around.shortest_distances_A(len(places))
        near[places] = nearness(around, len(places))

    over_fine_batches(measure, structures)
    return shortest, near


@dataclass(frozen=True)
class PairDistances:
    """All distances of a structure of `atoms` atoms within the cutoff, by pairs of elements.

    `lengths_A` holds them sorted, under both atomic numbers.
    """

    atoms: int
    cutoff_A: float
    lengths_A: dict[tuple[int, int], Float[np.ndarray, " pairs"]]

    def apart_A(self, other: "PairDistances") -> float:
        """Root mean square difference of sorted distances, one by one, in Angstrom.

        Zero for equal geometries, whatever their orientation, order of the atoms and choice of
        the cell. A distance that only one of the two has counts as one at the cutoff.
        """
        common = math.gcd(self.atoms, other.atoms)
        mine, others = other.atoms // common, self.atoms // common
        squares = total = 0.0
        for pair in sorted(self.lengths_A.keys() | other.lengths_A.keys()):
            first = np.repeat(self.lengths_A.get(pair, _NO_LENGTHS), mine)
            second = np.repeat(other.lengths_A.get(pair, _NO_LENGTHS), others)
            count = max(len(first), len(second))
            first, second = (
                np.pad(lengths, (0, count - len(lengths)), constant_values=self.cutoff_A)
                for lengths in (first, second)
            )
            squares += float(((first - second) ** 2).sum())
            total += count
        return math.sqrt(squares / total) if total else 0.0


_NO_LENGTHS = np.zeros(0)


def pair_distances(basis: Basis, structures: Sequence[Atoms]) -> list[PairDistances]:
    """Sorted distances of structures. Raises `StructureError` for coincident atoms."""
    found: dict[int, PairDistances] = {}

    def measure(batch: Batch) -> None:
        around = basis.surroundings(batch)
        numbers = around.batch.state.atomic_numbers.long()
        is_pair = around.is_neighbour > 0
        lengths = around.displacement.norm(dim=-1)[is_pair].numpy()
        centres, others = (
            numbers[atoms][is_pair].numpy() for atoms in (around.centre, around.neighbour)
        )
        system = around.batch.state.system_idx[around.centre][is_pair].numpy()
        for place, index in enumerate(batch.structures.tolist()):
            own = system == place
            by_pair = {
                (int(a), int(b)): np.sort(lengths[own & (centres == a) & (others == b)])
                for a, b in np.unique(np.stack([centres[own], others[own]], axis=1), axis=0)
                if a <= b
            }
            found[index] = PairDistances(len(structures[index]), basis.cutoff_A, by_pair)

    over_batches(measure, structures)
    return [found[index] for index in range(len(structures))]


def over_fine_batches(
    function: Callable[[Batch, np.ndarray], None], structures: Sequence[Atoms]
) -> np.ndarray:
    """Apply a function to batches of structures; returns for which of them it could be done.

    The function raises `StructureError` for a batch with coincident atoms: then each structure of
    it becomes a batch of its own.
    """
    fine = np.ones(len(structures), dtype=bool)

    def attempt(batch: Batch) -> None:
        try:
            function(batch, np.arange(len(structures)))
        except StructureError:
            for place in batch.structures:
                try:
                    (alone,) = to_batches([structures[place]])
                    function(alone, np.array([place]))
                except StructureError:
                    fine[place] = False

    over_batches(attempt, structures)
    return fine


def nearness(around: Surroundings, systems: int) -> np.ndarray:
    """The shortest distance of each system relative to the sum of the covalent radii."""
    state = around.batch.state
    if around.displacement.shape[1] == 0:
        return np.full(systems, np.inf)
    radii = torch.as_tensor(covalent_radii)[state.atomic_numbers.long()]
    sums = radii[:, None] + radii[around.neighbour]
    ratio = around.displacement.norm(dim=-1) / sums
    ratio = torch.where(around.is_neighbour > 0, ratio, torch.inf).amin(dim=1)
    shortest = torch.full((systems,), torch.inf, dtype=ratio.dtype)
    return shortest.scatter_reduce(0, state.system_idx, ratio, "amin").numpy()
