"""Distances between atoms of many structures, in batches."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii

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
