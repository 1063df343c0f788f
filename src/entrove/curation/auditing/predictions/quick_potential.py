"""A potential that is fitted to the labelled set itself, in seconds, to judge its labels.

It is linear in the features of `basis`: E = w . X, so that forces and stress are linear in w, too.
Its rows are energies per atom and forces along a few random directions of each structure; a row
that the others contradict loses its weight (iteratively reweighted least squares, Huber), so a
minority of wrong labels does not move it. Structures of the fit are predicted by fits without
them, in five folds. The stress is never fitted: what it predicts for the stress is evidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrove.curation.auditing.predictions.basis import Basis, Surroundings
from entrove.fingerprints.batching import Batch, to_batches
from entrove.threads import claim_threads, map_over_threads

FOLDS = 5
ENERGY_SCALE_EV_PER_ATOM = 0.01
MOST_ATOMS_PER_BATCH = 128
"""Small batches stay in the cache; several run at a time."""

MOST_LEVERAGE = 1.0
"""Of what the labels of other structures determine, see `QuickPotential.energy_leverages`."""

FORCE_DIRECTIONS = 12

_STRAIN = 0.01
"""What `QuickPotential.strain_leverages` strain cells by."""

_STEP_A = 1e-4
_ROWS_PER_FEATURE = 15
_HUBER = 2.0
_RIDGE = 1e-8
_SOFT_WEIGHT = 0.03


@dataclass(frozen=True)
class Predicted:
    """Energy (eV), forces (eV/A) and strain derivative (eV, 3 x 3) of structures, as a list."""

    energies_eV: Float[np.ndarray, " structures"]
    forces_eV_per_A: list[np.ndarray]
    virials_eV: Float[np.ndarray, "structures 3 3"]


PredictWithModel = Callable[[Sequence[Atoms]], Predicted]
"""What a model says of structures."""


@dataclass(frozen=True)
class Rows:
    """Rows of the fit: `owner` is the structure of each, `is_energy` tells its kind.

    `values` are divided by the scale of their kind, `force_scale_eV_per_A` or
    `ENERGY_SCALE_EV_PER_ATOM`.
    """

    features: Float[np.ndarray, "rows width"]
    values: Float[np.ndarray, " rows"]
    owner: Int[np.ndarray, " rows"]
    is_energy: np.ndarray
    force_scale_eV_per_A: float

    def among(self, structures: np.ndarray) -> "Rows":
        """The rows of some structures."""
        return self.only(np.isin(self.owner, structures))

    def only(self, chosen: Bool[np.ndarray, " rows"]) -> "Rows":
        """Some of the rows."""
        return replace(
            self,
            features=self.features[chosen],
            values=self.values[chosen],
            owner=self.owner[chosen],
            is_energy=self.is_energy[chosen],
        )


@dataclass(frozen=True)
class QuickPotential:
    """A basis and weights: one vector of all, and one of each fold for structures of the fit.

    `normals` are normal matrices of the folds and, last, of the fit to all, of features that are
    divided by `scales`.
    """

    basis: Basis
    weights: Float[np.ndarray, " width"]
    fold_weights: Float[np.ndarray, "folds width"]
    normals: Float[np.ndarray, "fits width width"]
    scales: Float[np.ndarray, " width"]
    force_error: float
    """Root mean square error of forces in the folds, relative to the forces themselves."""
    force_scale_eV_per_A: float
    """What forces are divided by in the fit."""

    @property
    def table(self) -> Float[np.ndarray, "fits width"]:
        """Weights of the folds and, last, of the fit to all: -1 is the fit without a fold."""
        return np.vstack([self.fold_weights, self.weights])

    @cached_property
    def spreads(self) -> Float[np.ndarray, "fits width width"]:
        """Inverse normal matrices of features that are not divided, which few uses need."""
        return np.linalg.inv(self.normals) / np.outer(self.scales, self.scales)

    def energy_leverages(
        self, sums: Float[np.ndarray, "systems width"], sizes: np.ndarray, folds: np.ndarray
    ) -> Float[np.ndarray, " systems"]:
        """How far energies of structures are extrapolated by fits that have not seen them.

        h = x . (X^T W X)^-1 x for the row x of an energy: the variance of its prediction is h
        times that of a row of the fit, and that of its residual 1 + h. Inside of the fit it would
        have the leverage h / (1 + h), of which more than 1/2 says that the other rows leave the
        prediction open (Huber & Ronchetti, Robust Statistics, 2nd ed. (2009), section 7.2).
        """
        return self._leverages(sums / sizes[:, None] / ENERGY_SCALE_EV_PER_ATOM, folds)

    def strain_leverages(
        self, structures: Sequence[Atoms], folds: Sequence[int]
    ) -> Float[np.ndarray, " structures"]:
        """How far changes of energies by strains of 1 % are extrapolated, as `energy_leverages`.

        Of each structure the largest of the six strains. Frames of one cell determine the strain
        derivative only as far as their displacements sample every distance that it changes.
        """
        found = np.zeros(len(structures))
        chosen = np.array(folds, dtype=int)

        def of_batch(batch: Batch) -> None:
            around = self.basis.surroundings(batch)
            sizes = np.array([len(structures[i]) for i in batch.structures])
            for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
                strain = torch.zeros(3, 3, dtype=around.displacement.dtype)
                strain[a, b] += 0.5
                strain[b, a] += 0.5
                changes = _STRAIN * _derivative(self.basis, around, around.displacement @ strain)
                of_strain = self.energy_leverages(changes, sizes, chosen[batch.structures])
                found[batch.structures] = np.maximum(found[batch.structures], of_strain)

        over_batches(of_batch, structures)
        return found

    def force_leverages(
        self, structures: Sequence[Atoms], folds: Sequence[int]
    ) -> Float[np.ndarray, " structures"]:
        """How far forces are extrapolated, as `energy_leverages`.

        The mean over `FORCE_DIRECTIONS` random directions, in each of which one atom moves.
        """
        found = np.zeros(len(structures))
        chosen = np.array(folds, dtype=int)

        def of_batch(batch: Batch) -> None:
            generator = np.random.default_rng(int(batch.structures[0]))
            around = self.basis.surroundings(batch)
            sizes = np.array([len(structures[i]) for i in batch.structures])
            for _ in range(FORCE_DIRECTIONS):
                u = torch.as_tensor(_moving_one_atom(sizes, generator))
                row = _slope(self.basis, around, u) / self.force_scale_eV_per_A
                of_row = self._leverages(row, chosen[batch.structures])
                found[batch.structures] += of_row / FORCE_DIRECTIONS

        over_batches(of_batch, structures)
        return found

    def _leverages(
        self, x: Float[np.ndarray, "rows width"], folds: np.ndarray
    ) -> Float[np.ndarray, " rows"]:
        found = np.empty(len(x))
        for fold in np.unique(folds):
            own = folds == fold
            found[own] = ((x[own] @ self.spreads[fold]) * x[own]).sum(axis=1)
        return np.maximum(found, 0.0)  # rounding of a sum that is never negative

    def predict(
        self, structures: Sequence[Atoms], folds: Sequence[int] | None = None
    ) -> Predicted:
        """Predict structures; those with a fold are predicted without it (-1 for none)."""
        energies = np.zeros(len(structures))
        virials = np.zeros((len(structures), 3, 3))
        forces: list[np.ndarray] = [np.zeros((len(atoms), 3)) for atoms in structures]
        table = self.table
        chosen = np.array([-1] * len(structures) if folds is None else folds, dtype=int)

        def predict_batch(batch: Batch) -> None:
            around = self.basis.surroundings(batch)
            seen = examine(self.basis, around, torch.as_tensor(table[chosen[batch.structures]]))
            energies[batch.structures] = seen.energies_eV
            virials[batch.structures] = seen.virials_eV
            ends = np.cumsum([len(structures[i]) for i in batch.structures])[:-1]
            split = np.split(seen.forces_eV_per_A, ends)
            for index, part in zip(batch.structures, split, strict=True):
                forces[index] = part

        over_batches(predict_batch, structures)
        return Predicted(energies, forces, virials)


def solve_rows(basis: Basis, rows: Rows, *, with_energies: bool = True) -> QuickPotential | None:
    """Fit the weights to rows, all together and in folds.

    Args:
        basis: Features that the energy is linear in.
        rows: Rows of the fit, from `make_rows`. The fold of structure i is i % FOLDS.
        with_energies: Whether rows of energies count, or those of forces alone.

    Returns None when there are too few labels for a fit.
    """
    if not with_energies:
        rows = rows.only(~rows.is_energy)
    if len(np.unique(rows.owner)) < 4 or not len(rows.values):
        return None
    scale = np.sqrt((rows.features**2).mean(axis=0))
    scale[scale < 1e-12 * max(scale.max(), 1e-300)] = np.inf
    scaled = rows.features / scale
    trust = np.ones(len(rows.values))
    weights = np.zeros(basis.width)
    for _ in range(6):
        normal, moment = _weighted(scaled, trust, rows.values)
        weights = np.linalg.solve(_with_ridge(normal), moment)
        miss = np.abs(rows.values - scaled @ weights)
        for kind in (rows.is_energy, ~rows.is_energy):
            if kind.any():
                typical = max(1.4826 * float(np.median(miss[kind])), 1e-9)
                trust[kind] = np.minimum(1.0, _HUBER * typical / np.maximum(miss[kind], 1e-300))
    folds, normals = [], []
    squares = total = 0.0
    fold_of = rows.owner % FOLDS
    parts = [
        _weighted(scaled[own], trust[own], rows.values[own])
        for own in (fold_of == fold for fold in range(FOLDS))
    ]
    for fold in range(FOLDS):
        inside = fold_of == fold
        # A sum of the other folds: a difference to the sum of all would lose digits.
        others = [part for other, part in enumerate(parts) if other != fold]
        normals.append(_with_ridge(np.sum([normal for normal, _ in others], axis=0)))
        of_fold = np.linalg.solve(normals[-1], np.sum([moment for _, moment in others], axis=0))
        folds.append(of_fold / scale)
        forces = inside & ~rows.is_energy
        # Medians would hide a fit that fails for a third; outliers must not hide a good one.
        kept = trust[forces] > 0.2
        miss = (rows.values - scaled @ of_fold)[forces][kept]
        squares += float((miss**2).sum())
        total += float((rows.values[forces][kept] ** 2).sum())
    error = float(np.sqrt(squares / total)) if total > 0 else 1.0
    normals.append(_with_ridge(np.sum([normal for normal, _ in parts], axis=0)))
    return QuickPotential(
        basis,
        weights / scale,
        np.array(folds),
        np.array(normals),
        scale,
        error,
        rows.force_scale_eV_per_A,
    )


def energies_left_by_forces(
    basis: Basis, rows: Rows, structures: int
) -> Float[np.ndarray, " structures"] | None:
    """What a fit that forces dominate leaves of the energies, in eV/atom, predicted in folds.

    With many energies of a second level of theory, a fit that trusts energies compromises between
    the two; this one takes little more than a constant per element from them. Structures without
    an energy are not numbers. Returns None when there are too few labels for a fit.
    """
    weight = np.where(rows.is_energy, _SOFT_WEIGHT, 1.0)
    soft = replace(rows, features=rows.features * weight[:, None], values=rows.values * weight)
    potential = solve_rows(basis, soft)
    if potential is None:
        return None
    chosen = rows.is_energy
    owner = rows.owner[chosen]
    predicted = (rows.features[chosen] * potential.fold_weights[owner % FOLDS]).sum(axis=1)
    left = np.full(structures, np.nan)
    left[owner] = (rows.values[chosen] - predicted) * ENERGY_SCALE_EV_PER_ATOM
    return left


def make_rows(
    basis: Basis,
    structures: Sequence[Atoms],
    energies_eV: Float[np.ndarray, " structures"],
    forces_eV_per_A: Sequence[np.ndarray | None],
    *,
    seed: int = 0,
) -> Rows:
    """Features of energies per atom, and of forces along random directions."""
    known = [forces for forces in forces_eV_per_A if forces is not None]
    strength = np.sqrt(np.median([float((f**2).mean()) for f in known])) if known else 1.0
    # Forces of ideal crystals are zero but for noise: they must not set the scale.
    force_scale = max(0.1 * float(strength), 0.02)
    directions = max(4, _ROWS_PER_FEATURE * basis.width // max(len(structures), 1))

    def rows_of(batch: Batch) -> Rows:
        # Random numbers of a batch must not depend on which thread comes first.
        generator = np.random.default_rng([seed, int(batch.structures[0])])
        around = basis.surroundings(batch)
        sums = basis.sums(around, basis.of_atoms(around)).numpy()
        sizes = np.array([len(structures[i]) for i in batch.structures])
        per_atom = np.asarray(energies_eV)[batch.structures] / sizes
        features = [sums / sizes[:, None] / ENERGY_SCALE_EV_PER_ATOM]
        values, owner = [per_atom / ENERGY_SCALE_EV_PER_ATOM], [batch.structures]
        given = [forces_eV_per_A[i] for i in batch.structures]
        has = np.array([of_one is not None for of_one in given])
        stacked = np.concatenate(
            [
                np.zeros((size, 3)) if of_one is None else of_one
                for of_one, size in zip(given, sizes, strict=True)
            ]
        )
        starts = np.cumsum(sizes) - sizes
        for k in range(min(directions, 3 * int(sizes.max())) if has.any() else 0):
            # One atom of each at a time: the sum over all atoms would hide single errors.
            u = _moving_one_atom(sizes, generator)
            slope = _slope(basis, around, torch.as_tensor(u))
            useful = has & (k < 3 * sizes)
            along = np.add.reduceat((stacked * u).sum(axis=1), starts)
            features.append((-slope / force_scale)[useful])
            values.append((along / force_scale)[useful])
            owner.append(batch.structures[useful])
        kinds = np.arange(sum(map(len, values))) < len(sizes)
        return Rows(
            np.concatenate(features),
            np.concatenate(values),
            np.concatenate(owner),
            kinds,
            force_scale,
        )

    parts = over_batches(rows_of, structures)
    return Rows(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.owner for part in parts]),
        np.concatenate([part.is_energy for part in parts]),
        force_scale,
    )


def over_batches[Result](
    function: Callable[[Batch], Result], structures: Sequence[Atoms]
) -> list[Result]:
    """Apply a function to batches of the structures, several at a time."""
    device = torch.device("cpu")
    batches = list(to_batches(structures, max_atoms=MOST_ATOMS_PER_BATCH))
    with claim_threads(device):
        return map_over_threads(function, batches, device)


def with_energies_of(rows: Rows, scaled: Float[np.ndarray, " structures"]) -> Rows:
    """The same rows with other energies per atom, in eV."""
    values = rows.values.copy()
    values[rows.is_energy] = scaled[rows.owner[rows.is_energy]] / ENERGY_SCALE_EV_PER_ATOM
    return replace(rows, values=values)


def with_two_zeros(rows: Rows, upper: np.ndarray) -> Rows:
    """The rows with one more feature, the last: a constant per atom for energies of some frames.

    Its weight is the difference of the two zeros of energy, in eV/atom.
    """
    constant = (rows.is_energy & upper[rows.owner]) / ENERGY_SCALE_EV_PER_ATOM
    return replace(rows, features=np.column_stack([rows.features, constant]))


def _moving_one_atom(
    sizes: Int[np.ndarray, " systems"], generator: np.random.Generator
) -> Float[np.ndarray, "atoms 3"]:
    """A random direction of one atom of each system; the others stay."""
    picked = np.cumsum(sizes) - sizes + generator.integers(0, sizes)
    u = np.zeros((int(sizes.sum()), 3))
    u[picked] = generator.normal(size=(len(sizes), 3))
    u[picked] /= np.linalg.norm(u[picked], axis=1, keepdims=True)
    return u


def _slope(basis: Basis, around: Surroundings, u: Tensor) -> np.ndarray:
    """Derivative of the features of each system along displacements."""
    return _derivative(basis, around, u[around.neighbour] - u[around.centre])


def _derivative(
    basis: Basis, around: Surroundings, change: Float[Tensor, "atoms slots 3"]
) -> np.ndarray:
    """Derivative of the features of each system, by central differences.

    `change` is that of the displacements from atoms to their neighbours.
    """
    relative = change * around.is_neighbour[..., None]
    ahead = basis.of_atoms(around, around.displacement + _STEP_A * relative)
    behind = basis.of_atoms(around, around.displacement - _STEP_A * relative)
    return basis.sums(around, (ahead - behind) / (2 * _STEP_A)).numpy() * np.concatenate(
        [np.zeros(len(basis.species)), np.ones(basis.width - len(basis.species))]
    )


def _weighted(
    features: Float[np.ndarray, "rows width"],
    trust: Float[np.ndarray, " rows"],
    values: Float[np.ndarray, " rows"],
) -> tuple[Float[np.ndarray, "width width"], Float[np.ndarray, " width"]]:
    """X^T W X and X^T W y, the two sides of the normal equations."""
    half = features * np.sqrt(trust)[:, None]
    # BLAS computes one triangle of a product with its own transpose, in half the time.
    return half.T @ half, features.T @ (trust * values)


def _with_ridge(normal: np.ndarray) -> np.ndarray:
    ridge = _RIDGE * max(float(np.trace(normal)) / len(normal), 1e-12)
    return normal + ridge * np.eye(len(normal))


@dataclass(frozen=True)
class Examined:
    """Invariants of the atoms of a batch, and energies, forces and dE/dstrain of its systems.

    `sums` are the features that are linear in the weights.
    """

    of_atoms: Float[Tensor, "atoms features"]
    sums: Float[np.ndarray, "systems width"]
    energies_eV: Float[np.ndarray, " systems"]
    forces_eV_per_A: Float[np.ndarray, "atoms 3"]
    virials_eV: Float[np.ndarray, "systems 3 3"]


def examine(
    basis: Basis, around: Surroundings, weights: Float[Tensor, "systems width"]
) -> Examined:
    """Evaluate a batch by one forward and one backward pass."""
    state = around.batch.state
    x = around.displacement.detach().requires_grad_(True)
    of_atoms = basis.of_atoms(around, x)
    sums = basis.sums(around, of_atoms)
    energies = (sums * weights).sum(dim=1)
    forces = x.new_zeros(len(around.neighbour), 3)
    virials = x.new_zeros(len(energies), 3, 3)
    if x.shape[1]:
        (gradient,) = torch.autograd.grad(energies.sum(), x)
        gradient = gradient.detach() * around.is_neighbour[..., None]
        forces = forces + gradient.sum(dim=1)
        forces.index_add_(0, around.neighbour.flatten(), -gradient.flatten(0, 1))
        virials.index_add_(0, state.system_idx, torch.bmm(gradient.mT, x.detach()))
    symmetric = (virials + virials.mT) / 2
    return Examined(
        of_atoms.detach(),
        sums.detach().numpy(),
        energies.detach().numpy(),
        forces.detach().numpy(),
        symmetric.detach().numpy(),
    )
