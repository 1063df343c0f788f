"""ln det(1 + W W^T) of many small matrices W at once, with its gradient.

The determinant lemma allows either side, det(1_rows + W W^T) = det(1_features + W^T W); the
smaller one is factorised, so a configuration costs O(rows features min(rows, features)) and never
a fresh determinant of the whole dataset. Rows of zeros change nothing, which is what padding
needs.

Equal rows, as those of a perfect crystal, give 1 + g 1 1^T. Once g exceeds 1 / eps (1e16 in
float64, 1e7 in float32) the 1 is rounded away and Cholesky fails; the singular values of W in
float64, whose rounding is not squared, then give the same number: ln det = sum ln(1 + s^2).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrove.entropy.typed_torch import cholesky, singular_values, svd


def log_det_one_plus(W: Float[Tensor, "systems rows features"]) -> Float[Tensor, " systems"]:
    """ln det(1 + W W^T) for every system; NaN where W is not finite."""
    factor, failed = _factor(W)
    value = _log_det(factor)
    if failed is not None:
        value[failed] = singular_values(W[failed].double()).square().log1p().sum(-1).to(value)
    return value


def log_det_one_plus_with_gradient(
    W: Float[Tensor, "systems rows features"],
) -> tuple[Float[Tensor, " systems"], Float[Tensor, "systems rows features"]]:
    """ln det(1 + W W^T) and its gradient 2 (1 + W W^T)^-1 W = 2 W (1 + W^T W)^-1."""
    factor, failed = _factor(W)
    value = _log_det(factor)
    if W.shape[1] <= W.shape[2]:
        gradient = 2.0 * torch.cholesky_solve(W, factor)
    else:
        gradient = 2.0 * torch.cholesky_solve(W.mT, factor).mT
    if failed is not None:
        left, s, right = svd(W[failed].double())
        value[failed] = s.square().log1p().sum(-1).to(value)
        gradient[failed] = (2.0 * (left * (s / (1.0 + s.square()))[:, None, :]) @ right).to(
            gradient
        )
    return value, gradient


def _factor(
    W: Float[Tensor, "systems rows features"],
) -> tuple[Float[Tensor, "systems side side"], Bool[Tensor, " systems"] | None]:
    """Cholesky factor of the smaller side, and which finite systems have none, if any."""
    gram = W @ W.mT if W.shape[1] <= W.shape[2] else W.mT @ W
    gram.diagonal(dim1=-2, dim2=-1).add_(1.0)
    factor, info = cholesky(gram)
    if not bool(info.any()):
        return factor, None
    # Features that are not finite give NaN, which the walkers' guards and the selection detect.
    finite = W.isfinite().all(-1).all(-1)
    factor[(info != 0) & ~finite] = torch.nan
    return factor, (info != 0) & finite


def _log_det(factor: Float[Tensor, "systems side side"]) -> Float[Tensor, " systems"]:
    # Sum logs of pivots: the determinant itself overflows for far-away configurations.
    return 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
