"""Representative picks: atomic environments distributed like those of what is to be predicted.

A structure is the point phi_c = 1/n sum_i phi(x_i), the mean over its atoms of random Fourier
features of a kernel of their features x, so that phi_c . phi_d is the mean kernel of their pairs
of atoms. The kernel is the mean of Gaussians of several lengths: long ones see which phases,
strains and temperatures a few picks lack, short ones what many do. The picks S make

    J(S) = | sum_t w_t phi_t - 1/|S| sum_(c in S) phi_c |^2,

the squared maximum mean discrepancy between them and a target with weights w, as small as one pick
after the other can (kernel herding). What is labelled counts in S.

Why: a model with an error of its own, because it is small, or trained for a short time, predicts a
distribution best from a sample of this distribution. Picks of extremes teach it the extremes.
Compared with random picks, a distribution is matched with an error of order 1/|S| instead of
1/sqrt(|S|), and anchors, phases and temperatures come in the proportions of the target. One
evaluation of the features is needed, no derivatives and no labels.

A large cell is the mean of more environments, and so nearer to the target than a small one of the
same kind: picks would be the largest cells, which cost most. So large cells are at most as
frequent among the picks as among the candidates: however large is called large, and after each
pick.

Features of each species are rotated and scaled to unit covariance; the directions of largest
variance count. Atoms of different species have kernel zero on average, by phases of their own.

Refs: Gretton et al., JMLR 13, 723 (2012), the discrepancy; Chen, Welling & Smola, UAI 2010, 109,
herding; Rahimi & Recht, NeurIPS 20 (2007), the Fourier features; Li, Swersky & Zemel, ICML 2015,
PMLR 37, 1718, kernels of several lengths.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrove.entropy.batches import evaluate_in_batches
from entrove.entropy.labels.rows import is_of_structure
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.rows import split_rows
from entrove.entropy.typed_torch import distinct, eigh, integers
from entrove.features import LEAST_SPREAD, AtomFeatures, FeatureMap
from entrove.fingerprints.nearness import WHOLE_TOLERANCE_ATOMS
from entrove.selection.budget import Budget
from entrove.structures import content_hash

WAVES = 512
"""Random waves; a point has a cosine and a sine of each."""

DIRECTIONS = 40
"""Most directions of the features of a species."""

LENGTHS = (1 / 3, 2 / 3, 4 / 3)
"""Lengths of the kernel over the root mean square distance of two atoms, sqrt(2 directions)."""

CALIBRATED_ON = 2000
"""Most structures whose features scale those of all."""

SEED = 20260523


@dataclass(frozen=True)
class SpeciesWaves:
    """Scaling, waves and phases of one species: phi(x) from the features x of an atom."""

    mean: Float[Tensor, " features"]
    waves: Float[Tensor, "features waves"]
    phases: Float[Tensor, " waves"]

    @classmethod
    def of(cls, number: int, moments: Moments) -> "SpeciesWaves":
        """Scale by the covariance of these rows; what does not vary is left out."""
        covariance = moments.scatter() / max(moments.count, 1)
        magnitude = moments.outer.diagonal().mean() / max(moments.count, 1)
        sizes, directions = eigh(covariance)
        kept = torch.argsort(sizes, descending=True)[:DIRECTIONS]
        kept = kept[sizes[kept] > (LEAST_SPREAD**2 * magnitude).clamp_min(1e-300)]
        generator = torch.Generator().manual_seed(SEED + number)
        lengths = torch.tensor(LENGTHS, dtype=torch.float64) * math.sqrt(2 * max(len(kept), 1))
        random = torch.randn(DIRECTIONS, WAVES, generator=generator, dtype=torch.float64)
        phases = 2 * math.pi * torch.rand(WAVES, generator=generator, dtype=torch.float64)
        scaled = directions[:, kept] / sizes[kept].sqrt()
        of_wave = lengths[torch.arange(WAVES) % len(LENGTHS)]
        return cls(moments.mean(), scaled @ random[: len(kept)] / of_wave, phases)

    def apply(self, rows: Float[Tensor, "atoms features"]) -> Float[Tensor, "atoms width"]:
        """phi of each atom, of length 1."""
        angles = (rows - self.mean) @ self.waves + self.phases
        return torch.cat([angles.cos(), angles.sin()], 1) / math.sqrt(WAVES)


class Embedding:
    """Structures as points phi_c, see the head of this file.

    Features of the structures that scale them are evaluated once; those must not be changed
    afterwards.

    Args:
        features: Turns atoms into features.
        reference: Structures whose atoms scale the features, with every species that will occur.
    """

    def __init__(self, features: FeatureMap, reference: Sequence[Atoms]) -> None:
        self._features = features
        self._species_blocks = not is_of_structure(features)
        sample = list(evaluate_in_batches(features, _sample(reference)))
        moments = sum(
            (
                SpeciesMoments.of(
                    split_rows(batch, "per_atom", species_blocks=self._species_blocks)
                )
                for batch in sample
            ),
            SpeciesMoments(),
        )
        self._species = {n: SpeciesWaves.of(n, moments[n]) for n in moments.species}
        # With the structures themselves, so that no other one gets their id.
        self._known = {
            id(atoms): (atoms, point)
            for batch in sample
            for atoms, point in zip(batch.structures, self._of(batch), strict=True)
        }

    def points(self, structures: Sequence[Atoms]) -> Float[Tensor, "structures width"]:
        """phi_c of each structure, in single precision."""
        found = torch.zeros(len(structures), 2 * WAVES)
        new = [index for index, atoms in enumerate(structures) if id(atoms) not in self._known]
        for index, atoms in enumerate(structures):
            if id(atoms) in self._known:
                found[index] = self._known[id(atoms)][1]
        for batch in evaluate_in_batches(self._features, [structures[index] for index in new]):
            found[new[batch.first : batch.first + len(batch)]] = self._of(batch)
        return found

    def _of(self, batch: AtomFeatures) -> Float[Tensor, "systems width"]:
        sums = torch.zeros(batch.n_systems, 2 * WAVES, dtype=torch.float64)
        for rows in split_rows(batch, "per_atom", species_blocks=self._species_blocks):
            of_atoms = self._species[rows.number].apply(rows.values.cpu())
            sums.index_add_(0, rows.system_idx.cpu(), of_atoms)
        atoms = torch.bincount(batch.system_idx.cpu(), minlength=batch.n_systems)
        return (sums / atoms[:, None]).to(torch.float32)


@dataclass(frozen=True)
class Representative:
    """Picks, by how much J falls with each, and what was left out as nearly equal.

    `near` has the pick that a candidate nearly equals, None for a labelled structure.
    """

    indices: list[int]
    falls: list[float]
    near: dict[int, int | None]


def distance_of(tolerance: float) -> float:
    """Distance of two points whose scaled features all differ by `tolerance`."""
    return tolerance * math.sqrt(sum(length**-2 for length in LENGTHS) / len(LENGTHS) / 2)


class SizeShares:
    """Keeps large cells at most as frequent among picks as among the candidates.

    Args:
        sizes: Number of atoms of each candidate.
        available: The candidates whose sizes count.
    """

    def __init__(
        self, sizes: Int[Tensor, " candidates"], available: Bool[Tensor, " candidates"]
    ) -> None:
        levels = torch.tensor(distinct(sizes))
        self._levels, self._level = len(levels), torch.searchsorted(levels, sizes)
        # Of the candidates, and of the picks so far: how many are of this level or above.
        counts = self._at_least(self._level[available])
        self._shares = counts / counts[:1].clamp_min(1)
        self._picked = torch.zeros(self._levels, dtype=torch.float64)

    def allowed(self, available: Bool[Tensor, " candidates"]) -> Bool[Tensor, " candidates"]:
        """The available candidates that are not too large; all, where no other is left."""
        most = torch.floor(self._shares * (self._picked[0] + 1) + 0.5)
        full = torch.nonzero(self._picked >= most).squeeze(1)
        if not len(full):
            return available
        fitting = available & (self._level < full[0])
        return fitting if bool(fitting.any()) else available

    def add(self, candidate: int) -> None:
        """Count a pick."""
        self._picked += self._at_least(self._level[candidate : candidate + 1])

    def _at_least(self, levels: Int[Tensor, " some"]) -> Float[Tensor, " levels"]:
        counts = torch.bincount(levels, minlength=self._levels).double()
        return counts.flip(0).cumsum(0).flip(0)


class NearDuplicates:
    """Leaves out candidates that nearly equal a pick or a labelled structure.

    Args:
        points: phi_c of the candidates.
        sizes: Number of atoms of each.
        least_distance: Of two structures of up to `WHOLE_TOLERANCE_ATOMS` atoms; 0 for no limit.

    Attributes:
        near: The pick that a candidate nearly equals, None for a labelled structure.
    """

    def __init__(
        self,
        points: Float[Tensor, "candidates width"],
        sizes: Int[Tensor, " candidates"],
        least_distance: float,
    ) -> None:
        self.near: dict[int, int | None] = {}
        self._points = points
        self._active = least_distance > 0
        share = (WHOLE_TOLERANCE_ATOMS / sizes.to(points)).clamp_max(1.0)
        self._limits = least_distance**2 * share
        self._squares = points.square().sum(1)

    def leave_out(
        self,
        point: Float[Tensor, " width"],
        products: Float[Tensor, " candidates"],
        available: Bool[Tensor, " candidates"],
        pick: int | None,
    ) -> None:
        """Clear in `available` what nearly equals `point`; `products` are those with it."""
        if not self._active:
            return
        rough = self._squares + point.square().sum() - 2 * products
        # Single precision leaves a small difference of large numbers no digits.
        close = torch.nonzero(available & (rough < self._limits + 1e-5)).squeeze(1)
        exact = (self._points[close] - point).square().sum(1)
        close = close[exact < self._limits[close]]
        self.near.update(dict.fromkeys(integers(close), pick))
        available[close] = False


def pick_representative(
    points: Float[Tensor, "candidates width"],
    target: Float[Tensor, " width"],
    labelled: Float[Tensor, "labelled width"],
    available: Bool[Tensor, " candidates"],
    count: int,
    *,
    sizes: Int[Tensor, " candidates"],
    least_distance: float = 0.0,
    budget: Budget | None = None,
) -> Representative:
    """Pick up to `count` available candidates.

    Args:
        points: phi_c of the candidates.
        target: The mean that the picks shall have.
        labelled: phi_c of what is labelled.
        available: Candidates that may be picked.
        count: Most picks.
        sizes: Number of atoms of each candidate, see `SizeShares`.
        least_distance: One that is nearer to a pick before it, or to what is labelled, is left
            out, see `NearDuplicates`.
        budget: What labels may cost; what no longer fits is not picked.

    The first falls may be large and later ones negative: a single pick can only be nearer to the
    target than the picks so far where these do not match it yet. All falls together are J of what
    is labelled (of nothing: the square of the target) minus J of all.
    """
    available = available.clone()
    budget = budget or Budget.unlimited(len(points))
    shares = SizeShares(sizes, available)
    duplicates = NearDuplicates(points, sizes, least_distance)
    for known in labelled if least_distance > 0 else ():
        duplicates.leave_out(known, points @ known, available, None)
    squares = points.square().sum(1)
    total, size = labelled.sum(0, dtype=torch.float64), len(labelled)
    wanted, overlap = (points @ vector.to(points) for vector in (target, total))
    discrepancy = _square(target - total / max(size, 1))
    indices: list[int] = []
    falls: list[float] = []
    while len(indices) < count and bool(budget.pass_over(available).any()):
        score = wanted - (overlap + squares / 2) / (size + 1)
        chosen = int(torch.where(shares.allowed(available), score, -torch.inf).argmax())
        available[chosen] = False
        budget.spend(chosen)
        shares.add(chosen)
        total, size = total + points[chosen], size + 1
        products = points @ points[chosen]
        overlap += products
        duplicates.leave_out(points[chosen], products, available, chosen)
        left = _square(target - total / size)
        indices.append(chosen)
        falls.append(discrepancy - left)
        discrepancy = left
    return Representative(indices, falls, duplicates.near)


def _square(vector: Float[Tensor, " width"]) -> float:
    return float(vector.square().sum(dtype=torch.float64))


def _sample(structures: Sequence[Atoms]) -> list[Atoms]:
    """Up to `CALIBRATED_ON` structures, and the first with each other species.

    They are the first in the order of their hashes, which is random, and not that of the list.
    """
    if len(structures) <= CALIBRATED_ON:
        return list(structures)
    ordered = sorted(structures, key=content_hash)
    chosen = ordered[:CALIBRATED_ON]
    known = {symbol for atoms in chosen for symbol in atoms.symbols.species()}
    for atoms in ordered:
        new = atoms.symbols.species() - known
        if new:
            chosen.append(atoms)
            known |= new
    return chosen
