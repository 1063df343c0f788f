"""Entropy of the dataset as the logarithm of the determinant of its feature covariance.

    Sigma = (1/N) sum x x^T - mu mu^T + eps 1,   S_glob = sum_species ln det Sigma

Rows are raw features, not whitened. With one species, or with `species_blocks=False`, this is the
definition of Wang, Rao & Zhu, arXiv:2605.20384 (2026), after Subramanyam & Perez, npj Comput.
Mater. 11, 218 (2025). A species without rows has Sigma = eps 1.

Sigma of the dataset D with a configuration c is a change of low rank. With the scatter of D
diagonalised once, C = V diag(l) V^T, N' = N + n and rows y = (x - mu) V of c,

    N' Sigma' = V [diag(l + N' eps) + U^T U] V^T,
    U = (1 - b 1 1^T) y,   b = (1 - sqrt(N/N')) / n,

where b is chosen so that (1 - b 1 1^T)^2 = 1 - 1 1^T / N', the centring on the new mean. This
costs O(n d^2 + n^2 d) per configuration and never forms Sigma'.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entrove.entropy.config import Mode
from entrove.entropy.logdet import log_det_one_plus, log_det_one_plus_with_gradient
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.rows import SpeciesRows, split_rows
from entrove.entropy.typed_torch import eigh
from entrove.features import AtomFeatures


@dataclass(frozen=True)
class Spectrum:
    """Scatter of the dataset's rows of one species, diagonalised."""

    count: int
    mean: Float[Tensor, " features"]
    eigenvalues: Float[Tensor, " features"]
    eigenvectors: Float[Tensor, "features features"]

    @classmethod
    def of(cls, moments: Moments) -> "Spectrum":
        """Diagonalise the scatter of these rows."""
        eigenvalues, eigenvectors = eigh(moments.scatter())
        # Rounding can leave a scatter eigenvalue at -1e-12; the exact one is never negative.
        return cls(moments.count, moments.mean(), eigenvalues.clamp_min(0.0), eigenvectors)

    def to(self, device: torch.device) -> "Spectrum":
        """The same on another device."""
        return Spectrum(
            self.count,
            self.mean.to(device),
            self.eigenvalues.to(device),
            self.eigenvectors.to(device),
        )

    def log_det(self, epsilon: float) -> float:
        """ln det Sigma of the dataset alone."""
        return float((self.eigenvalues / max(self.count, 1) + epsilon).log().sum())

    def update(
        self,
        y: Float[Tensor, "systems rows features"],
        count: Int[Tensor, " systems"],
        epsilon: float,
    ) -> "Update":
        """Sigma' of every system from rows y = (x - mu) V, which are zero beyond `count`."""
        added = count.to(torch.float64)
        # Where neither the system nor the dataset has this species, any total but 0 will do.
        total = (added + self.count).clamp_min(1.0)
        centring = (1.0 - (self.count / total).sqrt()) / added.clamp_min(1.0)
        # Padding is zero in y, but the centring would fill it: its rows are cut out again.
        filled = torch.arange(y.shape[1], device=y.device) < count[:, None]
        U = (y - (centring[:, None] * y.sum(1))[:, None, :]) * filled[:, :, None]
        eigenvalues = self.eigenvalues / total[:, None] + epsilon
        inverse_root = (eigenvalues * total[:, None]).rsqrt()
        return Update(
            diagonal=eigenvalues.log().sum(1),
            W=U * inverse_root[:, None, :],
            inverse_root=inverse_root,
            centring=centring,
        )

    def gain(
        self,
        y: Float[Tensor, "systems rows features"],
        count: Int[Tensor, " systems"],
        epsilon: float,
    ) -> Float[Tensor, " systems"]:
        """ln det Sigma' - ln det Sigma of every system; zero for systems without rows."""
        update = self.update(y, count, epsilon)
        change = update.diagonal + log_det_one_plus(update.W) - self.log_det(epsilon)
        return torch.where(count > 0, change, 0.0)


@dataclass(frozen=True)
class Update:
    """Low-rank updates: ln det Sigma' = diagonal + ln det(1 + W W^T)."""

    diagonal: Float[Tensor, " systems"]
    W: Float[Tensor, "systems rows features"]
    inverse_root: Float[Tensor, "systems features"]
    centring: Float[Tensor, " systems"]


def dataset_entropy(moments: SpeciesMoments, epsilon: float) -> float:
    """S_glob of a dataset: the sum over its species of ln det Sigma."""
    return sum((Spectrum.of(moments[number]).log_det(epsilon) for number in moments.species), 0.0)


def total_gain(moments: SpeciesMoments, epsilon: float) -> float:
    """S_glob above that of an empty dataset, sum_species ln det(Sigma / eps): the sum of gains.

    A species without rows adds 0, so the sum does not depend on which species are still to come.
    """
    features = sum(len(moments[number].total) for number in moments.species)
    return dataset_entropy(moments, epsilon) - features * math.log(epsilon)


class CovarianceEntropy:
    """S_glob(D + c) of each configuration c of a batch, and its gradient, with D frozen.

    The sum runs over the species of D and of c. `gains` gives S_glob(D + c) - S_glob(D), where a
    species that is new to D counts from Sigma = eps 1.
    """

    def __init__(
        self,
        moments: SpeciesMoments,
        *,
        epsilon: float,
        mode: Mode,
        species_blocks: bool = True,
    ) -> None:
        self._epsilon = epsilon
        self._mode: Mode = mode
        self._species_blocks = species_blocks
        self._spectra: dict[tuple[int, torch.device], Spectrum] = {
            (number, torch.device("cpu")): Spectrum.of(moments[number])
            for number in moments.species
        }
        self._log_dets = {
            number: spectrum.log_det(epsilon) for (number, _), spectrum in self._spectra.items()
        }

    def value_and_gradient(
        self, batch: AtomFeatures
    ) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
        """S_glob(D + c) of every system c, and its gradient with respect to the features of c."""
        gradient = torch.zeros_like(batch.values)
        blocks = self._split(batch)
        absent = set(self._log_dets) - {block.number for block in blocks}
        entropy = torch.full(
            (batch.n_systems,),
            sum(self._log_dets[number] for number in absent),
            dtype=torch.float64,
            device=batch.values.device,
        )
        for block in blocks:
            spectrum = self._spectrum(block)
            update = spectrum.update(self._rotate(block, spectrum), block.count, self._epsilon)
            log_det, slope = log_det_one_plus_with_gradient(update.W)
            has_rows = block.count + spectrum.count > 0
            entropy += torch.where(has_rows, update.diagonal + log_det, 0.0)
            slope = slope * update.inverse_root[:, None, :]
            slope = slope - (update.centring[:, None] * slope.sum(1))[:, None, :]
            block.spread(block.unpad(slope) @ spectrum.eigenvectors.mT, gradient)
        return entropy, gradient

    def gains(self, batch: AtomFeatures) -> Float[Tensor, " systems"]:
        """S_glob(D + c) - S_glob(D) of every system c; negative where c lowers the entropy."""
        gain = torch.zeros(batch.n_systems, dtype=torch.float64, device=batch.values.device)
        for block in self._split(batch):
            spectrum = self._spectrum(block)
            gain += spectrum.gain(self._rotate(block, spectrum), block.count, self._epsilon)
        return gain

    def _split(self, batch: AtomFeatures) -> list[SpeciesRows]:
        return split_rows(batch, self._mode, species_blocks=self._species_blocks)

    def _rotate(self, block: SpeciesRows, spectrum: Spectrum) -> Tensor:
        return block.pad((block.values - spectrum.mean) @ spectrum.eigenvectors)

    def _spectrum(self, block: SpeciesRows) -> Spectrum:
        device = block.values.device
        if (block.number, device) not in self._spectra:
            on_cpu = self._spectra.get((block.number, torch.device("cpu")))
            if on_cpu is None:
                on_cpu = Spectrum.of(Moments.empty(block.values.shape[1]))
            self._spectra[block.number, device] = on_cpu.to(device)
        return self._spectra[block.number, device]
