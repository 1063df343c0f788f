"""What every batched model needs: the size of a batch, its pieces, and the end of its results."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch_sim.state import SimState

from entrove.models.neighbours import Neighbours

BYTES_PER_PAIR = 300_000
"""Measured peak memory per neighbour pair: 130 kB with SevenNet-0, 300 kB with SevenNet-l3i5."""

PAIRS_ON_CPU = 10_000
"""Neighbour pairs of one batch on the CPU, about 3 GB; larger batches are no faster there."""


def pairs_that_fit(device: torch.device) -> int:
    """Count the neighbour pairs of a batch that may be in memory at once."""
    if device.type != "cuda":
        return PAIRS_ON_CPU
    free_bytes, _total = torch.cuda.mem_get_info(device)
    # The driver counts what torch keeps for later tensors as taken, but it is free for us.
    free_bytes += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(PAIRS_ON_CPU, free_bytes // (2 * BYTES_PER_PAIR))


def expected_pairs(atoms: int, volume_A3: float, pbc: Sequence[bool], cutoff_A: float) -> float:
    """Estimate the directed neighbour pairs of a structure from its density."""
    # Without a volume to divide by: the density of close-packed small atoms, at most all pairs.
    density = atoms / volume_A3 if all(pbc) and volume_A3 > 0.0 else 0.2
    per_atom = density * 4.0 / 3.0 * math.pi * cutoff_A**3
    return atoms * (per_atom if any(pbc) else min(per_atom, float(atoms)))


@dataclass(frozen=True)
class Piece:
    """Successive systems of a batch, with the ranges of their atoms and neighbour pairs."""

    systems: slice
    atoms: slice
    pairs: slice


def cut_between_systems(
    state: SimState, neighbours: Neighbours, wanted: int, extra_cuts: Sequence[int] = ()
) -> list[Piece]:
    """Cut a batch between systems into about `wanted` pieces of about equal numbers of pairs.

    No system is cut, so there may be fewer pieces. `extra_cuts` are systems before which a cut is
    made in any case.
    """
    pairs, systems = len(neighbours.centre), state.n_systems
    # Atoms are sorted by system and pairs by their centre: what belongs to a system ends here.
    ends_of_atoms = state.system_idx.bincount(minlength=systems).cumsum(0)
    ends_of_pairs = torch.searchsorted(neighbours.centre, ends_of_atoms)
    cuts = set(extra_cuts)
    if min(wanted, systems) > 1:
        shares = torch.arange(1, wanted, device=ends_of_pairs.device) * pairs // wanted
        cuts |= set(torch.searchsorted(ends_of_pairs, shares).add_(1).tolist())
    starts = [0, *sorted(cut for cut in cuts if 0 < cut < systems), systems]
    of_atoms, of_pairs = [0, *ends_of_atoms.tolist()], [0, *ends_of_pairs.tolist()]
    return [
        Piece(
            slice(first, last),
            slice(of_atoms[first], of_atoms[last]),
            slice(of_pairs[first], of_pairs[last]),
        )
        for first, last in pairwise(starts)
    ]


def finish_results(state: SimState, results: dict[str, Tensor]) -> dict[str, Tensor]:
    """Correct the two cases in which networks return plausible nonsense.

    An atom at a non-finite position merely has no neighbours, so its network sees a free atom:
    here its whole system becomes NaN, for guards to see. A system without a volume has no stress:
    it becomes zero, where a network divides by a small number.
    """
    # x * 0 is NaN for a non-finite x, and zero otherwise.
    taint = torch.zeros(
        state.n_systems, dtype=state.positions.dtype, device=state.positions.device
    )
    taint = taint.index_add(0, state.system_idx, (state.positions.detach() * 0.0).sum(dim=1))
    has_volume = torch.linalg.det(state.cell.detach()) != 0
    stress = torch.where(has_volume[:, None, None], results["stress"], 0.0)
    return results | {
        "energy": results["energy"] + taint,
        "forces": results["forces"] + taint[state.system_idx, None],
        "stress": stress + taint[:, None, None],
    }
