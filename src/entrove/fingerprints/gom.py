"""Gaussian overlap matrix (GOM) fingerprints of every atom of a batch, and their pull-back.

Atoms are sorted by the size of their spheres and cut into chunks that fit the cache (CPU) or a
fixed share of memory (GPU); a chunk is padded to its largest sphere. Eigenvectors of a chunk are
kept for the pull-back while all of them fit `STORED_BYTES`; beyond that the pull-back solves the
chunk again. So memory stays O(atoms) with a small, known constant.

Ref: Zhu et al., J. Chem. Phys. 144, 034203 (2016).
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import ConfigError
from entrove.features import PullBack
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.lengths import with_distinct_widths
from entrove.fingerprints.neighbours import Neighbours, find_neighbours
from entrove.fingerprints.overlaps import Spheres, contract, orbital_matrix
from entrove.fingerprints.radii import shared_widths, width_table
from entrove.fingerprints.spectrum import average_over_clusters, diagonalise, outer_sum
from entrove.threads import claim_threads, even_pieces, map_over_threads

logger = logging.getLogger(__name__)

STORED_BYTES = 160 * 2**20
"""Eigenvectors kept between values and pull-back; the rest is computed twice."""

CHUNK_BYTES_CPU = 2**20
CHUNK_BYTES_GPU = 256 * 2**20
"""Size of one matrix array of a chunk; half a dozen of them are alive at a time."""


class GaussianOverlap:
    """The fingerprint of each atom: eigenvalues of the damped overlap matrix of its sphere.

    A `FeatureMap`.

    Args:
        config: Cutoff, length, orbitals and widths; defaults when left out.
        device: Where it is computed, such as "cpu" or "cuda".

    Raises `ConfigError` when the length is still "auto" (see `resolve_length`).
    """

    def __init__(
        self, config: FingerprintConfig | None = None, device: str | torch.device = "cpu"
    ):
        self.config = config or FingerprintConfig()
        if self.config.length == "auto":
            raise ConfigError(
                "length='auto' needs structures to choose from; pass the result of "
                "resolve_length(config, structures), or a number"
            )
        self.length: int = self.config.length
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, self.config.dtype)
        table = width_table(self.config.radii_A)
        self._widths = torch.as_tensor(table, dtype=self.dtype, device=self.device)
        self._seen = torch.zeros(len(table), dtype=torch.bool, device=self.device)

    @classmethod
    def of_system(cls, structures: Iterable[Atoms]) -> "GaussianOverlap":
        """The default fingerprint, with widths that tell the elements of structures apart.

        Args:
            structures: They have all elements that the fingerprint will meet.
        """
        return cls(with_distinct_widths(FingerprintConfig(), structures))

    def describe(self) -> dict[str, object]:
        """Identity of the fingerprint; precision is not part of it."""
        return {
            "kind": "gaussian_overlap",
            "version": 1,
            "cutoff_A": self.config.cutoff_A,
            "length": self.length,
            "orbitals": self.config.orbitals,
            "radii_A": dict(sorted((self.config.radii_A or {}).items())),
        }

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> "GaussianOverlapFeatures":
        """Compute the fingerprints of every atom of a batch.

        Args:
            state: The batch.
            pull_back: Whether gradients will be asked for; values alone take less memory.

        Raises `StructureError` for two atoms at one place, positions that are not finite or a flat
        cell, and `ConfigError` for an element without a width.
        """
        if state.device != self.device or state.dtype != self.dtype:
            state = state.to(device=self.device, dtype=self.dtype)
        with claim_threads(self.device):
            return self._evaluate(state, pull_back)

    def _evaluate(self, state: SimState, pull_back: bool) -> "GaussianOverlapFeatures":
        widths = self._widths[state.atomic_numbers.long()]
        same = bool((widths == widths[0]).all())
        if not same and bool(widths.isnan().any()):
            numbers = state.atomic_numbers[widths.isnan()].unique().tolist()
            raise ConfigError(
                f"no Gaussian width is known for atomic numbers {numbers}; give radii_A"
            )
        if not bool(self._seen[state.atomic_numbers.long()].all()):
            self._meet(state.atomic_numbers.long())
        neighbours = find_neighbours(state, self.config.cutoff_A)
        batch = _Batch(
            neighbours, widths, same, state.system_idx, state.n_systems, self.config, self.length
        )
        tasks = _plan(neighbours.count, self.config.orbitals_per_atom, widths, pull_back)
        solved = map_over_threads(batch.solve, tasks, self.device)
        values = widths.new_zeros(len(widths), self.length)
        for task, solution in zip(tasks, solved, strict=True):
            kept = min(self.length, solution.values.shape[1])
            values[task.atoms, :kept] = solution.values[:, :kept]
        return GaussianOverlapFeatures(values, batch, tasks, solved if pull_back else None)

    def _meet(self, numbers: Int[Tensor, " atoms"]) -> None:
        """Warn of elements that these atoms bring and that no fingerprint tells from others."""
        before = self._seen.clone()
        self._seen[numbers] = True
        for pair in shared_widths(self._seen.nonzero().flatten().tolist(), self._widths.tolist()):
            if not bool(before[list(pair)].all()):
                first, second = (chemical_symbols[number] for number in pair)
                logger.warning(
                    "%s and %s have Gaussians of the same width, so that fingerprints do not "
                    "tell a neighbour of one element from one of the other; give them other "
                    "widths (radii_A, or what entrove.fingerprints.distinct_widths returns)",
                    first,
                    second,
                )


class GaussianOverlapFeatures:
    """Fingerprints of one batch; `pull_back` may be called any number of times."""

    def __init__(
        self,
        values: Float[Tensor, "atoms features"],
        batch: "_Batch",
        chunks: "list[_Chunk]",
        solutions: "list[_Solution] | None",
    ):
        self.values = values
        self._batch = batch
        self._chunks = chunks
        self._solutions = solutions

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """dL/dr and dL/d(strain) of any function L of the fingerprints, from g = dL/dvalues.

        dL = sum over atoms of tr(V diag(g) V^T dA), with g averaged over clusters of equal
        eigenvalues. Raises `RuntimeError` after `evaluate(..., pull_back=False)`.
        """
        if self._solutions is None:
            raise RuntimeError("these fingerprints were evaluated with pull_back=False")
        batch = self._batch
        gradient = gradient.to(self.values)
        with claim_threads(self.values.device):
            parts = map_over_threads(
                lambda part: batch.pull_back(gradient, *part),
                list(zip(self._chunks, self._solutions, strict=True)),
                self.values.device,
            )
        positions = self.values.new_zeros(len(self.values), 3)
        strain = self.values.new_zeros(batch.n_systems, 3, 3)
        for chunk, (members, on_members, on_strain) in zip(self._chunks, parts, strict=True):
            positions.index_add_(0, members.view(-1), on_members.view(-1, 3))
            strain.index_add_(0, batch.system_idx[chunk.atoms], on_strain)
        return PullBack(positions, (strain + strain.mT) / 2)


@dataclass(frozen=True)
class _Chunk:
    """Atoms whose spheres are treated together."""

    atoms: Int[Tensor, " spheres"]
    sizes: list[int]  # atoms per sphere, centre included, never growing
    keep: bool  # keep for the pull-back what is costly to compute again


@dataclass(frozen=True)
class _Kept:
    vectors: Float[Tensor, "spheres size size"]
    overlap: Float[Tensor, "spheres slots slots"]
    spheres: Spheres
    members: Int[Tensor, "spheres slots"]


@dataclass(frozen=True)
class _Solution:
    values: Float[Tensor, "spheres size"]
    kept: _Kept | None


@dataclass(frozen=True)
class _Batch:
    neighbours: Neighbours
    widths: Float[Tensor, " atoms"]
    widths_are_equal: bool
    system_idx: Int[Tensor, " atoms"]
    n_systems: int
    config: FingerprintConfig
    length: int

    def spheres(self, chunk: _Chunk) -> tuple[Spheres, Int[Tensor, "spheres slots"]]:
        """Spheres of a chunk, and which atom sits in each slot (the centre in padding)."""
        near, atoms = self.neighbours, chunk.atoms
        slot = torch.arange(chunk.sizes[0], device=atoms.device)
        is_real = slot <= near.count[atoms][:, None]
        if chunk.sizes[0] == 1:  # no atom has a neighbour
            members, x = atoms[:, None], self.widths.new_zeros(len(atoms), 1, 3)
        else:
            is_neighbour = is_real & (slot > 0)
            pair = (near.first[atoms] - 1)[:, None].add(slot).mul_(is_neighbour)
            members = near.neighbour[pair].where(is_neighbour, atoms[:, None])
            x = near.displacement.index_select(0, pair.view(-1)).view(*pair.shape, 3)
            x = x.mul_(is_neighbour[:, :, None])
        width = self.widths[:1, None] if self.widths_are_equal else self.widths[members]
        return Spheres(x, width, is_real, self.config.cutoff_A), members

    def solve(self, chunk: _Chunk) -> _Solution:
        """Eigenvalues of the spheres of a chunk, largest first."""
        spheres, members = self.spheres(chunk)
        overlap = spheres.s_overlaps()
        matrix = orbital_matrix(spheres, overlap, self.config.orbitals)
        sizes = [size * self.config.orbitals_per_atom for size in chunk.sizes]
        values, vectors = diagonalise(matrix, sizes, vectors=chunk.keep)
        kept = None if vectors is None else _Kept(vectors, overlap, spheres, members)
        return _Solution(values, kept)

    def pull_back(
        self, gradient: Float[Tensor, "atoms features"], chunk: _Chunk, solution: _Solution
    ) -> tuple[
        Int[Tensor, "spheres slots"],
        Float[Tensor, "spheres slots 3"],
        Float[Tensor, "spheres 3 3"],
    ]:
        """Members of the chunk's spheres, dL/dr on each, and dL/d(strain) of each sphere."""
        if solution.kept is None:
            solution = self.solve(replace(chunk, keep=True))
        kept = solution.kept
        assert kept is not None
        size = solution.values.shape[1]
        on_values = gradient[chunk.atoms, :size]
        if size > self.length:  # eigenvalues that were cut off
            on_values = torch.nn.functional.pad(on_values, (0, size - self.length))
        orbitals = (self.neighbours.count[chunk.atoms] + 1) * self.config.orbitals_per_atom
        on_values = average_over_clusters(on_values, solution.values, orbitals)
        weights = outer_sum(on_values, kept.vectors)
        on_members = contract(kept.spheres, kept.overlap, weights, self.config.orbitals)
        # Moving all atoms together changes nothing.
        on_members[:, 0] = 0
        on_members[:, 0] = -on_members.sum(dim=1)
        return kept.members, on_members, torch.bmm(kept.spheres.x.mT, on_members)


def _plan(
    count: Int[Tensor, " atoms"],
    orbitals_per_atom: int,
    like: Float[Tensor, " atoms"],
    pull_back: bool,
) -> list[_Chunk]:
    """Sort atoms by sphere size, largest first, and cut them into chunks."""
    order = torch.argsort(count, descending=True, stable=True)
    sizes = (count[order] + 1).tolist()
    matrix_bytes = [like.element_size() * (size * orbitals_per_atom) ** 2 for size in sizes]
    limit = CHUNK_BYTES_GPU if like.is_cuda else CHUNK_BYTES_CPU
    share = sum(matrix_bytes) / even_pieces(-(-sum(matrix_bytes) // limit), like.device)
    chunks = []
    begin = filled = stored = 0
    for end, size in enumerate(matrix_bytes, start=1):
        filled += size
        if filled >= share or end == len(sizes):
            stored += 2 * filled
            chunks.append(
                _Chunk(order[begin:end], sizes[begin:end], pull_back and stored <= STORED_BYTES)
            )
            begin, filled = end, 0
    return chunks
