"""Check that a model's batches give what its own ASE calculator gives, one structure at a time.

Batched wrappers have had silent errors: a neighbour list without some images, a stress of the
wrong sign, atoms of one system seen by another. So the check runs on the model and the structures
at hand, before anything is built on them.
"""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import spglib
import torch_sim
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.neighborlist import neighbor_list
from jaxtyping import Int
from pydantic import Field
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import ModelError
from entrove.models.ase import SerialModel
from entrove.models.committee import committee_of
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import along_periodic_directions, predict
from entrove.settings import Settings
from entrove.structures import copy_structure, energy_of, forces_of
from entrove.symmetry import call_spglib

_log = logging.getLogger(__name__)

RATTLE_A = 0.05
"""Probes are rattled by this, so that no force vanishes by symmetry."""

BIG_CELL_ATOMS = 24
"""The smallest sample is doubled until a probe has at least this many atoms."""

CUTOFF_DOUBT_A = 1e-4
"""Pairs this close to the cutoff may be counted or not: their distance is known to float32."""


FLOAT32_ROUNDING = 2.0**-24
"""Largest relative change of a number that is rounded to float32."""

ROUNDINGS_OF_AN_ATOM = 2
"""How often the reference energy of a species has entered a sum in float32: once on each side.

A network in float32 adds that energy, which may be thousands of eV, to what it has computed, which
is of the order of 10 eV as its other roundings are. Sums over atoms are float64 on both sides.
"""


class Tolerances(Settings):
    """Largest differences between batched and single evaluation that pass.

    The defaults suit networks in float32 (relative 1e-7 on 10 eV per atom and on forces of up to
    100 eV/A in compressed cells). A wrong neighbour or sign shows at 1e-2 or above. What
    `rounding_of_energy` explains is allowed beside.
    """

    energy_eV_per_atom: float = Field(default=1e-5, gt=0, description="Energy in eV/atom.")
    forces_eV_per_A: float = Field(default=1e-3, gt=0, description="Any force component in eV/A.")
    stress_eV_per_A3: float = Field(
        default=1e-4, gt=0, description="Any stress component in eV/A^3."
    )


def rounding_of_energy(
    energy_eV: float, other_eV: float, atoms: int, roundings: int = ROUNDINGS_OF_AN_ATOM
) -> float:
    """Return the largest difference of two energies, in eV/atom, that roundings explain.

    Each rounding of an atomic energy E_i to float32 changes it by at most 2^-24 |E_i|, so that
    energies per atom differ by at most c 2^-24 |E|/N after c roundings of each, where all E_i have
    one sign: 2e-4 c eV at -3370 eV/atom.

    Args:
        energy_eV, other_eV: The two energies; the one of smaller magnitude counts.
        atoms: The number of atoms N.
        roundings: The number c of roundings of an atomic energy, on both sides together.

    Ref: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (SIAM 2002), eq. (2.4).
    """
    return roundings * FLOAT32_ROUNDING * min(abs(energy_eV), abs(other_eV)) / atoms


@runtime_checkable
class CountsNeighbours(Protocol):
    """A batched model that can say how many directed pairs it sees in each system."""

    def count_neighbours(self, state: SimState) -> Int[Tensor, " systems"]:
        """Count the directed pairs within the cutoff, system by system."""
        ...


@dataclass(frozen=True)
class NeighbourCount:
    """Directed pairs that a model sees in a structure of a batch, and ASE's fewest and most."""

    model: str
    batched: int
    single: tuple[int, int]

    @property
    def agrees(self) -> bool:
        """Whether the batch has the neighbours that ASE finds."""
        fewest, most = self.single
        return fewest <= self.batched <= most


@dataclass(frozen=True)
class Comparison:
    """One structure: largest differences, batched minus single, and its numbers of neighbours.

    `rounding_eV_per_atom` is the difference of energies that roundings to float32 explain. There
    is one number of neighbours for each model that tells it; the members of a committee have
    cutoffs of their own.
    """

    formula: str
    atoms: int
    energy_difference_eV_per_atom: float
    forces_difference_eV_per_A: float
    stress_difference_eV_per_A3: float | None
    neighbours: tuple[NeighbourCount, ...]
    rounding_eV_per_atom: float = 0.0

    def problems(self, tolerances: Tolerances) -> list[str]:
        """Say what exceeds the tolerances; an empty list when all is well."""
        measured = [
            (
                "energy",
                self.energy_difference_eV_per_atom,
                tolerances.energy_eV_per_atom + self.rounding_eV_per_atom,
                "eV/atom",
            ),
            ("forces", self.forces_difference_eV_per_A, tolerances.forces_eV_per_A, "eV/A"),
        ]
        if self.stress_difference_eV_per_A3 is not None:
            allowed = tolerances.stress_eV_per_A3
            measured.append(("stress", self.stress_difference_eV_per_A3, allowed, "eV/A^3"))
        # Written so that NaN is a problem.
        found = [
            f"{name} differ by {value:.2g} {unit} (allowed {allowed:.2g})"
            for name, value, allowed, unit in measured
            if not abs(value) <= allowed
        ]
        found += [
            f"{count.batched} neighbours instead of {count.single[0]} in {count.model}"
            for count in self.neighbours
            if not count.agrees
        ]
        return found


@dataclass(frozen=True)
class VerificationReport:
    """What was compared, structure by structure.

    `batched` is False for a model that evaluates one structure at a time anyway. `uncounted` names
    the models, or members of a committee, whose neighbours could not be compared with ASE's.
    """

    model: str
    tolerances: Tolerances
    comparisons: tuple[Comparison, ...]
    batched: bool = True
    uncounted: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every structure is within the tolerances."""
        return not any(comparison.problems(self.tolerances) for comparison in self.comparisons)

    def summary(self) -> str:
        """One line when all is well, else one per structure that differs."""
        lines = [
            f"  {comparison.formula}: {'; '.join(problems)}"
            for comparison in self.comparisons
            if (problems := comparison.problems(self.tolerances))
        ]
        if not lines:
            forces = max((c.forces_difference_eV_per_A for c in self.comparisons), default=0.0)
            agreement = (
                f"its ASE calculator on {len(self.comparisons)} structures "
                f"(forces to {forces:.1g} eV/A)"
            )
            if not self.batched:
                return (
                    f"{self.model}: one structure at a time, no batches; agrees with {agreement}"
                )
            uncounted = f"; neighbours not compared: no count from {', '.join(self.uncounted)}"
            return f"{self.model}: batches agree with {agreement}" + (
                uncounted if self.uncounted else ""
            )
        return "\n".join([f"{self.model}: batches disagree with its ASE calculator:", *lines])


def verify_batching(
    model: LoadedModel, structures: Sequence[Atoms], tolerances: Tolerances | None = None
) -> VerificationReport:
    """Compare `structures`, and probes made of them, in one batch and one by one.

    The probes are the smallest crystal's primitive cell, where an atom is its own neighbour
    through images, and a big supercell, so that sizes are mixed in the batch. Compared are energy,
    forces, stress and, for models that tell them and have one cutoff, the number of neighbours
    against ASE's neighbour list. Raises `ModelError` for an element that the model does not know.
    """
    samples = [copy_structure(atoms) for atoms in structures] + _probes(structures)
    batched = predict(model, samples)
    calculator = model.calculator()
    members = [member for member in model.members or (model,) if member.batched]
    comparisons = tuple(
        _compare(
            atoms,
            result,
            calculator,
            [count for member in members for count in _count(member, atoms)],
        )
        for atoms, result in zip(samples, batched, strict=True)
    )
    uncounted = tuple(member.name for member in members if not _tells_neighbours(member))
    return VerificationReport(
        model.name,
        tolerances or Tolerances(),
        comparisons,
        batched=model.batched,
        uncounted=uncounted,
    )


def verified(
    model: LoadedModel,
    structures: Sequence[Atoms],
    *,
    on_mismatch: Literal["stop", "fall_back"] = "stop",
    tolerances: Tolerances | None = None,
) -> tuple[LoadedModel, VerificationReport]:
    """Return a model that may be trusted in batches, and the report.

    Args:
        model: The model to check.
        structures: What it will be used for, such as the seeds of a campaign; probes are added.
        on_mismatch: "stop" raises `ModelError` with the differences; "fall_back" returns the
            model's own ASE calculator, one structure at a time, and logs that it does.
        tolerances: Largest differences that pass; by default those of `Tolerances`.
    """
    report = verify_batching(model, structures, tolerances)
    if report.passed:
        _log.info("%s", report.summary())
        return model, report
    if on_mismatch == "stop":
        raise ModelError(
            f"{report.summary()}\nDo not use these batches; set the model's verify_batching to "
            "'fall_back' to evaluate one structure at a time, or update the model's package"
        )
    _log.warning("%s\nFalling back to its ASE calculator", report.summary())
    return serial(model), report


def serial(model: LoadedModel) -> LoadedModel:
    """Return the same model evaluated by its own ASE calculator, one structure at a time.

    A committee still has its members, each evaluated so, and their spread.
    """
    if model.members:
        members = tuple(serial(member) for member in model.members)
        together = committee_of(members).model
        return dataclasses.replace(model, model=together, batched=False, members=members)
    return dataclasses.replace(
        model, model=SerialModel(model.calculator(), model.name), batched=False
    )


def _probes(structures: Sequence[Atoms]) -> list[Atoms]:
    crystals = [atoms for atoms in structures if atoms.pbc.all() and len(atoms) > 0]
    if not crystals:
        return []
    smallest = min(crystals, key=len)
    primitive = call_spglib(spglib.find_primitive, smallest, symprec=1e-3)
    probes = []
    if primitive is not None:
        lattice, scaled, numbers = primitive
        probes.append(Atoms(numbers=numbers, scaled_positions=scaled, cell=lattice, pbc=True))
    big = copy_structure(smallest)
    while len(big) < BIG_CELL_ATOMS:
        repeats = np.ones(3, dtype=int)
        repeats[np.argmin(big.cell.lengths())] = 2
        big = big.repeat(repeats)
    probes.append(big)
    generator = np.random.default_rng(0)
    for probe in probes:
        probe.positions += RATTLE_A * generator.normal(size=probe.positions.shape)
    return probes


def _tells_neighbours(model: LoadedModel) -> bool:
    return model.cutoff_A is not None and isinstance(model.model, CountsNeighbours)


def _count(model: LoadedModel, atoms: Atoms) -> list[NeighbourCount]:
    """Count the neighbours of a structure in a batch of two copies, if the model tells."""
    batched = model.model
    if model.cutoff_A is None or not isinstance(batched, CountsNeighbours):
        return []
    state = torch_sim.initialize_state([atoms, atoms], batched.device, batched.dtype)
    first, second = batched.count_neighbours(state).tolist()
    count_within = functools.partial(neighbor_list, "i", atoms)
    single = (
        len(count_within(model.cutoff_A - CUTOFF_DOUBT_A)),
        len(count_within(model.cutoff_A + CUTOFF_DOUBT_A)),
    )
    # Unequal counts of equal systems are as wrong as a wrong count.
    return [NeighbourCount(model.name, first if first == second else -1, single)]


def _compare(
    atoms: Atoms, batched: Atoms, calculator: BaseCalculator, neighbours: Sequence[NeighbourCount]
) -> Comparison:
    single = copy_structure(atoms)
    single.calc = calculator
    energies = (energy_of(batched), energy_of(single))
    forces = np.abs(forces_of(batched) - forces_of(single)).max()
    stress = None
    if atoms.pbc.any() and "stress" in getattr(batched.calc, "results", {}):
        # `predict` keeps the stress along periodic directions only.
        alone = along_periodic_directions(single.get_stress(voigt=False), atoms)
        stress = float(np.abs(batched.get_stress(voigt=False) - alone).max())
    return Comparison(
        formula=atoms.get_chemical_formula(),
        atoms=len(atoms),
        energy_difference_eV_per_atom=(energies[0] - energies[1]) / len(atoms),
        forces_difference_eV_per_A=float(forces),
        stress_difference_eV_per_A3=stress,
        neighbours=tuple(neighbours),
        rounding_eV_per_atom=rounding_of_energy(*energies, len(atoms)),
    )
