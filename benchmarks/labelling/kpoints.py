"""Are the DFT labels of silicon converged in their k-points? They are not, in metallic phases.

Hypothesis: at 0.35 1/A, the spacing of examples/silicon, energies of MD structures differ by less
than 1 meV/atom and forces by less than 10 meV/A from those at 0.25 1/A.

Every third of the independent MD structures at 300 and 1000 K is computed again.

    python benchmarks/labelling/kpoints.py [--processes 2]
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from entrove.labelling.engines import Gpaw
from entrove.structures import energy_of, forces_of, read_structures, stress_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

LABELS = Path(__file__).parents[1] / "curves" / "silicon" / "data" / "pbe-labels.xyz.gz"
DENSE_PER_A = 0.25
EVERY = 3


def difference(label: Atoms) -> dict[str, Any]:
    """Mean absolute differences of a label from the one with the denser grid."""
    dense = label.copy()
    engine = Gpaw(functional="PBE", cutoff_eV=300, kpoint_spacing_per_A=DENSE_PER_A)
    dense.calc = engine.calculator(dense)
    energy = dense.get_potential_energy(force_consistent=True)
    return {
        "phase": label.info["entrove_phase"],
        "pressure_GPa": label.info["entrove_pressure_GPa"],
        "temperature_K": label.info["entrove_temperature_K"],
        "energy_meV_per_atom": round(1e3 * (energy - energy_of(label)) / len(label), 2),
        "force_meV_per_A": round(1e3 * _mean(dense.get_forces() - forces_of(label)), 1),
        "stress_meV_per_A3": round(1e3 * _mean(dense.get_stress() - stress_of(label)), 2),
    }


def _mean(values: np.ndarray) -> float:
    return float(np.abs(values).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    processes: int = parser.parse_args().processes
    labels = [
        atoms
        for atoms in read_structures(LABELS)
        if "independent" in atoms.info.get("test", "")
        and atoms.info["entrove_kind"] == "md"
        and atoms.info["entrove_temperature_K"] <= 1000
    ][::EVERY]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(difference, labels))
    means = {
        key: round(float(np.mean([abs(row[key]) for row in rows])), 2)
        for key in ("energy_meV_per_atom", "force_meV_per_A", "stress_meV_per_A3")
    }
    write_result(
        __file__,
        "kpoints",
        "at 0.35 1/A energies are within 1 meV/atom and forces within 10 meV/A of 0.25 1/A",
        {
            "reached": means["energy_meV_per_atom"] < 1 and means["force_meV_per_A"] < 10,
            "means": means,
            "structures": rows,
        },
        dense_per_A=DENSE_PER_A,
    )


if __name__ == "__main__":
    main()
