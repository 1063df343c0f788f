"""Information gain: what a configuration adds to a dataset, in nats.

    gain(c | D) = 1/2 sum_species ln det(1 + X_c M^-1 X_c^T),   M = lambda 1 + sum_D x x^T

with whitened rows x. It is the mutual information between the labels of c and the weights of a
Bayesian linear model with unit prior and noise variance lambda, given D: never negative, monotone
and submodular. The gains of configurations added one after the other sum to
1/2 sum_species ln det(M / lambda).

Ref: Krause, Singh & Guestrin, JMLR 9, 235 (2008); MacKay, Neural Comput. 4, 590 (1992).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from entrove.entropy.config import Mode
from entrove.entropy.logdet import log_det_one_plus, log_det_one_plus_with_gradient
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.rows import SpeciesRows, split_rows
from entrove.entropy.typed_torch import cholesky, eigh, solve_lower
from entrove.entropy.whitening import Whitening
from entrove.errors import SelectionError
from entrove.features import AtomFeatures


def regularised(moments: Moments, ridge: float) -> Float[Tensor, "features features"]:
    """M = lambda 1 + sum x x^T of one species."""
    M = moments.outer.clone()
    M.diagonal().add_(ridge)
    return M


def inverse_root(
    M: Float[Tensor, "features features"], ridge: float
) -> Float[Tensor, "features features"]:
    """T with T T^T = M^-1, so that x M^-1 x^T = (x T)(x T)^T.

    Raises `SelectionError` when M is not finite.
    """
    factor, failed = cholesky(M)
    if bool(failed):
        values, vectors = _eigh_above(M, ridge)
        return vectors * values.rsqrt()
    identity = torch.eye(len(M), dtype=M.dtype, device=M.device)
    return solve_lower(factor, identity).mT.contiguous()


def _eigh_above(
    M: Float[Tensor, "features features"], ridge: float
) -> tuple[Float[Tensor, " features"], Float[Tensor, "features features"]]:
    """Eigenvalues of M, raised to the ridge, and its eigenvectors.

    No eigenvalue of M is below the ridge, but rows of 1e8 leave rounding above it, and Cholesky
    fails.
    """
    if not bool(M.isfinite().all()):
        raise SelectionError(
            "the statistics of the dataset are not finite: features are too far from their "
            "calibration; calibrate on a thermal run, and look for collapsed structures"
        )
    values, vectors = eigh(M)
    return values.clamp_min(ridge), vectors


def total_information(moments: SpeciesMoments, ridge: float) -> float:
    """1/2 sum_species ln det(M / lambda) in nats: the information in all rows."""
    total = 0.0
    for number in moments.species:
        M = regularised(moments[number], ridge)
        factor, failed = cholesky(M / ridge)
        if bool(failed):
            total += 0.5 * float((_eigh_above(M, ridge)[0] / ridge).log().sum())
        else:
            total += float(factor.diagonal().log().sum())
    return total


class InformationGain:
    """The gain of each configuration of a batch, and its gradient, with the dataset frozen.

    `moments` are those of whitened rows. Mean, scale and M^-1/2 are folded into one matrix per
    species, so that a step costs one product per atom and one small factorisation per
    configuration. Raises `SelectionError` for a species that the whitening does not know.
    """

    def __init__(
        self,
        moments: SpeciesMoments,
        whitening: Whitening,
        *,
        ridge: float,
        mode: Mode,
        species_blocks: bool = True,
    ) -> None:
        self._whitening = whitening
        self._mode: Mode = mode
        self._species_blocks = species_blocks
        self._frames: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}
        for number in whitening.species:
            scaling = whitening[number]
            known = moments[number] if number in moments else Moments.empty(len(scaling.mean))
            root = inverse_root(regularised(known, ridge), ridge) / scaling.scale[:, None]
            self._frames[number, torch.device("cpu")] = (scaling.mean, root)

    def value_and_gradient(
        self, batch: AtomFeatures
    ) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
        """Gain of every system in nats, and its gradient with respect to the raw features."""
        gain = torch.zeros(batch.n_systems, dtype=torch.float64, device=batch.values.device)
        gradient = torch.zeros_like(batch.values)
        for block in self._split(batch):
            mean, root = self._frame(block.number, block.values.device)
            log_det, slope = log_det_one_plus_with_gradient(
                block.pad((block.values - mean) @ root)
            )
            gain += 0.5 * log_det
            block.spread(0.5 * block.unpad(slope) @ root.mT, gradient)
        return gain, gradient

    def gains(self, batch: AtomFeatures) -> Float[Tensor, " systems"]:
        """Gain of every system in nats."""
        gain = torch.zeros(batch.n_systems, dtype=torch.float64, device=batch.values.device)
        for block in self._split(batch):
            mean, root = self._frame(block.number, block.values.device)
            gain += 0.5 * log_det_one_plus(block.pad((block.values - mean) @ root))
        return gain

    def _split(self, batch: AtomFeatures) -> list[SpeciesRows]:
        return split_rows(batch, self._mode, species_blocks=self._species_blocks)

    def _frame(self, number: int, device: torch.device) -> tuple[Tensor, Tensor]:
        key = (number, device)
        if key not in self._frames:
            self._whitening[number]  # raises for a species without calibration
            mean, root = self._frames[number, torch.device("cpu")]
            self._frames[key] = (mean.to(device), root.to(device))
        return self._frames[key]
