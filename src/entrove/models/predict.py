"""Energy, forces and stress of a list of structures, in batches that fit into memory."""

import math
from collections.abc import Iterator, Sequence

import torch
import torch_sim
from ase import Atoms

from entrove.errors import StructureError
from entrove.models.loaded import LoadedModel
from entrove.structures import attach_results, copy_structure

DEFAULT_BATCH_SIZE = 64
PAIRS_PER_BATCH = 60_000
"""Neighbour pairs of one batch; SevenNet-0 takes about 40 kB a pair, so a batch stays below 3 GB."""


def predict(
    model: LoadedModel, structures: Sequence[Atoms], *, batch_size: int = DEFAULT_BATCH_SIZE
) -> list[Atoms]:
    """Return copies of `structures`, in their order, with the model's energy, forces and stress attached.

    A batch holds at most `batch_size` structures, and fewer when they are large or dense, so that memory is
    bounded whatever the list. Structures of different periodicity may be mixed. Info and arrays are kept.
    Raises `ModelError` for an element that the model does not know and `StructureError` for a structure
    without atoms.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; it must be at least 1")
    for index, atoms in enumerate(structures):
        if len(atoms) == 0:
            raise StructureError(f"structure {index} has no atoms; remove it")
    model.check_species(structures)
    labelled: list[Atoms | None] = [None] * len(structures)
    for batch in plan_batches(structures, model.cutoff_A, batch_size):
        state = torch_sim.initialize_state(
            [copy_structure(structures[index]) for index in batch], model.model.device, model.model.dtype
        )
        results = {name: value.detach().cpu().double() for name, value in model.model(state).items()}
        forces = torch.split(results["forces"], [len(structures[index]) for index in batch])
        for row, index in enumerate(batch):
            labelled[index] = attach_results(
                structures[index],
                float(results["energy"][row]),
                forces[row].numpy(),
                results["stress"][row].numpy(),
            )
    return [atoms for atoms in labelled if atoms is not None]


def plan_batches(structures: Sequence[Atoms], cutoff_A: float | None, batch_size: int) -> Iterator[list[int]]:
    """Group the indices of `structures` into batches of one periodicity and bounded size.

    Structures of similar size share a batch. A structure that exceeds the bound on its own is a batch.
    """
    order = sorted(
        range(len(structures)), key=lambda index: (tuple(structures[index].pbc), len(structures[index]))
    )
    batch: list[int] = []
    pairs = 0.0
    for index in order:
        cost = _expected_pairs(structures[index], cutoff_A)
        full = len(batch) == batch_size or pairs + cost > PAIRS_PER_BATCH
        if batch and (full or (structures[index].pbc != structures[batch[0]].pbc).any()):
            yield batch
            batch, pairs = [], 0.0
        batch.append(index)
        pairs += cost
    if batch:
        yield batch


def _expected_pairs(atoms: Atoms, cutoff_A: float | None) -> float:
    if cutoff_A is None:
        return float(len(atoms))
    volume = atoms.cell.volume if atoms.pbc.all() else 0.0
    # Without a volume to go by: the density of close-packed small atoms, no more pairs than there are.
    density = len(atoms) / volume if volume > 0.0 else 0.2
    per_atom = density * 4.0 / 3.0 * math.pi * cutoff_A**3
    return len(atoms) * (per_atom if atoms.pbc.any() else min(per_atom, float(len(atoms))))
