"""How far GPAW's stress is from the derivative of its energy, by plane-wave cutoff.

Hypothesis: with the default cutoff (600 eV, 800 eV with nitrogen or oxygen) the Pulay stress is
below 1 % of the bulk modulus, so that the check of the first labels passes; with 400 eV it is not.
Both volumes, those of a campaign's validation set, have one grid of 2 x 2 x 2 k-points: the Pulay
stress is a property of the basis.

    python benchmarks/labelling/pulay.py
"""

import sys
from pathlib import Path

from ase.build import bulk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from results_file import write_result

from entrove.labelling.consistency import compare_stress_with_energies
from entrove.labelling.engines.base import evaluate_calculator
from entrove.labelling.engines.gpaw import Gpaw
from entrove.structures import attach_results

CUTOFFS_EV = (400.0, 600.0, 800.0)
VOLUMES = (0.92, 1.08)
KPOINT_SPACING_PER_A = 2.0
CRYSTALS = {
    "C": ("diamond", 3.57),
    "Cu": ("fcc", 3.63),
    "BN": ("zincblende", 3.63),
    "MgO": ("rocksalt", 4.25),
    "LiF": ("rocksalt", 4.07),
}


def difference_GPa(formula: str, cutoff_eV: float) -> float:
    """Pressure of the stress minus -dE/dV, between two volumes."""
    engine = Gpaw(cutoff_eV=cutoff_eV, kpoint_spacing_per_A=KPOINT_SPACING_PER_A)
    structure, lattice_A = CRYSTALS[formula]
    pair = []
    for volume in VOLUMES:
        atoms = bulk(formula, structure, a=lattice_A * volume ** (1 / 3))
        found = evaluate_calculator(engine.calculator(atoms), atoms)
        stress = found.stress_eV_per_A3
        assert stress is not None  # a crystal has one
        pair.append(attach_results(atoms, found.energy_eV, found.forces_eV_per_A, stress))
    compared = compare_stress_with_energies(*pair)
    return compared.from_stress_GPa - compared.from_energies_GPa


def main() -> None:
    numbers: dict[str, object] = {
        formula: {
            f"{cutoff:g} eV": round(difference_GPa(formula, cutoff), 2) for cutoff in CUTOFFS_EV
        }
        for formula in CRYSTALS
    }
    write_result(
        __file__,
        "pulay",
        "stress minus -dE/dV in GPa is small at 600 eV, with N and O at 800 eV, and not at 400 eV",
        numbers,
        volumes=VOLUMES,
        lattice_A={formula: lattice for formula, (_, lattice) in CRYSTALS.items()},
    )


if __name__ == "__main__":
    main()
