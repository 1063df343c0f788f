"""Cells of slabs, wires and molecules: three independent vectors where fewer are periodic."""

import torch
from jaxtyping import Float
from torch import Tensor


def complete_cell(
    cell: Float[Tensor, "systems 3 3"], periodic: list[bool]
) -> Float[Tensor, "systems 3 3"]:
    """Replace vectors along directions that are not periodic by unit normals to the others.

    Args:
        cell: Cells, whose rows are the lattice vectors.
        periodic: Which directions are periodic, in all of these cells.
    """
    directions = [axis for axis in range(3) if periodic[axis]]
    if not directions:
        return torch.eye(3, dtype=cell.dtype, device=cell.device).repeat(len(cell), 1, 1)
    # The right singular vectors beyond the rank span the space normal to the periodic vectors.
    normal = torch.linalg.svd(cell[:, directions], full_matrices=True).Vh[:, len(directions) :]
    completed = cell.clone()
    completed[:, [axis for axis in range(3) if not periodic[axis]]] = normal
    return completed
