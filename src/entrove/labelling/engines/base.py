"""What every engine gives: its level of theory, its ladder of retries, and one calculation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float

from entrove.settings import Settings

NOBLE_GASES = (2, 10, 18, 36, 54, 86)
"""Atomic numbers; the electrons beyond the last one below an element count as its valence."""


@dataclass(frozen=True, eq=False)
class Computation:
    """What an engine says about a structure: energy (eV), forces (eV/A), stress (eV/A^3, ASE's sign)."""

    energy_eV: float
    forces_eV_per_A: Float[np.ndarray, "atoms 3"]
    stress_eV_per_A3: Float[np.ndarray, "3 3"] | None


class NotConvergedError(Exception):
    """The engine itself says that it did not reach self-consistency."""


class Engine(Settings, ABC):
    """The settings of an engine and what it does with them.

    An engine is a value: it travels as JSON to the process that runs it. `rung` counts the tries of
    the retry ladder from 0; it may change how self-consistency is reached (mixing, solver, start
    density, number of steps) and nothing that changes the result.
    """

    rungs: ClassVar[int] = 1
    """How many different ways to convergence this engine knows."""
    scratch: ClassVar[tuple[str, ...]] = ()
    """Glob patterns of large files that are deleted after each attempt."""
    reference_seconds: ClassVar[float] = 20.0
    """Guess of the time of a label with 32 electrons and 32 k-points on one core, until one is measured."""
    megabytes_per_label: ClassVar[float] = 0.2
    """Disk space that the folder of a label keeps."""
    labels_per_process: ClassVar[int] = 50
    """How many labels one process computes before it is replaced by a fresh one."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name of the engine in configurations and provenance."""

    @abstractmethod
    def theory(self) -> dict[str, object]:
        """All settings that change energies, as JSON values: the level of theory is their hash."""

    def resolved_against(self, folder: Path) -> "Engine":
        """The same engine with relative paths taken from `folder`: engines compute in folders of their own."""
        return self.model_copy(
            update={name: folder / value for name, value in self if isinstance(value, Path)}
        )

    def bound_to(self, species: Iterable[str]) -> "Engine":  # noqa: ARG002
        """The same engine with the content of its data files for `species` in its level of theory.

        For engines whose settings do not name these files one by one. Raises `LabelError` when one cannot be read.
        """
        return self

    @abstractmethod
    def check_available(self) -> None:
        """Raise `EntroveError`, saying what to install or set, when the engine cannot run here."""

    def check_settings(self) -> None:
        """Raise `EntroveError` for what is wrong wherever the engine runs; this machine may lack its program."""
        self.check_available()

    @abstractmethod
    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Those of `species` (chemical symbols) that the engine cannot compute."""

    def version(self) -> str:
        """Version of what computes, where it is known before anything runs."""
        return ""

    def version_in(self, folder: Path) -> str:  # noqa: ARG002
        """Version that the program wrote into its output in `folder`; empty when it says none there."""
        return ""

    @abstractmethod
    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:
        """Compute energy, forces and stress, with all files in `folder`, the current directory.

        Raises `NotConvergedError` when the engine says so; anything else that is raised is a crash.
        """

    def covers(self, species: Iterable[str]) -> bool:
        """Whether the engine can compute all of `species` (chemical symbols)."""
        return not self.uncovered(species)

    def warm_up(self) -> None:
        """Do once per process what should not count as the time of a label: imports, loading a model."""

    def electrons(self, atoms: Atoms) -> int:
        """Electrons outside the noble-gas cores, which the cost of a label scales with."""
        cores = np.array([0, *NOBLE_GASES])
        return int(
            sum(number - cores[np.searchsorted(cores, number) - 1] for number in atoms.numbers)
        )

    def kpoints(self, atoms: Atoms) -> int:  # noqa: ARG002
        """Number of k-points that the cost of a label scales with."""
        return 1


def with_moments(atoms: Atoms, moments: Mapping[str, float]) -> Atoms:
    """A copy of `atoms` that starts from these magnetic moments (Bohr magnetons) by chemical symbol, else from 0."""
    copy = atoms.copy()
    if moments:
        copy.set_initial_magnetic_moments([moments.get(symbol, 0.0) for symbol in atoms.symbols])
    return copy


def evaluate_calculator(calculator: Any, atoms: Atoms) -> Computation:
    """Ask an ASE calculator (of any class: GPAW's is not ASE's) for energy, forces and a crystal's stress.

    The energy is the one that the forces are the derivative of: with smeared occupations the free
    energy, not its extrapolation to zero temperature.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    forces = np.asarray(atoms.get_forces(apply_constraint=False), dtype=float)
    energy = float(atoms.get_potential_energy(force_consistent=_has_free_energy(calculator)))
    stress = None
    if atoms.pbc.all():
        voigt = np.asarray(atoms.get_stress(apply_constraint=False), dtype=float)
        stress = voigt_6_to_full_3x3_stress(voigt)
    return Computation(energy, forces, stress)


def _has_free_energy(calculator: Any) -> bool:
    return "free_energy" in getattr(calculator, "results", {})
