"""A student that learns the scale of EMT's energy, and a constant, by least squares."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class ScaledEMT(Calculator):
    """EMT times a scale, plus a constant per atom."""

    implemented_properties: ClassVar = ["energy", "forces", "stress"]

    def __init__(self, scale: float, shift: float):
        super().__init__()
        self.scale, self.shift = scale, shift

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        copy = atoms.copy()
        copy.calc = EMT()
        self.results = {
            "energy": self.scale * copy.get_potential_energy() + self.shift * len(copy),
            "forces": self.scale * copy.get_forces(),
            "stress": self.scale * copy.get_stress(),
        }


def train(labelled, *, record, noise=0.5):
    """Fit scale and shift to energies; few labels leave an error that falls with their number."""
    with Path(record).open("a") as handle:
        handle.write(f"{len(labelled)}\n")
    rows, wanted = [], []
    for atoms in labelled:
        copy = atoms.copy()
        copy.calc = EMT()
        rows.append([copy.get_potential_energy() / len(copy), 1.0])
        wanted.append(atoms.get_potential_energy() / len(atoms))
    (scale, shift), *_ = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)
    return ScaledEMT(float(scale) * (1 + noise / len(labelled)), float(shift))
