"""Gaussian overlap matrix (GOM) fingerprints of every atom of a batch, and their pull-back.

Atoms are sorted by the size of their spheres and cut into chunks that fit the cache (CPU) or a fixed
share of memory (GPU); a chunk is padded to its largest sphere. Eigenvectors of a chunk are kept for the
pull-back while all of them fit `STORED_BYTES`; beyond that the pull-back solves the chunk again. So memory
stays O(atoms) with a small, known constant.

Ref: Zhu et al., J. Chem. Phys. 144, 034203 (2016).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import ConfigError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.features import PullBack
from entrove.fingerprints.neighbours import Neighbours, find_neighbours
from entrove.fingerprints.overlaps import Spheres, contract, overlap_matrix
from entrove.fingerprints.radii import width_table
from entrove.fingerprints.spectrum import average_over_clusters, diagonalise
from entrove.fingerprints.threads import map_over_threads, thread_count

STORED_BYTES = 256 * 2**20
"""Eigenvectors kept between values and pull-back; the rest is computed twice."""

CHUNK_BYTES_CPU = 2**20
CHUNK_BYTES_GPU = 256 * 2**20
"""Size of one matrix array of a chunk; half a dozen of them are alive at a time."""


class GaussianOverlap:
    """The fingerprint of each atom: eigenvalues of the damped overlap matrix of its sphere.

    A `FeatureMap`. Raises `ConfigError` when the length is still "auto" (see `resolve_length`).
    """

    def __init__(self, config: FingerprintConfig | None = None, device: str | torch.device = "cpu"):
        self.config = config or FingerprintConfig()
        if self.config.length == "auto":
            raise ConfigError(
                "length='auto' needs structures to choose from; pass the result of "
                "resolve_length(config, structures), or a number"
            )
        self.length: int = self.config.length
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, self.config.dtype)
        self._widths = torch.as_tensor(width_table(self.config.radii_A), dtype=self.dtype, device=self.device)

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
        """Fingerprints of every atom of a batch.

        Raises `StructureError` for two atoms at one place, positions that are not finite or a flat
        cell, and `ConfigError` for an element without a width.
        """
        state = state.to(device=self.device, dtype=self.dtype)
        widths = self._widths[state.atomic_numbers.long()]
        if bool(widths.isnan().any()):
            numbers = state.atomic_numbers[widths.isnan()].unique().tolist()
            raise ConfigError(f"no Gaussian width is known for atomic numbers {numbers}; give radii_A")
        neighbours = find_neighbours(state, self.config.cutoff_A)
        batch = _Batch(neighbours, widths, state.system_idx, state.n_systems, self.config, self.length)
        chunks = _cut(neighbours.count, self.config.orbitals_per_atom, self.device)
        stored = 0
        keep = []
        for chunk in chunks:
            stored += (
                len(chunk.sizes)
                * (chunk.sizes[0] * self.config.orbitals_per_atom) ** 2
                * widths.element_size()
            )
            keep.append(pull_back and stored <= STORED_BYTES)
        solved = map_over_threads(
            lambda task: batch.solve(*task), list(zip(chunks, keep, strict=True)), self.device
        )
        values = widths.new_zeros(len(widths), self.length)
        kept = min(self.length, max(spectrum.values.shape[1] for spectrum in solved))
        for chunk, spectrum in zip(chunks, solved, strict=True):
            width = min(kept, spectrum.values.shape[1])
            values[chunk.atoms, :width] = spectrum.values[:, :width]
        return GaussianOverlapFeatures(values, batch, chunks, solved if pull_back else None)


class GaussianOverlapFeatures:
    """Fingerprints of one batch; `pull_back` may be called any number of times."""

    def __init__(
        self,
        values: Float[Tensor, "atoms features"],
        batch: "_Batch",
        chunks: "list[_Chunk]",
        spectra: "list[_Spectrum] | None",
    ):
        self.values = values
        self._batch = batch
        self._chunks = chunks
        self._spectra = spectra

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """dL/dr and dL/d(strain) of any function L of the fingerprints, from g = dL/dvalues.

        dL = sum over atoms of tr(V diag(g) V^T dA), with g averaged over clusters of equal eigenvalues.
        Raises `RuntimeError` after `evaluate(..., pull_back=False)`.
        """
        if self._spectra is None:
            raise RuntimeError("these fingerprints were evaluated with pull_back=False")
        batch = self._batch
        gradient = gradient.to(self.values)
        parts = map_over_threads(
            lambda task: batch.pull_back(gradient, *task),
            list(zip(self._chunks, self._spectra, strict=True)),
            self.values.device,
        )
        positions = self.values.new_zeros(len(self.values), 3)
        strain = self.values.new_zeros(batch.n_systems, 3, 3)
        for chunk, (members, on_members, on_strain) in zip(self._chunks, parts, strict=True):
            positions.index_add_(0, members.flatten(), on_members.flatten(0, 1))
            strain.index_add_(0, batch.system_idx[chunk.atoms], on_strain)
        return PullBack(positions, (strain + strain.mT) / 2)


@dataclass(frozen=True)
class _Chunk:
    atoms: Int[Tensor, " spheres"]
    sizes: list[int]  # atoms per sphere, centre included, never growing


@dataclass(frozen=True)
class _Spectrum:
    values: Float[Tensor, "spheres size"]
    vectors: Float[Tensor, "spheres size size"] | None


@dataclass(frozen=True)
class _Batch:
    neighbours: Neighbours
    widths: Float[Tensor, " atoms"]
    system_idx: Int[Tensor, " atoms"]
    n_systems: int
    config: FingerprintConfig
    length: int

    def spheres(self, chunk: _Chunk) -> tuple[Spheres, Int[Tensor, "spheres slots"]]:
        """Spheres of a chunk, and which atom sits in each slot (the centre in padding)."""
        near, atoms = self.neighbours, chunk.atoms
        slot = torch.arange(chunk.sizes[0], device=atoms.device)
        is_real = slot <= near.count[atoms][:, None]
        is_neighbour = is_real & (slot > 0)
        pair = (near.first[atoms][:, None] + slot - 1).where(is_neighbour, 0)
        if len(near.neighbour) == 0:  # nobody has a neighbour: every slot is its own centre
            members, x = atoms[:, None], self.widths.new_zeros(len(atoms), 1, 3)
        else:
            members = near.neighbour[pair].where(is_neighbour, atoms[:, None])
            x = near.displacement[pair].where(is_neighbour[:, :, None], 0.0)
        return Spheres(x, self.widths[members], is_real, self.config.cutoff_A), members

    def solve(self, chunk: _Chunk, keep_vectors: bool) -> _Spectrum:
        """Eigenvalues of the spheres of a chunk, largest first."""
        spheres, _ = self.spheres(chunk)
        matrices = overlap_matrix(spheres, self.config.orbitals)
        sizes = [size * self.config.orbitals_per_atom for size in chunk.sizes]
        return _Spectrum(*diagonalise(matrices, sizes, vectors=keep_vectors))

    def pull_back(
        self, gradient: Float[Tensor, "atoms features"], chunk: _Chunk, spectrum: _Spectrum
    ) -> tuple[Int[Tensor, "spheres slots"], Float[Tensor, "spheres slots 3"], Float[Tensor, "spheres 3 3"]]:
        """Members of the chunk's spheres, dL/dr on each, and dL/d(strain) of each sphere."""
        if spectrum.vectors is None:
            spectrum = self.solve(chunk, keep_vectors=True)
        assert spectrum.vectors is not None
        spheres, members = self.spheres(chunk)
        size = spectrum.values.shape[1]
        on_values = gradient.new_zeros(len(chunk.sizes), size)
        kept = min(size, self.length)
        on_values[:, :kept] = gradient[chunk.atoms, :kept]
        orbitals = (self.neighbours.count[chunk.atoms] + 1) * self.config.orbitals_per_atom
        slot = torch.arange(size, device=gradient.device)
        on_values = on_values.where(slot < orbitals[:, None], 0.0)
        on_values = average_over_clusters(on_values, spectrum.values, orbitals)
        weights = torch.bmm(spectrum.vectors * on_values[:, None, :], spectrum.vectors.mT)
        on_members = contract(spheres, weights, self.config.orbitals)
        # Moving all atoms together changes nothing.
        on_members[:, 0] = 0
        on_members[:, 0] = -on_members.sum(dim=1)
        return members, on_members, torch.bmm(spheres.x.mT, on_members)


def _cut(count: Int[Tensor, " atoms"], orbitals_per_atom: int, device: torch.device) -> list[_Chunk]:
    """Sort atoms by sphere size, largest first, and cut them into chunks."""
    order = torch.argsort(count, descending=True, stable=True)
    sizes = (count[order] + 1).tolist()
    limit = CHUNK_BYTES_GPU if device.type == "cuda" else CHUNK_BYTES_CPU
    most = -(-len(sizes) // thread_count(device))
    chunks = []
    begin = 0
    while begin < len(sizes):
        matrix_bytes = 8 * (sizes[begin] * orbitals_per_atom) ** 2
        end = begin + int(np.clip(limit // matrix_bytes, 1, most))
        chunks.append(_Chunk(order[begin:end], sizes[begin:end]))
        begin = end
    return chunks
