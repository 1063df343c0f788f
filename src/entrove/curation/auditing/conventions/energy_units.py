"""What energies and forces of a file can be, relative to each other."""

from dataclasses import dataclass

import numpy as np

_HARTREE_EV = 27.211386245988
_HARTREE_PER_BOHR = 51.422067476


@dataclass(frozen=True)
class EnergyConvention:
    """What energies and forces, relative to each other, can be.

    Energies times `energy` are in eV, forces times `forces` in eV/A; energies `per_atom` are to be
    multiplied by the number of atoms, too.
    """

    name: str
    kind: str
    what: str
    remedy: str
    energy: float = 1.0
    forces: float = 1.0
    per_atom: bool = False

    def factors(self, sizes: np.ndarray) -> np.ndarray:
        """What energies of structures of these sizes are multiplied by."""
        return self.energy * (sizes.astype(float) if self.per_atom else np.ones(len(sizes)))


TOTAL = EnergyConvention("total", "", "energies of the whole cell in eV, forces in eV/A", "")

PER_ATOM = EnergyConvention(
    "per_atom",
    "energy_per_atom",
    "energies per atom",
    "multiply each energy by its number of atoms",
    per_atom=True,
)

ENERGY_CONVENTIONS = (
    TOTAL,
    PER_ATOM,
    EnergyConvention(
        "gradients",
        "force_sign",
        "forces of the wrong sign (gradients)",
        "turn the sign of the forces",
        forces=-1.0,
    ),
    EnergyConvention(
        "hartree",
        "energy_unit",
        "energies in hartree",
        "multiply energies by 27.2114",
        energy=_HARTREE_EV,
    ),
    EnergyConvention(
        "rydberg",
        "energy_unit",
        "energies in rydberg",
        "multiply energies by 13.6057",
        energy=_HARTREE_EV / 2,
    ),
    EnergyConvention(
        "kcal_per_mol",
        "energy_unit",
        "energies in kcal/mol",
        "multiply energies by 0.0433641",
        energy=0.0433641153,
    ),
    EnergyConvention(
        "kJ_per_mol",
        "energy_unit",
        "energies in kJ/mol",
        "multiply energies by 0.0103643",
        energy=0.0103642697,
    ),
    EnergyConvention(
        "hartree_per_bohr",
        "force_unit",
        "forces in hartree/bohr",
        "multiply forces by 51.4221",
        forces=_HARTREE_PER_BOHR,
    ),
    EnergyConvention(
        "rydberg_per_bohr",
        "force_unit",
        "forces in rydberg/bohr",
        "multiply forces by 25.7110",
        forces=_HARTREE_PER_BOHR / 2,
    ),
    EnergyConvention(
        "atomic_units",
        "energy_unit",
        "energies in hartree and forces in hartree/bohr",
        "multiply energies by 27.2114 and forces by 51.4221",
        energy=_HARTREE_EV,
        forces=_HARTREE_PER_BOHR,
    ),
)
