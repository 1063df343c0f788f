"""Structures to one batch, and sums over the atoms of each system of a batch."""

from collections.abc import Sequence
from typing import Literal

import torch
from ase import Atoms
from jaxtyping import Shaped
from torch import Tensor
from torch_sim.io import atoms_to_state
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove.errors import ModelError, StructureError


def gather_batch(
    structures: Sequence[Atoms], model: ModelInterface, *, needs_volume: bool = False
) -> SimState:
    """Put structures into one float64 batch on the device of the model.

    Raises `StructureError` when there are none, when their periodicity differs (a batch has one),
    or when `needs_volume` and a structure is not periodic in three dimensions.
    """
    if not structures:
        raise StructureError("no structure was given; a batch needs at least one")
    kinds = {tuple(bool(flag) for flag in atoms.pbc) for atoms in structures}
    if len(kinds) > 1:
        raise StructureError(
            f"structures with different periodicity ({', '.join(map(str, sorted(kinds)))}) cannot "
            "share a batch; give all of them the same pbc"
        )
    is_crystal = all(kinds.pop())
    if needs_volume and not is_crystal:
        raise StructureError(
            "a pressure needs structures that are periodic in three dimensions; set pbc=True"
        )
    state = atoms_to_state(list(structures), device=model.device, dtype=torch.float64)
    # torch-sim's barostats and cell filters take the determinant of the cell for the volume: two
    # lattice vectors of a left-handed cell change places, which leaves a crystal as it is. Where
    # only some directions are periodic, it would not, and nothing needs a volume.
    if is_crystal:
        left_handed = (torch.det(state.cell) < 0)[:, None, None]
        state.cell = torch.where(left_handed, state.cell[:, :, [0, 2, 1]], state.cell)
    return state


def require_stress(model: ModelInterface, what: str, instead: str) -> None:
    """Raise `ModelError` when `model` computes no stress, which `what` needs.

    `instead` says in the message what to use without a stress.
    """
    if not model.compute_stress:
        raise ModelError(
            f"{what} needs the stress, which this model ({type(model).__name__}) does not "
            f"compute; use {instead}, or a model with stress"
        )


def reduce_atoms(
    per_atom: Shaped[Tensor, "atoms ..."], state: SimState, reduce: Literal["sum", "mean", "amax"]
) -> Shaped[Tensor, "systems ..."]:
    """Reduce per-atom numbers to one for each system."""
    shape = (state.cell.shape[0], *per_atom.shape[1:])
    index = state.system_idx.reshape(-1, *([1] * (per_atom.ndim - 1))).expand_as(per_atom)
    start = torch.zeros(shape, dtype=per_atom.dtype, device=per_atom.device)
    return start.scatter_reduce(0, index, per_atom, reduce=reduce, include_self=False)
