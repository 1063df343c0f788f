"""ln det(1 + W W^T) of many small matrices W at once, with its gradient.

The determinant lemma allows either side, det(1_rows + W W^T) = det(1_features + W^T W); the smaller
one is factorised, so a configuration costs O(rows features min(rows, features)) and never a fresh
determinant of the whole dataset. Rows of zeros change nothing, which is what padding needs.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def log_det_one_plus(W: Float[Tensor, "systems rows features"]) -> Float[Tensor, " systems"]:
    """ln det(1 + W W^T) for every system."""
    return _log_det(_factor(W))


def log_det_one_plus_with_gradient(
    W: Float[Tensor, "systems rows features"],
) -> tuple[Float[Tensor, " systems"], Float[Tensor, "systems rows features"]]:
    """ln det(1 + W W^T) and its gradient 2 (1 + W W^T)^-1 W = 2 W (1 + W^T W)^-1."""
    factor = _factor(W)
    if W.shape[1] <= W.shape[2]:
        gradient = 2.0 * torch.cholesky_solve(W, factor)
    else:
        gradient = 2.0 * torch.cholesky_solve(W.mT, factor).mT
    return _log_det(factor), gradient


def _factor(W: Float[Tensor, "systems rows features"]) -> Float[Tensor, "systems side side"]:
    gram = W @ W.mT if W.shape[1] <= W.shape[2] else W.mT @ W
    gram.diagonal(dim1=-2, dim2=-1).add_(1.0)
    # 1 + a Gram matrix is positive definite whatever W is, so the check (and on CUDA its
    # synchronisation) is not needed; NaN features give NaN, which the walkers' guards look for.
    factor, _ = torch.linalg.cholesky_ex(gram)
    return factor


def _log_det(factor: Float[Tensor, "systems side side"]) -> Float[Tensor, " systems"]:
    # Sum logs of pivots: the determinant itself overflows for far-away configurations.
    return 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
