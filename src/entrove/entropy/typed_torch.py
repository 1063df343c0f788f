"""What torch leaves without types, with types, so that strict type checking covers its users."""

from typing import Any, cast

import torch
from torch import Tensor

_torch = cast("Any", torch)


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of symmetric matrices, smallest first, and eigenvectors in columns."""
    return _torch.linalg.eigh(matrices)


def eigvalsh(matrices: Tensor) -> Tensor:
    """Eigenvalues of symmetric matrices, smallest first."""
    return _torch.linalg.eigvalsh(matrices)


def cholesky(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Lower Cholesky factors, and for each matrix an integer that is not 0 where it has none."""
    return _torch.linalg.cholesky_ex(matrices)


def cholesky_inverse(factor: Tensor) -> Tensor:
    """Inverse of A from its lower Cholesky factor."""
    return _torch.cholesky_inverse(factor)


def solve_lower(factor: Tensor, right: Tensor) -> Tensor:
    """Solve L X = B for a lower triangular L."""
    return _torch.linalg.solve_triangular(factor, right, upper=False)


def svd(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, s and V^T of the reduced singular value decomposition."""
    return _torch.linalg.svd(matrices, full_matrices=False)


def singular_values(matrices: Tensor) -> Tensor:
    """Singular values, largest first."""
    return _torch.linalg.svdvals(matrices)


def qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Q with orthonormal columns and the upper triangular R, with Q R the matrix."""
    return _torch.linalg.qr(matrix)


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norm of each row of a matrix."""
    return _torch.linalg.vector_norm(rows, dim=1)


def split(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Views of at most `size` rows each."""
    return _torch.split(rows, size)


def distinct(numbers: Tensor) -> list[int]:
    """The distinct integers of a tensor, smallest first."""
    return _torch.unique(numbers).tolist()


def integers(tensor: Tensor) -> list[int]:
    """A one-dimensional tensor of integers as a list."""
    return cast("Any", tensor).tolist()
