"""Diamond of springs between neighbours: a stiff crystal whose forces are known exactly."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

LATTICE_CONSTANT_A = 3.57
BOND_A = LATTICE_CONSTANT_A * 3**0.5 / 4


def spring_crystal() -> Atoms:
    """32 atoms of carbon at the minimum of `Springs`."""
    return bulk("C", "diamond", a=LATTICE_CONSTANT_A, cubic=True).repeat((2, 2, 1))


class Springs(Calculator):
    """Energy k (r - r0)^2 / 2 of each bond; the highest frequency is sqrt(8 k / 3 m) / 2 pi.

    The bonds of a cell are those of its first positions: they do not break.

    Args:
        stiffness_eV_per_A2: The constant k; 43 gives 48 THz, 30 gives 40 THz.
        pumping_per_ps: A force along the last movement, by this rate g in 1/ps: no gradient of an
            energy. It does work, g times twice the kinetic energy per time.
        noise_eV_per_atom: Standard deviation of the reported energy around that of the springs.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012
    timestep_ps = 1e-3

    def __init__(
        self,
        stiffness_eV_per_A2: float,
        *,
        pumping_per_ps: float = 0.0,
        noise_eV_per_atom: float = 0.0,
    ) -> None:
        super().__init__()
        self.stiffness = stiffness_eV_per_A2
        self.pumping = pumping_per_ps
        self.noise = noise_eV_per_atom
        self.random = np.random.default_rng(0)
        self.last: np.ndarray | None = None
        self.bonds: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        if len(atoms) not in self.bonds:
            self.bonds[len(atoms)] = neighbor_list("ijS", atoms, 1.2 * BOND_A)
        first, second, shifts = self.bonds[len(atoms)]
        vectors = atoms.positions[second] + shifts @ atoms.cell.array - atoms.positions[first]
        lengths = np.linalg.norm(vectors, axis=1)
        stretched = lengths - BOND_A
        slopes = (self.stiffness * stretched / lengths)[:, None] * vectors
        forces = np.zeros_like(atoms.positions)
        np.add.at(forces, first, slopes)
        virial = 0.5 * vectors.T @ slopes
        energy = 0.25 * self.stiffness * (stretched**2).sum()
        if self.pumping and self.last is not None and len(self.last) == len(atoms):
            # amu A / ps^2 in eV / A
            masses = atoms.get_masses()[:, None] * 1.0364269e-4
            velocities = (atoms.positions - self.last) / self.timestep_ps
            forces += self.pumping * masses * velocities
        self.last = atoms.positions.copy()
        energy += len(atoms) * self.noise * self.random.normal()
        stress = (virial / atoms.get_volume())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        self.results = {"energy": energy, "forces": forces, "stress": stress}
