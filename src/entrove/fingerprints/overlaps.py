"""Damped overlap matrices of spheres, and the contraction of their derivative.

A sphere holds the centre (row 0, at the origin) and its neighbours. Rows beyond its size are
padding. With widths s_i, w_ij = s_i^2 + s_j^2, D = x_i - x_j and damping
f_i = (1 - |x_i|^2 / r_c^2)^2:

    <s_i|s_j>     = S = (2 s_i s_j / w)^(3/2) exp(-D^2 / 2w)
    <p_i|s_j>     = -sqrt(2) s_i D / w S                     (normalised p = sqrt(2) s_i dS/dx_i)
    <p_i|p_j>     = 2 s_i s_j (1 / w - D D^T / w^2) S
    A             = f_i <.|.> f_j

Ref: Sadeghi et al., J. Chem. Phys. 139, 184118 (2013), section II; Zhu et al., J. Chem. Phys. 144,
034203 (2016), equation 1 (damping).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PADDING_EIGENVALUE = -1.0
"""On the diagonal of padding. A is positive semidefinite, so padding never mixes with orbitals."""


@dataclass(frozen=True)
class Spheres:
    """Spheres of similar size, padded to the largest. Lengths in Angstrom.

    `width` broadcasts: one number stands for all where all widths are equal, which is cheaper.
    """

    x: Float[Tensor, "spheres slots 3"]  # zero in padding
    width: Float[Tensor, "#spheres #slots"]
    is_real: Bool[Tensor, "spheres slots"]
    cutoff_A: float

    @cached_property
    def inverse_w(self) -> Float[Tensor, "#spheres #slots #slots"]:
        """1 / w of each pair, in 1/Angstrom^2."""
        variance = self.width.square()
        return (variance[:, :, None] + variance[:, None, :]).reciprocal_()

    @cached_property
    def distance2(self) -> Float[Tensor, "spheres slots"]:
        """Squared distance from the centre, in Angstrom^2."""
        return self.x.square().sum(dim=2)

    @cached_property
    def rest(self) -> Float[Tensor, "spheres slots"]:
        """1 - d^2 / r_c^2, the root of the damping."""
        # At the very edge rounding gives 0 or less, and the gradient divides by it.
        rest = 1 - self.distance2 / self.cutoff_A**2
        return rest.clamp_(min=torch.finfo(rest.dtype).eps)

    def s_overlaps(self) -> Float[Tensor, "spheres slots slots"]:
        """Damped overlaps of s Gaussians, f_i S f_j; zero in padding."""
        inverse_w, norm2 = self.inverse_w, self.distance2
        f = self.rest.square().mul_(self.is_real)
        if inverse_w.numel() == 1:
            # ln A = x_i . x_j / w + h_i + h_j with h = ln f - x^2 / 2w; ln 0 must stay a number.
            h = (
                f.clamp(min=torch.finfo(f.dtype).tiny)
                .log_()
                .addcmul_(norm2, inverse_w[:, 0], value=-0.5)
            )
            h = h.where(self.is_real, -1e30)[:, :, None]
            one = torch.ones_like(h)
            left = torch.cat([self.x * inverse_w, h, one], dim=2)
            return torch.bmm(left, torch.cat([self.x, one, h], dim=2).mT).exp_()
        # -D^2 / 2 = x_i . x_j - (x_i^2 + x_j^2) / 2
        exponent = torch.baddbmm(
            norm2[:, :, None] + norm2[:, None, :], self.x, self.x.mT, beta=-0.5
        )
        overlap = exponent.mul_(inverse_w).exp_()
        ratio = (2 * self.width)[:, :, None] * self.width[:, None, :] * inverse_w
        return overlap.mul_(ratio.sqrt().mul_(ratio)).mul_(f[:, :, None]).mul_(f[:, None, :])


def orbital_matrix(
    spheres: Spheres, overlap: Float[Tensor, "spheres slots slots"], orbitals: str
) -> Float[Tensor, "spheres size size"]:
    """A of every sphere from its s overlaps; orbitals s, p_x, p_y, p_z of an atom are adjacent."""
    matrix = overlap.clone() if orbitals == "s" else _sp_matrix(spheres, overlap)
    padding = ~spheres.is_real
    if orbitals == "sp":
        padding = padding.repeat_interleave(4, dim=1)
    matrix.diagonal(dim1=1, dim2=2).masked_fill_(padding, PADDING_EIGENVALUE)
    return matrix


def contract(
    spheres: Spheres,
    overlap: Float[Tensor, "spheres slots slots"],
    weights: Float[Tensor, "spheres size size"],
    orbitals: str,
) -> Float[Tensor, "spheres slots 3"]:
    """d tr(W A) / dx for symmetric W, with the centre held at the origin.

    The centre's own row is left as it is: the caller knows that all rows sum to zero.
    """
    if orbitals == "s":
        # W : A = sum of P_ij = W_ij A_ij; at fixed damping dA_ij / dx_i = -A_ij (x_i - x_j) / w.
        inverse_w = spheres.inverse_w
        weighted = weights.mul_(overlap)
        homogeneous = torch.cat([spheres.x, torch.ones_like(spheres.x[:, :, :1])], dim=2)
        if inverse_w.numel() == 1:
            pulled = torch.bmm(weighted, homogeneous)
            total, pulled = pulled[:, :, 3], pulled * inverse_w
        else:
            total = weighted.sum(dim=2)
            pulled = torch.bmm(weighted.mul_(inverse_w), homogeneous)
        gradient = 2 * torch.addcmul(pulled[:, :, :3], pulled[:, :, 3:], spheres.x, value=-1)
    else:
        total, gradient = _sp_contraction(spheres, weights, overlap)
    # df/dx = -4 (1 - d^2 / r_c^2) x / r_c^2, and each f appears in a row and in a column.
    radial = total.div(spheres.rest).mul_(-8 / spheres.cutoff_A**2)
    return gradient.addcmul_(radial[:, :, None], spheres.x)


def _sp_matrix(
    spheres: Spheres, overlap: Float[Tensor, "spheres slots slots"]
) -> Float[Tensor, "spheres size size"]:
    count, slots = spheres.is_real.shape
    inverse_w = spheres.inverse_w
    difference = spheres.x[:, :, None, :] - spheres.x[:, None, :, :]
    row = (math.sqrt(2) * spheres.width)[:, :, None] * inverse_w
    column = (math.sqrt(2) * spheres.width)[:, None, :] * inverse_w
    matrix = overlap.new_empty(count, slots, 4, slots, 4)
    matrix[:, :, 0, :, 0] = overlap
    for a in range(3):
        matrix[:, :, a + 1, :, 0] = -row * difference[..., a] * overlap
        matrix[:, :, 0, :, a + 1] = column * difference[..., a] * overlap
        for b in range(3):
            matrix[:, :, a + 1, :, b + 1] = (
                -row * column * difference[..., a] * difference[..., b] * overlap
            )
        matrix[:, :, a + 1, :, a + 1] += row * column / inverse_w * overlap
    return matrix.view(count, 4 * slots, 4 * slots)


def _sp_contraction(
    spheres: Spheres,
    weights: Float[Tensor, "spheres size size"],
    overlap: Float[Tensor, "spheres slots slots"],
) -> tuple[Float[Tensor, "spheres slots"], Float[Tensor, "spheres slots 3"]]:
    """Sum over j of W : A by atom i, and the gradient at fixed damping.

    W : A of a pair is f_i S f_j B(D), with B = W_ss - row W_ps . D + column W_sp . D
    + row column (w tr W_pp - D W_pp D); its gradient in D is f_i S f_j (dB/dD - D B / w).
    """
    count, slots = spheres.is_real.shape
    inverse_w = spheres.inverse_w
    blocks = weights.view(count, slots, 4, slots, 4)
    difference = spheres.x[:, :, None, :] - spheres.x[:, None, :, :]
    row = (math.sqrt(2) * spheres.width)[:, :, None] * inverse_w
    column = (math.sqrt(2) * spheres.width)[:, None, :] * inverse_w
    both = row * column
    linear = (
        column[..., None] * blocks[:, :, 0, :, 1:] - row[..., None] * blocks[:, :, 1:, :, 0].mT
    )
    pp = blocks[:, :, 1:, :, 1:].transpose(2, 3)
    bent = both[..., None] * torch.einsum("cijab,cijb->cija", pp + pp.mT, difference)
    trace = both / inverse_w * pp.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    bracket = blocks[:, :, 0, :, 0] + trace + ((linear - bent / 2) * difference).sum(dim=-1)
    slope = linear - bent - (bracket * inverse_w)[..., None] * difference
    total = (overlap * bracket).sum(dim=2)
    return total, 2 * torch.einsum("cij,cija->cia", overlap, slope)
