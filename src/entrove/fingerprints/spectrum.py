"""Eigenvalues of many small symmetric matrices, and the weights that pull a gradient back."""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor


def diagonalise(
    matrices: Float[Tensor, "spheres size size"], sizes: list[int], *, vectors: bool = True
) -> tuple[Float[Tensor, "spheres size"], Float[Tensor, "spheres size size"] | None]:
    """Eigenvalues of positive semidefinite matrices, largest first, and eigenvectors in columns.

    Eigenvectors are ordered the other way round, smallest eigenvalue first: reversing them, too,
    would cost a copy (see `outer_sum`). `sizes` (in descending order) exclude padding, whose
    diagonal is -1: it has eigenvalue 0, the last, and eigenvectors that are zero on the real
    orbitals, the first. On a CPU, LAPACK solves one matrix after the other, so equal sizes are
    solved together and padding is left out; on a GPU the whole batch is solved at once.
    """
    count, size = matrices.shape[:2]
    runs = [(0, count, size)] if matrices.is_cuda else _runs(sizes)
    if len(runs) == 1:
        return _solve(matrices, vectors)
    values = matrices.new_zeros(count, size)
    basis = matrices.new_zeros(count, size, size) if vectors else None
    for begin, end, real in runs:
        solved, solved_basis = _solve(matrices[begin:end, :real, :real], vectors)
        values[begin:end, :real] = solved
        if basis is not None and solved_basis is not None:
            basis[begin:end, :real, size - real :] = solved_basis
    return values, basis


def outer_sum(
    weights: Float[Tensor, "spheres size"], vectors: Float[Tensor, "spheres size size"]
) -> Float[Tensor, "spheres size size"]:
    """Sum of g v v^T, with eigenvalue weights g and vectors v as `diagonalise` orders them."""
    return torch.bmm(vectors * weights.flip(1)[:, None, :], vectors.mT)


def _solve(
    matrices: Float[Tensor, "spheres size size"], vectors: bool
) -> tuple[Float[Tensor, "spheres size"], Float[Tensor, "spheres size size"] | None]:
    if not vectors:
        return torch.linalg.eigvalsh(matrices).flip(1).clamp_(min=0), None
    values, basis = torch.linalg.eigh(matrices)
    # No eigenvalue of an overlap matrix is negative: below zero is rounding, or padding.
    return values.flip(1).clamp_(min=0), basis


def _runs(sizes: list[int]) -> list[tuple[int, int, int]]:
    edges = [0, *(k for k in range(1, len(sizes)) if sizes[k] != sizes[k - 1]), len(sizes)]
    return [(begin, end, sizes[begin]) for begin, end in pairwise(edges)]


def average_over_clusters(
    gradient: Float[Tensor, "spheres size"],
    values: Float[Tensor, "spheres size"],
    sizes: Int[Tensor, " spheres"],
) -> Float[Tensor, "spheres size"]:
    """Replace dL/d(eigenvalue) by its mean over each cluster of (nearly) equal eigenvalues.

    Inside a cluster the eigenvectors are arbitrary; with equal weights tr(V diag(g) V^T dA) is
    not. Neighbouring eigenvalues belong together when their gap is below 8 eps times the largest
    eigenvalue (what the eigensolver can resolve) plus sqrt(eps) of their own size.
    """
    eps = torch.finfo(values.dtype).eps
    gap = values[:, :-1] - values[:, 1:]
    tolerance = 8 * eps * values[:, :1] + eps**0.5 * values[:, :-1].abs()
    slot = torch.arange(1, values.shape[1], device=values.device)
    together = (gap <= tolerance) & (slot < sizes[:, None])
    if not bool(together.any()):
        return gradient
    cluster = torch.zeros_like(gradient, dtype=torch.int64)
    cluster[:, 1:] = torch.cumsum(~together, dim=1)
    total = torch.zeros_like(gradient).scatter_add_(1, cluster, gradient)
    members = torch.zeros_like(gradient).scatter_add_(1, cluster, torch.ones_like(gradient))
    return (total / members.clamp(min=1)).gather(1, cluster)
