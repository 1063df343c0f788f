"""A linear student in SOAP features: seconds a point, to screen arms before a network is trained.

Needs `pip install featomic metatensor-core metatensor-operations wigners ctypes_dlpack`, which are
no dependency of Entrove.
"""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from featomic import SoapPowerSpectrum

SIGMA_E, SIGMA_F = 0.005, 0.1
"""Errors that it expects, in eV/atom and eV/A."""
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLDS = 4
SOAP = {
    "cutoff": {"radius": 5.0, "smoothing": {"type": "ShiftedCosine", "width": 0.7}},
    "density": {
        "type": "Gaussian",
        "width": 0.4,
        "scaling": {"type": "Willatt2018", "scale": 2.5, "rate": 1.0, "exponent": 4},
    },
    "basis": {
        "type": "TensorProduct",
        "max_angular": 6,
        "radial": {"type": "Gto", "max_radial": 8},
        "spline_accuracy": 1e-6,
    },
}


def describe(atoms, calculator):
    """Summed features (d,), minus their derivatives by positions (3N, d), and by strain (6, d)."""
    found = calculator.compute(atoms, gradients=["positions", "strain"])
    block = found.keys_to_properties(["neighbor_1_type", "neighbor_2_type"]).block(0)
    width = block.values.shape[-1]
    by_position = block.gradient("positions")
    forces = np.zeros((len(atoms), 3, width))
    np.add.at(forces, by_position.samples["atom"], by_position.values)
    by_strain = block.gradient("strain").values.sum(0)
    voigt = np.stack(
        [by_strain[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    )
    symmetric = (by_strain + by_strain.transpose(1, 0, 2)) / 2
    for row, (i, j) in enumerate(((1, 2), (0, 2), (0, 1)), start=3):
        voigt[row] = symmetric[i, j]
    return block.values.sum(0), -forces.reshape(-1, width), voigt / atoms.get_volume()


class LinearSoap(Calculator):
    """Predicts with weights of the features and an energy per atom."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, weights, offset, calculator):
        super().__init__()
        self._weights, self._offset, self._calculator = weights, offset, calculator

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        summed, forces, stress = describe(self.atoms, self._calculator)
        self.results = {
            "energy": float(summed @ self._weights + self._offset * len(self.atoms)),
            "forces": (forces @ self._weights).reshape(-1, 3),
            "stress": stress @ self._weights,
        }


def train(labelled):
    """Fit energies and forces; the ridge is chosen by cross-validation on the labels."""
    calculator = SoapPowerSpectrum(**SOAP)
    offset = float(np.mean([atoms.get_potential_energy() / len(atoms) for atoms in labelled]))
    grams, sides, rows, wanted = [], [], [], []
    for atoms in labelled:
        summed, forces, _ = describe(atoms, calculator)
        energy = (atoms.get_potential_energy() / len(atoms) - offset) / SIGMA_E
        design = np.vstack(
            [
                np.append(summed, len(atoms)) / len(atoms) / SIGMA_E,
                np.pad(forces / SIGMA_F, ((0, 0), (0, 1))),
            ]
        )
        target = np.append(energy, atoms.get_forces().ravel() / SIGMA_F)
        rows.append(design)
        wanted.append(target)
        grams.append(design.T @ design)
        sides.append(design.T @ target)
    scale = np.sqrt(np.mean([np.diag(gram) for gram in grams], axis=0))
    scale[scale < 1e-8 * scale.max()] = scale.max()

    def fit(chosen, ridge):
        gram = sum(grams[i] for i in chosen) / np.outer(scale, scale)
        side = sum(sides[i] for i in chosen) / scale
        return np.linalg.solve(gram + ridge * np.eye(len(scale)), side) / scale

    everything = range(len(labelled))
    scores = []
    for ridge in RIDGES:
        misfit = 0.0
        for fold in range(FOLDS):
            left = [i for i in everything if i % FOLDS == fold]
            weights = fit([i for i in everything if i % FOLDS != fold], ridge)
            misfit += sum(np.square(rows[i] @ weights - wanted[i]).sum() for i in left)
        scores.append(misfit)
    weights = fit(everything, RIDGES[int(np.argmin(scores))])
    return LinearSoap(weights[:-1], offset + float(weights[-1]), calculator)
