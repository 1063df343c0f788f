"""Are the DFT labels of the learning curves converged? Those of metallic silicon are not.

Hypothesis: energies of MD structures differ by less than 1 meV/atom and forces by less than
10 meV/A from those of a denser level. For silicon, at 0.35 1/A, the spacing of examples/silicon,
that is 0.25 1/A; for sodium chloride, at 340 eV and 0.5 1/A, it is 500 eV and 0.3 1/A.

Every third of the independent MD structures at 300 and 1000 K is computed again. A cutoff shifts
all energies alike, so energies are compared after their mean difference.

    python benchmarks/labelling/kpoints.py [--system sodium_chloride] [--processes 2]
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from entrove.labelling.engines import Gpaw
from entrove.structures import energy_of, forces_of, read_structures, stress_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

CURVES = Path(__file__).parents[1] / "curves"
EVERY = 3


@dataclass(frozen=True)
class System:
    """Labels of a study, and the denser level with which they are compared."""

    labels: Path
    cutoff_eV: float
    kpoint_spacing_per_A: float
    result: str
    is_shifted: bool
    """Whether the cutoff differs, so that a shift of all energies means nothing."""


SYSTEMS = {
    "silicon": System(CURVES / "silicon/data/pbe-labels.xyz.gz", 300, 0.25, "kpoints", False),
    "sodium_chloride": System(
        CURVES / "sodium_chloride/data/pbe-labels.xyz.gz", 500, 0.3, "kpoints-nacl", True
    ),
}


def difference(label: Atoms, system: System) -> dict[str, Any]:
    """Mean absolute differences of a label from the one of the denser level."""
    dense = label.copy()
    engine = Gpaw(
        functional="PBE",
        cutoff_eV=system.cutoff_eV,
        kpoint_spacing_per_A=system.kpoint_spacing_per_A,
    )
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
    parser.add_argument("--system", choices=SYSTEMS, default="silicon")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    system = SYSTEMS[arguments.system]
    labels = [
        atoms
        for atoms in read_structures(system.labels)
        if "independent" in atoms.info.get("test", "")
        and atoms.info["entrove_kind"] == "md"
        and atoms.info["entrove_temperature_K"] <= 1000
    ][::EVERY]
    compare = partial(difference, system=system)
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(compare, labels))
    energies = np.array([row["energy_meV_per_atom"] for row in rows])
    shift = float(energies.mean()) if system.is_shifted else 0.0
    means = {
        "energy_meV_per_atom": round(_mean(energies - shift), 2),
        **{
            key: round(_mean(np.array([row[key] for row in rows])), 2)
            for key in ("force_meV_per_A", "stress_meV_per_A3")
        },
    }
    write_result(
        __file__,
        system.result,
        "energies are within 1 meV/atom and forces within 10 meV/A of the denser level",
        {
            "reached": means["energy_meV_per_atom"] < 1 and means["force_meV_per_A"] < 10,
            "means": means,
            "structures": rows,
        },
        dense_per_A=system.kpoint_spacing_per_A,
        dense_eV=system.cutoff_eV,
        energy_shift_meV_per_atom=round(shift, 2),
    )


if __name__ == "__main__":
    main()
