"""The displacements and strains along which a structure is moved to get the rows of its labels.

All force and stress rows of a structure are R_FS = B J, with the derivatives J of its summed
features by positions and strain, and the noise levels B. Moving all atoms together changes
nothing, so n - 1 directions per Cartesian axis hold all forces; an orthonormal set of these leaves
R^T R as it is. The six strains are e_i e_i^T and (e_i e_j^T + e_j e_i^T) / sqrt(2), so that R^T R
does not depend on the orientation of the crystal either.

With fewer directions p than rows m the rows are a random sketch, sqrt(m / p) Omega R_FS with
orthonormal rows Omega: the mean of its Gram matrix over the draws is R_FS^T R_FS.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from entrove.entropy.typed_torch import qr
from entrove.structures import canonical_order, content_hash


@dataclass(frozen=True)
class Directions:
    """Directions of one structure: a row is the derivative of X along one of them.

    `displacements` (A) and `strains` (no unit) belong together: r -> (1 + t strain) r + t
    displacement. Noise levels and the factor of a sketch are contained. `labels` is the number of
    directions that a sketch stands for, without it their own number.
    """

    displacements: Float[Tensor, "directions atoms 3"]
    strains: Float[Tensor, "directions 3 3"]
    labels: int


@dataclass(frozen=True)
class NoiseOfRows:
    """Noise of a force component in eV/A and of a stress component in eV/A^3; None: no label."""

    force_eV_per_A: float | None
    stress_eV_per_A3: float | None


def directions_of(atoms: Atoms, noise: NoiseOfRows, most: int | None) -> Directions:
    """Return the directions of a structure; more than `most` of them become a random sketch.

    The sketch depends on the structure only: equal structures get the same one, in any order of
    their atoms.
    """
    n = len(atoms)
    moves = 3 * (n - 1) if noise.force_eV_per_A is not None else 0
    strains = 6 if noise.stress_eV_per_A3 is not None and bool(atoms.pbc.all()) else 0
    rows = moves + strains
    kept = rows if most is None else min(rows, most)
    combinations = (
        torch.eye(rows, dtype=torch.float64) if kept == rows else _sketch(atoms, kept, rows)
    )
    displacements = torch.zeros(kept, n, 3, dtype=torch.float64)
    if noise.force_eV_per_A is not None and moves:
        basis = _without_translation(n)[np.argsort(canonical_order(atoms))]
        by_axis = combinations[:, :moves].reshape(kept, n - 1, 3)
        displacements = -torch.einsum("nb,kbc->knc", basis, by_axis) / noise.force_eV_per_A
    strain = torch.zeros(kept, 3, 3, dtype=torch.float64)
    if noise.stress_eV_per_A3 is not None and strains:
        stress_eV = abs(atoms.cell.volume) * noise.stress_eV_per_A3
        strain = torch.einsum("ks,sab->kab", combinations[:, moves:], STRAINS) / stress_eV
    return Directions(displacements, strain, rows)


def _strains() -> Float[Tensor, "6 3 3"]:
    basis = torch.zeros(6, 3, 3, dtype=torch.float64)
    for row, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        basis[row, a, b] = basis[row, b, a] = 1.0 if a == b else math.sqrt(0.5)
    return basis


STRAINS = _strains()
"""An orthonormal basis of the symmetric matrices, in the order xx, yy, zz, yz, xz, xy."""


def _without_translation(n: int) -> Float[Tensor, "n rest"]:
    """Orthonormal columns that are orthogonal to (1, ..., 1): the Helmert matrix."""
    basis = torch.zeros(n, n - 1, dtype=torch.float64)
    for column in range(n - 1):
        basis[: column + 1, column] = 1.0
        basis[column + 1, column] = -(column + 1.0)
    return basis / basis.square().sum(0).sqrt()


def _sketch(atoms: Atoms, kept: int, rows: int) -> Float[Tensor, "kept rows"]:
    seed = int(content_hash(atoms)[:12], 16)
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(rows, kept, generator=generator, dtype=torch.float64)
    return math.sqrt(rows / kept) * qr(square)[0].mT.contiguous()
