"""Nearest-neighbour entropy of the environments within one configuration.

    S_loc = (1/n) sum_i ln(n_s d_i)

d_i is the distance from the features of atom i to the nearest among the other n_s - 1 atoms of its
species; an atom that is the only one of its species contributes nothing. Ref: Karabin & Perez,
J. Chem. Phys. 153, 094110 (2020).

Two smoothings make the bias force finite and continuous everywhere:

- every distance is floored, d_ij = sqrt(|x_i - x_j|^2 + d0^2). Without it the force diverges as
  1/d in ordered crystals; with it every pair contributes at most |dS/dx| = 1/d0, and in a perfect
  crystal the force is zero by symmetry;
- the minimum is soft, d_i = (sum_j d_ij^-p)^(-1/p). It is never above the hard minimum and at most
  a factor (n_s - 1)^(1/p) below it, has no scale of its own, and does not jump when the nearest
  neighbour changes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entrove.entropy.rows import split_rows
from entrove.features import AtomFeatures


class LocalEntropy:
    """S_loc of each configuration of a batch, without a dataset.

    `distance_floor` is d0 in feature units, `neighbour_power` is p.
    """

    def __init__(self, *, distance_floor: float = 1e-2, neighbour_power: float = 8.0) -> None:
        self._floor_squared = distance_floor**2
        self._power = neighbour_power

    def value_and_gradient(
        self, batch: AtomFeatures
    ) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms features"]]:
        """S_loc of every system, and its gradient with respect to the features.

        Args:
            batch: Features of all atoms of some systems.
        """
        entropy = torch.zeros(batch.n_systems, dtype=torch.float64, device=batch.values.device)
        gradient = torch.zeros_like(batch.values)
        atoms = torch.bincount(batch.system_idx, minlength=batch.n_systems).to(torch.float64)
        for block in split_rows(batch, "per_atom"):
            x = block.pad(block.values)
            # Relative to one of the atoms, so that rounding acts on differences of features.
            x = x - x[:, :1]
            pairs = _pairs(block.count, x.shape[1])
            squared = _squared_distances(x) + self._floor_squared
            # ln d_i = -(1/p) ln sum_j exp(-p ln d_ij), with ln d_ij = ln(d_ij^2) / 2.
            exponents = (-0.5 * self._power * squared.log()).masked_fill(~pairs, -torch.inf)
            has_neighbour = pairs.any(2)
            log_sum = torch.logsumexp(exponents, dim=2)
            log_distance = torch.where(has_neighbour, -log_sum / self._power, 0.0)
            log_count = block.count.to(torch.float64).clamp_min(1.0).log()
            terms = torch.where(has_neighbour, log_distance + log_count[:, None], 0.0)
            entropy += terms.sum(1) / atoms
            # d ln d_i = sum_j softmax_ij (x_i - x_j) (dx_i - dx_j) / d_ij^2
            shares = torch.where(pairs, (exponents - log_sum[:, :, None]).exp(), 0.0) / squared
            coupling = (shares + shares.mT) / atoms[:, None, None]
            slope = x * coupling.sum(2, keepdim=True) - coupling @ x
            block.spread(block.unpad(slope), gradient)
        return entropy, gradient


def _pairs(count: Int[Tensor, " systems"], slots: int) -> Tensor:
    """Which pairs (i, j) of slots are two different atoms."""
    slot = torch.arange(slots, device=count.device)
    filled = slot < count[:, None]
    return filled[:, :, None] & filled[:, None, :] & (slot[:, None] != slot[None, :])


def _squared_distances(
    x: Float[Tensor, "systems slots features"],
) -> Float[Tensor, "systems slots slots"]:
    squares = (x * x).sum(2)
    return (squares[:, :, None] + squares[:, None, :] - 2.0 * (x @ x.mT)).clamp_min(0.0)
