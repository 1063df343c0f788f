"""ASE `Atoms` at the edge, torch-sim `SimState` in flight."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import StructureError


@dataclass(frozen=True)
class Batch:
    """Structures of one periodicity as a `SimState`, and where they came from.

    `structures` are positions in the list that was given, `atoms` the rows of these structures'
    atoms in the concatenation of the whole list.
    """

    state: SimState
    structures: Int[np.ndarray, " systems"]
    atoms: Int[np.ndarray, " atoms"]


@contextmanager
def naming_structures(positions: Sequence[int]) -> Iterator[None]:
    """Let errors inside name structures of a batch by their position in the list they came from.

    `positions` has that position of each structure of the batch.
    """
    try:
        yield
    except StructureError as error:
        if error.structure is None:
            raise
        raise error.at(int(positions[error.structure])) from error


def to_state(
    structures: Sequence[Atoms],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
) -> SimState:
    """Join structures of one periodicity into a batch.

    Raises `StructureError` when the list or a structure is empty, or when periodicities differ.
    """
    _refuse_empty(structures)
    for index, atoms in enumerate(structures):
        if (atoms.pbc != structures[0].pbc).any():
            raise StructureError(
                f"{{structure}} has pbc {atoms.pbc.tolist()} but the first one has "
                f"{structures[0].pbc.tolist()}; one batch has one periodicity: use to_batches",
                index,
            )
    counts = np.array([len(atoms) for atoms in structures])

    def tensor(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(array, dtype=dtype, device=device)

    return SimState(
        positions=tensor(np.concatenate([atoms.positions for atoms in structures]), dtype),
        masses=tensor(np.concatenate([atoms.get_masses() for atoms in structures]), dtype),
        # torch-sim stores cell vectors as columns, ASE as rows.
        cell=tensor(np.stack([atoms.cell.array.T for atoms in structures]), dtype),
        pbc=tensor(structures[0].pbc, torch.bool),
        atomic_numbers=tensor(
            np.concatenate([atoms.numbers for atoms in structures]), torch.int64
        ),
        system_idx=tensor(np.repeat(np.arange(len(structures)), counts), torch.int64),
    )


def pick_systems(state: SimState, chosen: Bool[Tensor, " systems"]) -> SimState:
    """Return positions, cell and species of the chosen systems as a batch of their own.

    Args:
        state: A batch.
        chosen: Which of its systems, on any device.

    Returns the batch itself, no copy, when all are chosen.
    """
    if bool(chosen.all()):
        return state
    chosen = chosen.to(state.device)
    of_atoms = chosen[state.system_idx]
    return SimState(
        positions=state.positions[of_atoms],
        masses=state.masses[of_atoms],
        cell=state.cell[chosen],
        pbc=state.pbc,
        atomic_numbers=state.atomic_numbers[of_atoms],
        system_idx=(chosen.cumsum(0) - 1)[state.system_idx[of_atoms]],
    )


def to_batches(
    structures: Sequence[Atoms],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
    max_atoms: int | None = None,
) -> Iterator[Batch]:
    """Group structures by periodicity and yield batches, each of at most `max_atoms` atoms.

    A structure larger than `max_atoms` makes a batch of its own. Order inside a batch is the given
    order. Raises `StructureError` when the list or a structure is empty.
    """
    _refuse_empty(structures)
    first_atom = np.concatenate([[0], np.cumsum([len(atoms) for atoms in structures])])
    groups: dict[tuple[bool, ...], list[int]] = {}
    for index, atoms in enumerate(structures):
        groups.setdefault(tuple(atoms.pbc.tolist()), []).append(index)
    for group in groups.values():
        for members in _split(group, first_atom, max_atoms):
            yield Batch(
                state=to_state(
                    [structures[index] for index in members], device=device, dtype=dtype
                ),
                structures=np.array(members),
                atoms=np.concatenate(
                    [np.arange(first_atom[i], first_atom[i + 1]) for i in members]
                ),
            )


def _refuse_empty(structures: Sequence[Atoms]) -> None:
    if not structures:
        raise StructureError("no structures were given; pass at least one ase.Atoms")
    for index, atoms in enumerate(structures):
        if len(atoms) == 0:
            raise StructureError("{structure} has no atoms; remove it from the list", index)


def _split(group: list[int], first_atom: np.ndarray, max_atoms: int | None) -> Iterator[list[int]]:
    members: list[int] = []
    count = 0
    for index in group:
        size = int(first_atom[index + 1] - first_atom[index])
        if members and max_atoms is not None and count + size > max_atoms:
            yield members
            members, count = [], 0
        members.append(index)
        count += size
    yield members
