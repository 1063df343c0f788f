"""Students in SOAP features: seconds a point, to compare arms before networks are trained.

`train_linear` is linear in the summed SOAP vectors of the atoms, and soon as good as it can be.
`train` is linear in random Fourier features of the SOAP vector of each atom, so that it goes on
learning from more labels as a network does.

Needs `pip install featomic metatensor-core metatensor-operations wigners ctypes_dlpack`, which are
no dependency of Entrove.
"""

from dataclasses import dataclass

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from featomic import SoapPowerSpectrum

SIGMA_E, SIGMA_F = 0.005, 0.1
"""Errors that the students expect, in eV/atom and eV/A."""
FOLDS = 4
LINEAR_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
RIDGES = (1e-2, 1e-1, 1.0, 10.0)
LENGTHS = (1.0, 2.0, 3.0, 5.0)
"""Lengths of the kernel, over the root mean square distance of two atoms of a species."""
DIRECTIONS = 60
"""Directions of largest variance of the SOAP vectors of a species."""
LINEAR_PART = 0.3
"""Size of the linear features beside the waves, which are of order 1."""
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def train_linear(labelled, max_angular=6, max_radial=8):
    """Fit linear weights of SOAP; the ridge is chosen by cross-validation on the labels."""
    features = Summed(Soap(max_angular, max_radial))
    fitted = fit(labelled, features, LINEAR_RIDGES, scaled=True)
    return Student(features, fitted)


def train(labelled, max_angular=6, max_radial=8, width=1500):
    """Fit weights of waves and of SOAP; length and ridge are chosen by cross-validation.

    `width` is the number of waves of all species together. All structures must have the same
    species.
    """
    soap = Soap(max_angular, max_radial)
    described = [soap(atoms) for atoms in labelled]
    species = range(len(described[0]))
    scales = [Scale.of([parts[one].values for parts in described]) for one in species]
    best = None
    for length in LENGTHS:
        features = Waves(soap, scales, length, width // len(scales))
        fitted = fit(labelled, features, RIDGES, described=described)
        if best is None or fitted.misfit < best[1].misfit:
            best = features, fitted
    return Student(*best)


@dataclass(frozen=True)
class OfSpecies:
    """SOAP vectors (n, d) of the atoms of a species, and their derivatives.

    `by_position` (m, 3, d) is the derivative of the vector of `centres[m]`, an index of `values`,
    by the position of `moved[m]`, an index of the structure; `by_strain` (n, 3, 3, d).
    """

    values: np.ndarray
    centres: np.ndarray
    moved: np.ndarray
    by_position: np.ndarray
    by_strain: np.ndarray


class Soap:
    """The power spectrum within 5 A."""

    def __init__(self, max_angular, max_radial):
        self._calculator = SoapPowerSpectrum(
            cutoff={"radius": 5.0, "smoothing": {"type": "ShiftedCosine", "width": 0.7}},
            density={
                "type": "Gaussian",
                "width": 0.4,
                "scaling": {"type": "Willatt2018", "scale": 2.5, "rate": 1.0, "exponent": 4},
            },
            basis={
                "type": "TensorProduct",
                "max_angular": max_angular,
                "radial": {"type": "Gto", "max_radial": max_radial},
                "spline_accuracy": 1e-6,
            },
        )

    def __call__(self, atoms):
        """Describe the atoms of each species."""
        found = self._calculator.compute(atoms, gradients=["positions", "strain"])
        parts = []
        for block in found.keys_to_properties(["neighbor_1_type", "neighbor_2_type"]).blocks():
            positions, strain = block.gradient("positions"), block.gradient("strain")
            by_strain = np.zeros((len(block.values), *strain.values.shape[1:]))
            by_strain[strain.samples["sample"]] = strain.values
            parts.append(
                OfSpecies(
                    block.values,
                    positions.samples["sample"],
                    positions.samples["atom"],
                    positions.values,
                    by_strain,
                )
            )
        return parts


@dataclass(frozen=True)
class Rows:
    """Energy (d,), forces (3N, d) and stress (6, d), linear in d weights."""

    energy: np.ndarray
    forces: np.ndarray
    stress: np.ndarray

    @classmethod
    def of(cls, atoms, parts):
        """Join energies (d,), derivatives (m, 3, d) of moved atoms and (3, 3, d) of species."""
        forces, stress = [], []
        for _, moved, by_position, by_strain in parts:
            forces.append(np.zeros((len(atoms), 3, by_position.shape[-1])))
            np.subtract.at(forces[-1], moved, by_position)
            symmetric = (by_strain + by_strain.transpose(1, 0, 2)) / 2
            stress.append(np.stack([symmetric[i, j] for i, j in VOIGT]) / atoms.get_volume())
        return cls(
            np.concatenate([energy for energy, *_ in parts]),
            np.concatenate(forces, 2).reshape(3 * len(atoms), -1),
            np.hstack(stress),
        )


@dataclass(frozen=True)
class Summed:
    """The features of a structure are the sums of the SOAP vectors of each species."""

    soap: Soap

    def rows(self, atoms, described=None):
        return Rows.of(
            atoms,
            [
                (part.values.sum(0), part.moved, part.by_position, part.by_strain.sum(0))
                for part in described or self.soap(atoms)
            ],
        )


@dataclass(frozen=True)
class Scale:
    """The directions of largest variance of a species, and the distance of two of its atoms."""

    mean: np.ndarray
    directions: np.ndarray
    distance: float

    @classmethod
    def of(cls, values):
        rows = np.vstack(values)
        variances, directions = np.linalg.eigh(np.cov(rows.T))
        kept = np.argsort(variances)[::-1][:DIRECTIONS]
        kept = kept[variances[kept] > 1e-10 * variances.max()]
        return cls(rows.mean(0), directions[:, kept], np.sqrt(2 * variances[kept].sum()))


class Waves:
    """Cosines of random combinations of the SOAP vector of each atom, and the vector itself."""

    def __init__(self, soap, scales, length, width):
        generator = np.random.default_rng(1)
        self._soap, self._scales, self._size = soap, scales, np.sqrt(2 / width)
        self._waves, self._phases = [], []
        for scale in scales:
            directions = scale.directions.shape[1]
            waves = generator.standard_normal((directions, width)) / length / scale.distance
            self._waves.append(waves)
            self._phases.append(2 * np.pi * generator.random(width))

    def rows(self, atoms, described=None):
        parts = []
        for part, scale, waves, phases in zip(
            described or self._soap(atoms), self._scales, self._waves, self._phases, strict=True
        ):
            rotated = (part.values - scale.mean) @ scale.directions
            angles = rotated @ waves + phases
            slopes = -self._size * np.sin(angles)
            by_position = part.by_position @ scale.directions
            by_strain = part.by_strain @ scale.directions
            linear = LINEAR_PART / scale.distance
            of_waves = (by_strain @ waves) * slopes[:, None, None]
            parts.append(
                (
                    np.append(self._size * np.cos(angles).sum(0), linear * rotated.sum(0)),
                    part.moved,
                    np.concatenate(
                        [
                            (by_position @ waves) * slopes[part.centres][:, None],
                            linear * by_position,
                        ],
                        -1,
                    ),
                    np.concatenate([of_waves.sum(0), linear * by_strain.sum(0)], -1),
                )
            )
        return Rows.of(atoms, parts)


@dataclass(frozen=True)
class Fitted:
    """Weights, the energy per atom beside them in eV, and the misfit of what was left out."""

    weights: np.ndarray
    offset: float
    misfit: float


def fit(labelled, features, ridges, *, described=None, scaled=False):
    """Fit energies and forces with the ridge that cross-validation on the labels prefers.

    With `scaled`, each feature is divided by its root mean square over the rows.
    """
    offset = float(np.mean([atoms.get_potential_energy() / len(atoms) for atoms in labelled]))
    designs, targets = [], []
    grams, sides = [0.0] * FOLDS, [0.0] * FOLDS
    for index, atoms in enumerate(labelled):
        rows = features.rows(atoms, described and described[index])
        design = np.vstack(
            [
                np.append(rows.energy, len(atoms)) / len(atoms) / SIGMA_E,
                np.pad(rows.forces / SIGMA_F, ((0, 0), (0, 1))),
            ]
        )
        energy = (atoms.get_potential_energy() / len(atoms) - offset) / SIGMA_E
        target = np.append(energy, atoms.get_forces().ravel() / SIGMA_F)
        designs.append(design.astype(np.float32))
        targets.append(target)
        grams[index % FOLDS] += design.T @ design
        sides[index % FOLDS] += design.T @ target
    scale = np.ones(len(sides[0]))
    if scaled:
        scale = np.sqrt(np.diag(sum(grams)) / len(labelled))
        scale[scale < 1e-8 * scale.max()] = scale.max()

    def solve(folds, ridge):
        gram = sum(grams[fold] for fold in folds) / np.outer(scale, scale)
        side = sum(sides[fold] for fold in folds) / scale
        return np.linalg.solve(gram + ridge * np.eye(len(scale)), side) / scale

    misfits = []
    for ridge in ridges:
        misfit = 0.0
        for fold in range(FOLDS):
            weights = solve([other for other in range(FOLDS) if other != fold], ridge)
            for design, target in zip(designs[fold::FOLDS], targets[fold::FOLDS], strict=True):
                misfit += float(np.square(design @ weights - target).sum())
        misfits.append(misfit)
    chosen = int(np.argmin(misfits))
    weights = solve(range(FOLDS), ridges[chosen])
    return Fitted(weights[:-1], offset + float(weights[-1]), misfits[chosen])


class Student(Calculator):
    """Predicts with fitted weights."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, features, fitted):
        super().__init__()
        self._features, self._fitted = features, fitted

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        rows, weights = self._features.rows(self.atoms), self._fitted.weights
        self.results = {
            "energy": float(rows.energy @ weights + self._fitted.offset * len(self.atoms)),
            "forces": (rows.forces @ weights).reshape(-1, 3),
            "stress": rows.stress @ weights,
        }
