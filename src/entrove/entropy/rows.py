"""From the features of a batch to the rows whose entropy is taken, and back.

A row is the features of one atom (mode per_atom), or the mean over the atoms of one species in one
configuration (mode per_config). Rows of different species never meet in one statistic, unless the
species share one block on request.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entrove.entropy.config import Mode
from entrove.entropy.typed_torch import distinct
from entrove.features import AtomFeatures

SHARED = 0
"""Key of the one block that all species share when `species_blocks` is false."""


@dataclass(frozen=True)
class SpeciesRows:
    """The rows of one species in a batch, ordered by system.

    `slot` counts a row among the rows of its own system; `weight` of an atom is its share of its
    row (1, or 1/n for the mean over n atoms).
    """

    number: int
    values: Float[Tensor, "rows features"]
    system_idx: Int[Tensor, " rows"]
    slot: Int[Tensor, " rows"]
    count: Int[Tensor, " systems"]
    atom: Int[Tensor, " members"]
    row_of_atom: Int[Tensor, " members"]
    weight: Float[Tensor, " members"]

    def pad(self, rows: Float[Tensor, "rows width"]) -> Float[Tensor, "systems slots width"]:
        """Arrange rows by system; slots beyond a system's own rows are zero."""
        slots = int(self.count.max())
        padded = rows.new_zeros((len(self.count), slots, rows.shape[1]))
        padded[self.system_idx, self.slot] = rows
        return padded

    def unpad(self, padded: Float[Tensor, "systems slots width"]) -> Float[Tensor, "rows width"]:
        """Undo `pad`."""
        return padded[self.system_idx, self.slot]

    def spread(
        self, gradient: Float[Tensor, "rows features"], out: Float[Tensor, "atoms features"]
    ) -> None:
        """Write d/d(atom features) for a gradient with respect to the rows into `out`."""
        out[self.atom] = (gradient[self.row_of_atom] * self.weight[:, None]).to(out.dtype)


def split_rows(
    batch: AtomFeatures, mode: Mode, *, species_blocks: bool = True
) -> list[SpeciesRows]:
    """Split a batch into the rows of each species, in float64.

    The order of the species is that of their atomic numbers; systems without a species have no row
    in its block. Without `species_blocks` all atoms form one block, with the key `SHARED`.
    """
    if not species_blocks:
        all_atoms = torch.arange(len(batch.numbers), device=batch.values.device)
        return [_rows_of(SHARED, all_atoms, batch, mode)]
    numbers = distinct(batch.numbers)
    return [
        _rows_of(number, torch.nonzero(batch.numbers == number).squeeze(1), batch, mode)
        for number in numbers
    ]


def _rows_of(
    number: int, members: Int[Tensor, " members"], batch: AtomFeatures, mode: Mode
) -> SpeciesRows:
    order = torch.argsort(batch.system_idx[members], stable=True)
    atom = members[order]
    system = batch.system_idx[atom]
    count = torch.bincount(system, minlength=batch.n_systems)
    features = batch.values.detach()[atom].to(torch.float64)
    positions = torch.arange(len(atom), device=features.device)
    if mode == "per_atom":
        first = torch.cumsum(count, 0) - count
        return SpeciesRows(
            number=number,
            values=features,
            system_idx=system,
            slot=positions - first[system],
            count=count,
            atom=atom,
            row_of_atom=positions,
            weight=torch.ones_like(features[:, 0]),
        )
    present = count > 0
    row_of_system = torch.cumsum(present, 0) - 1
    row_of_atom = row_of_system[system]
    weight = 1.0 / count[system].to(torch.float64)
    rows = torch.nonzero(present).squeeze(1)
    means = features.new_zeros((len(rows), features.shape[1]))
    means.index_add_(0, row_of_atom, features * weight[:, None])
    return SpeciesRows(
        number=number,
        values=means,
        system_idx=rows,
        slot=torch.zeros_like(rows),
        count=present.to(count.dtype),
        atom=atom,
        row_of_atom=row_of_atom,
        weight=weight,
    )
