"""Bias strength of each walker: a fixed kappa, or one relative to the thermal forces.

Thermal force scale. In equilibrium at temperature T the hypervirial theorem says
<|dU/dr|^2> = kT <laplacian of U> (Hirschfelder, J. Chem. Phys. 33, 1462 (1960)): the rms model
force *is* the force of thermal motion against the stiffness of that phase at that temperature and
pressure. It is measured per atom, F_T = sqrt(mean over atoms and steps of |F_model|^2), in the
second half of the walker's own unbiased thermalisation, and not updated after that. A running
value would feed back: the bias makes disorder, disorder makes force, force would make more bias.

Adaptive kappa. With g^2 = mean over atoms of |dS/dr|^2, kappa = fraction * F_T / sqrt(<g^2>),
where <g^2> is an exponential mean over `relaxation_steps`, begun anew with each chunk because the
entropy changes between chunks. As the dataset grows and g falls, kappa rises, so that the rms bias
force stays `fraction * F_T`. The force on one atom is bounded by `largest_atom_ratio * F_T` (see
`EntropyBias`).

Bound on the virial. Where the cell moves, the bias also acts on it, by kappa dS/dstrain. The
thermal scale of that is the virial sum_i r_i F_i of N thermal forces of unlike signs, each over
the distance between neighbours: W_T = F_T N^(1/2) (V / N)^(1/3), with V the volume of the relaxed
phase. kappa |dS/dstrain| (Frobenius norm) is bounded by `largest_atom_ratio * W_T`, so that the
bias stress is at most that many thermal stresses W_T / V. A cell whose atoms feel no bias, such as
one of a single atom, has F_T = 0 and is not driven at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrove.sampling.config import AdaptiveSettings
from entrove.sampling.walkers.grid import Walker

PROBING_KAPPA_EV = 1e-6
"""A bias too weak to move anything, with which the slope of the entropy is measured."""

SMALLEST_SLOPE_PER_A = 1e-6
"""An rms |dS/dr| below this is rounding and is ignored.

Rounding is 1e-16 to 1e-8 where symmetry forbids a force. At kappa = 200 eV it would be a bias
force of 2e-4 eV/A, below what a model resolves.
"""


@dataclass(frozen=True)
class Strengths:
    """Bias strengths of a batch, and the running averages of the adaptive ones.

    `fraction` is NaN and `kappa_eV` constant where the strength is fixed. `slope_square` is the
    running mean of |dS/dr|^2 in 1/A^2, NaN before the first biased step. `force_scale_eV_per_A` is
    NaN before it is measured.
    """

    kappa_eV: Float[Tensor, " systems"]
    fraction: Float[Tensor, " systems"]
    slope_square: Float[Tensor, " systems"]
    force_scale_eV_per_A: Float[Tensor, " systems"]

    @classmethod
    def start(cls, walkers: Sequence[Walker], device: torch.device) -> "Strengths":
        """Strengths of walkers that have not moved yet."""
        options = {"dtype": torch.float64, "device": device}
        unknown = torch.full((len(walkers),), torch.nan, **options)
        fraction = [
            torch.nan if walker.fraction is None else walker.fraction for walker in walkers
        ]
        return cls(
            kappa_eV=torch.tensor([walker.kappa_eV or 0.0 for walker in walkers], **options),
            fraction=torch.tensor(fraction, **options),
            slope_square=unknown,
            force_scale_eV_per_A=unknown.clone(),
        )

    def __getitem__(self, rows: Tensor) -> "Strengths":
        """Return the strengths of some of the systems."""
        return replace(
            self,
            kappa_eV=self.kappa_eV[rows],
            fraction=self.fraction[rows],
            slope_square=self.slope_square[rows],
            force_scale_eV_per_A=self.force_scale_eV_per_A[rows],
        )

    @property
    def adaptive(self) -> Bool[Tensor, " systems"]:
        """Which systems have an adaptive strength."""
        return self.fraction.isfinite()

    @property
    def applied_kappa_eV(self) -> Float[Tensor, " systems"]:
        """The kappa to bias with: `PROBING_KAPPA_EV` for adaptive ones without a slope yet."""
        probing = self.adaptive & ~self.slope_square.isfinite()
        return torch.where(probing, PROBING_KAPPA_EV, self.kappa_eV)

    def bound(self, settings: AdaptiveSettings) -> Float[Tensor, " systems"]:
        """Largest bias force on one atom in eV/A; infinite for fixed strengths."""
        bound = settings.largest_atom_ratio * self.force_scale_eV_per_A
        return torch.where(self.adaptive & bound.isfinite(), bound, torch.inf)

    def bound_of_virial(
        self,
        settings: AdaptiveSettings,
        atoms: Int[Tensor, " systems"],
        volume_A3: Float[Tensor, " systems"],
    ) -> Float[Tensor, " systems"]:
        """Largest |kappa dS/dstrain| in eV: F_max N^(1/2) (V / N)^(1/3) with F_max of `bound`."""
        count = atoms.to(volume_A3)
        return self.bound(settings) * count.sqrt() * (volume_A3 / count) ** (1 / 3)

    def follow(self, slope: Float[Tensor, " systems"], settings: AdaptiveSettings) -> "Strengths":
        """Return the strengths after a step whose rms |dS/dr| was `slope`, in 1/A.

        A slope below `SMALLEST_SLOPE_PER_A` (0 where nothing was biased), or not finite, changes
        nothing.
        """
        known = self.adaptive & slope.isfinite() & (slope >= SMALLEST_SLOPE_PER_A)
        square = slope.square()
        weight = 1.0 / settings.relaxation_steps
        mean = torch.where(
            self.slope_square.isfinite(),
            (1 - weight) * self.slope_square + weight * square,
            square,
        )
        mean = torch.where(known, mean, self.slope_square)
        target = self.fraction * self.force_scale_eV_per_A / mean.sqrt()
        kappa = torch.where(
            known & target.isfinite(), target.clamp_max(settings.largest_kappa_eV), self.kappa_eV
        )
        return replace(self, kappa_eV=kappa, slope_square=mean)

    def with_force_scale(self, scale_eV_per_A: Float[Tensor, " systems"]) -> "Strengths":
        """Return the strengths with a thermal force scale that was measured."""
        return replace(self, force_scale_eV_per_A=scale_eV_per_A)

    def forget(self, rows: Bool[Tensor, " systems"]) -> "Strengths":
        """Drop the running mean of some systems; their kappa is set anew from the next slope."""
        return replace(self, slope_square=torch.where(rows, torch.nan, self.slope_square))
