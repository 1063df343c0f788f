"""What every engine offers: its level of theory, its retry ladder, and one calculation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float
from pydantic import Field

from entrove.labelling.engines.kpoints import kpoint_grid
from entrove.settings import Settings

NOBLE_GASES = (2, 10, 18, 36, 54, 86)
"""Atomic numbers; the electrons beyond the last one below an element count as its valence."""


@dataclass(frozen=True, eq=False)
class Computation:
    """What an engine computed of a structure.

    Forces are in the order of its atoms; stress has ASE's sign (positive = tensile), and is None
    for a structure that is not periodic in three dimensions.
    """

    energy_eV: float
    forces_eV_per_A: Float[np.ndarray, "atoms 3"]
    stress_eV_per_A3: Float[np.ndarray, "3 3"] | None


class NotConvergedError(Exception):
    """The engine itself says that it did not reach self-consistency."""


class OtherStructureError(Exception):
    """The engine computed another structure than the one that it was given."""


KPOINT_SPACING = "kpoint_spacing_per_A"
"""Name of the key of all engines that make a grid of k-points themselves."""

SAME_PLACE_A = 1e-4
"""What an engine computed may differ by this from what it was given: by printed decimals."""


class Engine(Settings, ABC):
    """The settings of an engine and what it does with them.

    An engine is a value: it is sent as JSON to the process that runs it.

    Its retry ladder is a list of ways to reach self-consistency, from the usual one to the most
    robust one, each a `rung` counted from 0. A calculation that failed is repeated on the next
    rung, which may change mixing, solver, initial density and number of steps, and nothing that
    changes the result.
    """

    rungs: ClassVar[int] = 1
    """Length of the retry ladder."""
    scratch: ClassVar[tuple[str, ...]] = ()
    """Glob patterns of large files that are deleted after each attempt."""
    reference_seconds: ClassVar[float] = 20.0
    """Guess of the time of a label with 32 electrons and 32 k-points on one core, in s."""
    megabytes_per_label: ClassVar[float] = 0.2
    """Disk space that the folder of a label keeps."""
    labels_per_process: ClassVar[int] = 50
    """How many labels one process computes before it is replaced by a fresh one."""
    version_counts: ClassVar[bool] = True
    """Whether another version may give other energies for the same settings."""

    program_version: str = Field(
        default="",
        description="Version of the program, part of the level of theory. Entrove fills it in for "
        "GPAW, CP2K and calculators of ASE; pw.x and VASP tell it only when they run, so give it "
        "for them, as they print it. Empty: all labels must come from one version.",
    )

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name of the engine in configurations and provenance."""

    @abstractmethod
    def theory(self) -> dict[str, object]:
        """All settings that change energies, as JSON values: the level of theory is their hash."""

    def resolved_against(self, folder: Path) -> "Engine":
        """The same engine with relative paths taken from `folder`.

        An engine runs in the folder of an attempt, where a path relative to the configuration file
        would mean another file.
        """
        return self.model_copy(
            update={name: folder / value for name, value in self if isinstance(value, Path)}
        )

    def bound_to(self, species: Iterable[str]) -> "Engine":
        """The same engine with everything in its level of theory that is known before it runs.

        That is the content of its data files for `species` (chemical symbols), and its version
        where no other was given. Raises `LabelError` when a file cannot be read.
        """
        version = self.program_version
        if not version and self.version_counts:
            version = self.version_of_level()
        return self._bound_to_data(species).model_copy(update={"program_version": version})

    def _bound_to_data(self, species: Iterable[str]) -> "Engine":  # noqa: ARG002
        """For engines whose settings do not name their data files one by one."""
        return self

    @abstractmethod
    def check_available(self) -> None:
        """Raise `EntroveError`, saying what to install or set, when the engine cannot run here."""

    def check_settings(self) -> None:
        """Raise `EntroveError` for settings that are wrong wherever the engine runs.

        This machine may lack the engine's program: labels may be computed elsewhere.
        """
        self.check_available()

    @abstractmethod
    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Those of `species` (chemical symbols) that the engine cannot compute."""

    def version(self) -> str:
        """Version of the engine where it is known before it runs, else an empty string."""
        return ""

    def version_of_level(self) -> str:
        """Version that counts in the level of theory, where it is known before the engine runs."""
        return self.version()

    def version_in(self, folder: Path) -> str:  # noqa: ARG002
        """Version that the program wrote into its output in `folder`, else an empty string."""
        return ""

    @abstractmethod
    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:
        """Compute energy, forces and stress, with all files in `folder`, the current directory.

        `rung` is the rung of the retry ladder. Raises `NotConvergedError` when the engine says so;
        any other exception counts as a crash.
        """

    def warm_up(self) -> None:
        """Do what is needed once per process and is no label's time: imports, loading a model."""

    def electrons(self, atoms: Atoms) -> int:
        """Electrons outside the noble-gas cores, which the cost of a label scales with."""
        cores = np.array([0, *NOBLE_GASES])
        return int(
            sum(number - cores[np.searchsorted(cores, number) - 1] for number in atoms.numbers)
        )

    def kpoints(self, atoms: Atoms) -> int:
        """Number of k-points that the cost of a label scales with; 1 for an engine without a grid.

        Half the grid: time reversal is the only symmetry that is used.
        """
        spacing_per_A = getattr(self, KPOINT_SPACING, None)
        if spacing_per_A is None:
            return 1
        first, second, third = kpoint_grid(atoms, spacing_per_A)
        return (first * second * third + 1) // 2

    def with_denser_kpoints(self, atoms: Atoms, factor: float) -> "Engine | None":
        """The same engine with k-points closer together, to see whether labels are converged.

        Args:
            atoms: A structure that is to be labelled with both.
            factor: The spacing of k-points, as a fraction of that of this engine.

        Returns None where the engine has no spacing, or the structure would get the same grid.
        """
        spacing_per_A = getattr(self, KPOINT_SPACING, None)
        if spacing_per_A is None:
            return None
        denser = self.model_copy(update={KPOINT_SPACING: factor * spacing_per_A})
        return denser if denser.kpoints(atoms) > self.kpoints(atoms) else None


def with_moments(atoms: Atoms, moments: Mapping[str, float]) -> Atoms:
    """A copy of `atoms` with initial magnetic moments (Bohr magnetons) by chemical symbol.

    Elements that `moments` does not name start from 0. Moments that the atoms have themselves, as
    those of an antiferromagnet, come first. Without `moments` the engine computes no spin, and
    there are none.
    """
    copy = atoms.copy()
    own = atoms.get_initial_magnetic_moments()
    if not moments:
        copy.set_initial_magnetic_moments(None)
    elif not own.any():
        copy.set_initial_magnetic_moments([moments.get(symbol, 0.0) for symbol in atoms.symbols])
    return copy


def without_moments(atoms: Atoms) -> Atoms:
    """A copy of `atoms` without magnetic moments, for an engine that takes them per element."""
    copy = atoms.copy()
    copy.set_initial_magnetic_moments(None)
    return copy


def evaluate_calculator(calculator: Any, atoms: Atoms) -> Computation:
    """Energy, forces and, of a crystal, stress from an ASE calculator.

    The calculator may be of any class: GPAW's is not derived from ASE's. The energy is the one
    that the forces are the derivative of: with smeared occupations the free energy, not its
    extrapolation to zero temperature.

    Raises `OtherStructureError` when the calculator moved atoms or changed the cell.
    """
    given, atoms = atoms, atoms.copy()
    atoms.calc = calculator
    forces = np.asarray(atoms.get_forces(apply_constraint=False), dtype=float)
    energy = float(atoms.get_potential_energy(force_consistent=_has_free_energy(calculator)))
    stress = None
    if atoms.pbc.all():
        voigt = np.asarray(atoms.get_stress(apply_constraint=False), dtype=float)
        stress = voigt_6_to_full_3x3_stress(voigt)
    require_same_structure(given, atoms)
    computed = getattr(calculator, "atoms", None)
    if isinstance(computed, Atoms):
        require_same_structure(given, computed)
    return Computation(energy, forces, stress)


def require_same_structure(given: Atoms, computed: Atoms) -> None:
    """Raise `OtherStructureError` when an engine computed another structure than it was given.

    Args:
        given: The structure of the label.
        computed: What the engine says that its results belong to, atoms in the same order; they
            may be in other periodic images.

    A relaxation that was left on is what this finds: energy and forces would be those of its end.
    """
    if len(given) != len(computed) or (given.numbers != computed.numbers).any():
        raise OtherStructureError(
            f"the engine returned {computed.get_chemical_formula()} for "
            f"{given.get_chemical_formula()}; its label would be of another structure"
        )
    cell_A = float(np.abs(computed.cell.array - given.cell.array).max())
    if cell_A > SAME_PLACE_A and given.pbc.any():
        raise OtherStructureError(
            f"the engine changed the cell by up to {cell_A:.3g} A, so its energy is not that of "
            "the structure that was asked for; switch off its relaxation"
        )
    from ase.geometry import find_mic

    shifts, pbc = computed.positions - given.positions, cast(Any, given.pbc)  # typed as one flag
    moved_A = float(find_mic(shifts, given.cell, pbc)[1].max()) if len(given) else 0.0
    if moved_A > SAME_PLACE_A:
        raise OtherStructureError(
            f"the engine moved an atom by {moved_A:.3g} A, so its energy is not that of the "
            "structure that was asked for; switch off its relaxation"
        )


def _has_free_energy(calculator: Any) -> bool:
    return "free_energy" in getattr(calculator, "results", {})
