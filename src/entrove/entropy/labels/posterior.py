"""What labels leave unknown: the covariance M^-1 of the weights, and two objectives on it.

    information   1/2 ln det(1 + R M^-1 R^T)                      nats, submodular
    target        tr(M^-1 Q) - tr((M + R^T R)^-1 Q)               fall of the variance of a target

Q is the mean of R^T R over a sample of what is to be predicted, so that tr(M^-1 Q) is the mean
over the sample of the predicted variances, each in units of its noise and summed over the labels
of a structure. Both are never negative. The first diminishes as M grows (submodular); the second
usually does, but need not.

Refs: MacKay, Neural Comput. 4, 590 (1992), both objectives; Cohn, Ghahramani & Jordan, JAIR 4, 129
(1996); Ash et al., NeurIPS 34 (2021), for batches of neural features.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from entrove.entropy.information import inverse_root
from entrove.entropy.labels.rows import LabelRows
from entrove.entropy.logdet import log_det_one_plus
from entrove.entropy.typed_torch import cholesky, cholesky_inverse, eigh, svd


class LabelPosterior:
    """What is known of the weights after some labels; adding labels makes another posterior.

    Args:
        precision: M = 1 + sum R^T R of these labels, (width, width), for the whitened prior 1.
    """

    def __init__(self, precision: Float[Tensor, "width width"]) -> None:
        self.precision = precision

    @classmethod
    def prior(cls, width: int) -> "LabelPosterior":
        """M = 1: nothing is labelled.

        Args:
            width: Entries of a row, see `LabelRowMap.width`.
        """
        return cls(torch.eye(width, dtype=torch.float64))

    def with_labels(self, rows: LabelRows) -> "LabelPosterior":
        """The posterior after these labels.

        Args:
            rows: Rows of the labels, from `LabelRowMap` with the same whitening.
        """
        return LabelPosterior(self.precision + rows.gram())

    def information(self, rows: LabelRows) -> Float[Tensor, " structures"]:
        """What the labels of each structure, on its own, would tell about the weights, in nats.

        Args:
            rows: Rows of the labels that the structures would get.
        """
        return 0.5 * log_det_one_plus(rows.padded() @ inverse_root(self.precision, 1.0))

    def variance(self, target: Float[Tensor, "width width"]) -> float:
        """tr(M^-1 Q): the mean predicted variance of a target with Q = `target`."""
        return float(target_frame(self.precision, target)[1].sum())

    def falls(
        self, rows: LabelRows, target: Float[Tensor, "width width"]
    ) -> Float[Tensor, " structures"]:
        """By how much the labels of each structure, on its own, would lower `variance`.

        Args:
            rows: Rows of the labels that the structures would get.
            target: Q, the mean of R^T R over a sample of what is to be predicted.
        """
        root, variances = target_frame(self.precision, target)
        return fall_of_variance(rows.padded() @ root, variances)


def target_frame(
    M: Float[Tensor, "width width"], target: Float[Tensor, "width width"]
) -> tuple[Float[Tensor, "width width"], Float[Tensor, " width"]]:
    """T with T T^T = M^-1 and T^T Q T diagonal, and this diagonal: variances of the target."""
    root = inverse_root(M, 1.0)
    variances, vectors = eigh(root.mT @ target @ root)
    return root @ vectors, variances.clamp_min(0.0)


def fall_of_variance(
    W: Float[Tensor, "structures rows width"], variances: Float[Tensor, " width"]
) -> Float[Tensor, " structures"]:
    """tr((1 + W W^T)^-1 W diag(variances) W^T) of many small W = R T; see `target_frame`.

    NaN where W is not finite. As in `logdet`, rows so long that 1 + W W^T has no Cholesky factor
    are treated by singular values.
    """
    gram = W @ W.mT
    gram.diagonal(dim1=-2, dim2=-1).add_(1.0)
    factor, info = cholesky(gram)
    # Twice as fast as a triangular solve with W, whose many columns LAPACK takes one by one.
    falls = (cholesky_inverse(factor) * ((W * variances) @ W.mT)).sum((1, 2))
    failed = info != 0
    if bool(failed.any()):
        finite = W.isfinite().all(-1).all(-1)
        falls[failed & ~finite] = torch.nan
        failed &= finite
        _, s, right = svd(W[failed].double())
        shares = s.square() / (1.0 + s.square())
        exact = (shares[:, :, None] * right.square()).sum(1).mv(variances.double())
        falls[failed] = exact.to(falls)
    return falls
