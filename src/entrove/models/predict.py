"""Energy, forces and stress of a list of structures, in batches that fit into memory."""

import math
from collections.abc import Iterator, Sequence

import torch
import torch_sim
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from entrove.errors import StructureError
from entrove.models.loaded import LoadedModel
from entrove.structures import copy_structure

DEFAULT_BATCH_SIZE = 64
BYTES_PER_PAIR = 300_000
"""Measured peak memory per neighbour pair: 130 kB with SevenNet-0, 300 kB with SevenNet-l3i5."""

PAIRS_ON_CPU = 10_000
"""Neighbour pairs of one batch on the CPU, about 3 GB; larger batches are no faster there."""

ENERGY_SPREAD_KEY = "entrove_energy_spread_eV"
FORCES_SPREAD_KEY = "entrove_forces_spread_eV_per_A"


def predict(
    model: LoadedModel, structures: Sequence[Atoms], *, batch_size: int = DEFAULT_BATCH_SIZE
) -> list[Atoms]:
    """Return copies of `structures`, in their order, with the model's energy, forces and stress attached.

    A batch holds at most `batch_size` structures, and fewer when they are large or dense, so that memory is
    bounded whatever the list. Structures of different periodicity may be mixed. Info and arrays are kept.
    A committee's spread is put into `info[ENERGY_SPREAD_KEY]` (eV) and `arrays[FORCES_SPREAD_KEY]` (eV/A).
    Raises `ModelError` for an element that the model does not know and `StructureError` for a structure
    without atoms.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; it must be at least 1")
    for index, atoms in enumerate(structures):
        if len(atoms) == 0:
            raise StructureError(f"structure {index} has no atoms; remove it")
    model.check_species(structures)
    labelled: dict[int, Atoms] = {}
    for batch in plan_batches(
        structures, model.cutoff_A, batch_size, pairs_that_fit(model.model.device)
    ):
        chosen = [structures[index] for index in batch]
        state = torch_sim.initialize_state(
            [copy_structure(atoms) for atoms in chosen], model.model.device, model.model.dtype
        )
        results = {
            name: value.detach().cpu().double() for name, value in model.model(state).items()
        }
        labelled |= zip(batch, _attach(chosen, results), strict=True)
    return [labelled[index] for index in range(len(structures))]


def _attach(structures: Sequence[Atoms], results: dict[str, Tensor]) -> Iterator[Atoms]:
    sizes = [len(atoms) for atoms in structures]
    per_atom = {
        name: torch.split(results[name], sizes)
        for name in ("forces", "forces_spread")
        if name in results
    }
    for row, atoms in enumerate(structures):
        labelled = atoms.copy()
        properties = {
            "energy": float(results["energy"][row]),
            "forces": per_atom["forces"][row].numpy(),
        }
        if "stress" in results:
            properties["stress"] = full_3x3_to_voigt_6_stress(results["stress"][row].numpy())
        labelled.calc = SinglePointCalculator(labelled, **properties)
        if "energy_spread" in results:
            labelled.info[ENERGY_SPREAD_KEY] = float(results["energy_spread"][row])
            labelled.arrays[FORCES_SPREAD_KEY] = per_atom["forces_spread"][row].numpy()
        yield labelled


def pairs_that_fit(device: torch.device) -> int:
    """Count the neighbour pairs of a batch that may be in memory at once."""
    if device.type != "cuda":
        return PAIRS_ON_CPU
    free_bytes, _total = torch.cuda.mem_get_info(device)
    # What torch keeps for later tensors is taken to the driver, and free to us.
    free_bytes += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(PAIRS_ON_CPU, free_bytes // (2 * BYTES_PER_PAIR))


def plan_batches(
    structures: Sequence[Atoms], cutoff_A: float | None, batch_size: int, most_pairs: int
) -> Iterator[list[int]]:
    """Group the indices of `structures` into batches of one periodicity and bounded size.

    Structures of similar size share a batch. A structure that exceeds the bound on its own is a batch.
    """
    order = sorted(
        range(len(structures)),
        key=lambda index: (tuple(structures[index].pbc), len(structures[index])),
    )
    batch: list[int] = []
    pairs = 0.0
    for index in order:
        cost = _expected_pairs(structures[index], cutoff_A)
        full = len(batch) == batch_size or pairs + cost > most_pairs
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
    return expected_pairs(len(atoms), atoms.cell.volume, atoms.pbc.tolist(), cutoff_A)


def expected_pairs(atoms: int, volume_A3: float, pbc: Sequence[bool], cutoff_A: float) -> float:
    """Estimate the directed neighbour pairs of a structure from its density."""
    # Without a volume to go by: the density of close-packed small atoms, no more pairs than there are.
    density = atoms / volume_A3 if all(pbc) and volume_A3 > 0.0 else 0.2
    per_atom = density * 4.0 / 3.0 * math.pi * cutoff_A**3
    return atoms * (per_atom if any(pbc) else min(per_atom, float(atoms)))
