"""How far an exported potential is from the one in the bundle: energy, forces and stress."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from entrove.models.verify import ROUNDINGS_OF_AN_ATOM, Tolerances, rounding_of_energy
from entrove.structures import copy_structure


@dataclass(frozen=True)
class Prediction:
    """What a potential gives for one structure, in ASE's orientation of the cell.

    Attributes:
        energy_eV: Energy of all atoms in eV.
        forces_eV_per_A: Forces in eV/A, shape (atoms, 3), in the order of the atoms.
        stress_eV_per_A3: Stress in eV/A^3, shape (6,), with ASE's sign (positive = tensile) and
            order (xx, yy, zz, yz, xz, xy).
    """

    energy_eV: float
    forces_eV_per_A: np.ndarray
    stress_eV_per_A3: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """The largest differences between two potentials over all structures.

    Attributes:
        structures, atoms: How many were compared.
        energy_eV_per_atom: Largest difference of energies in eV/atom.
        energy_beyond_rounding_eV_per_atom: Largest part of a difference of energies in eV/atom
            that roundings to float32 do not explain; 0 where they explain all.
        forces_eV_per_A: Largest difference of a force component in eV/A.
        stress_eV_per_A3: Largest difference of a stress component in eV/A^3.
    """

    structures: int
    atoms: int
    energy_eV_per_atom: float
    energy_beyond_rounding_eV_per_atom: float
    forces_eV_per_A: float
    stress_eV_per_A3: float

    def problems(self, tolerances: Tolerances | None = None) -> list[str]:
        """Say what differs by more than rounding in float32 explains; empty when all is well.

        Of energies, what the roundings of reference energies explain is allowed beside, see
        `entrove.models.verify.rounding_of_energy`.

        Args:
            tolerances: Largest differences that are allowed; by default those of `Tolerances`.
        """
        allowed = tolerances or Tolerances()
        measured = (
            (
                "energies",
                self.energy_beyond_rounding_eV_per_atom,
                allowed.energy_eV_per_atom,
                "eV/atom",
            ),
            ("forces", self.forces_eV_per_A, allowed.forces_eV_per_A, "eV/A"),
            ("stresses", self.stress_eV_per_A3, allowed.stress_eV_per_A3, "eV/A^3"),
        )
        # Written so that NaN is a problem.
        return [
            f"{name} differ by {value:.2g} {unit} (allowed {limit:.2g})"
            for name, value, limit, unit in measured
            if not value <= limit
        ]

    def describe(self) -> str:
        """The differences in a line."""
        return (
            f"{self.structures} structures: largest difference {self.energy_eV_per_atom:.1e} "
            f"eV/atom, {self.forces_eV_per_A:.1e} eV/A, {self.stress_eV_per_A3:.1e} eV/A^3"
        )


@dataclass(frozen=True)
class Check:
    """What was run with an exported file, and what it gave; or why it was not run.

    Attributes:
        what: What was, or would have been, run.
        agreement: The differences, where it was run and numbers were compared.
        note: Why it was not run, or what it gave beside differences.
        run: Whether it was run.
    """

    what: str
    agreement: Agreement | None = None
    note: str = ""
    run: bool = True

    def describe(self) -> str:
        """The check in a line."""
        results = [self.agreement.describe()] if self.agreement else []
        results += [self.note] if self.note else []
        return ": ".join(["run" if self.run else "NOT run", self.what, *results])

    def as_record(self) -> dict[str, Any]:
        """The check as values for a JSON file."""
        return {
            "what": self.what,
            "run": self.run,
            "note": self.note,
            "largest_differences": None if self.agreement is None else asdict(self.agreement),
        }


def predict_one_by_one(
    calculator: BaseCalculator, structures: Sequence[Atoms]
) -> list[Prediction]:
    """Evaluate structures that are periodic in all directions with an ASE calculator."""
    predictions = []
    for atoms in structures:
        work = copy_structure(atoms)
        work.calc = calculator
        predictions.append(
            Prediction(
                float(work.get_potential_energy()), work.get_forces(), work.get_stress(voigt=True)
            )
        )
    return predictions


def compare_predictions(
    expected: Sequence[Prediction],
    found: Sequence[Prediction],
    *,
    summed_in_single: bool = False,
) -> Agreement:
    """Return the largest differences between predictions for the same structures.

    Args:
        expected: Predictions of the potential in the bundle.
        found: Those of the exported one, in the same order.
        summed_in_single: Whether `found` has energies that were summed over atoms in float32, in
            whatever order: the N - 1 additions round every atomic energy as often at most.

    A value that is not a number makes the difference not a number, which passes no tolerance.
    """
    pairs = list(zip(expected, found, strict=True))
    sizes = [len(first.forces_eV_per_A) for first, _ in pairs]
    energies, unexplained = [], []
    for (one, two), atoms in zip(pairs, sizes, strict=True):
        roundings = ROUNDINGS_OF_AN_ATOM + (atoms - 1 if summed_in_single else 0)
        explained = rounding_of_energy(one.energy_eV, two.energy_eV, atoms, roundings)
        difference = abs(one.energy_eV - two.energy_eV) / atoms
        energies.append(difference)
        unexplained.append(np.maximum(difference - explained, 0.0))  # max() would drop a NaN
    return Agreement(
        len(pairs),
        sum(sizes),
        _largest(energies),
        _largest(unexplained),
        _largest([one.forces_eV_per_A - two.forces_eV_per_A for one, two in pairs]),
        _largest([one.stress_eV_per_A3 - two.stress_eV_per_A3 for one, two in pairs]),
    )


def _largest(differences: Sequence[float | np.ndarray]) -> float:
    # max() would drop a NaN, numpy does not.
    return float(np.max([np.abs(difference).max() for difference in map(np.asarray, differences)]))
