"""What every batched model does to its results before it hands them out."""

import torch
from torch import Tensor
from torch_sim.state import SimState


def finish_results(state: SimState, results: dict[str, Tensor]) -> dict[str, Tensor]:
    """Settle the two cases in which networks return plausible nonsense.

    An atom at a non-finite position merely has no neighbours, so its network sees a free atom: here its
    whole system becomes NaN, for guards to see. A system without a volume has no stress: it becomes zero,
    where a network divides by a small number.
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
