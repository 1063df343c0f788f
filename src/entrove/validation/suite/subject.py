"""What is judged: a model, the crystals it is judged on, labels, and the model it came from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import spglib
from ase import Atoms

from entrove import provenance
from entrove.errors import ModelError, StructureError
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.sampling.config import RelaxationSettings
from entrove.sampling.relax import Relaxation, RelaxationOutcome, relax_at_pressure
from entrove.sampling.vacuum import describe_vacuum
from entrove.structures import canonical_order, content_hash, copy_structure, species_of
from entrove.symmetry import call_spglib
from entrove.validation.config import ValidationConfig

TIGHT = RelaxationSettings(
    force_tolerance_eV_per_A=0.0005, stress_tolerance_GPa=0.001, largest_steps=1000
)
"""To be small for soft crystals, too: the bulk modulus of argon is 3 GPa."""

ENOUGH = RelaxationSettings(force_tolerance_eV_per_A=0.005, stress_tolerance_GPa=0.05)
"""What must hold when the steps run out, as they do where models have noise above `TIGHT`."""

SYMMETRY_TOLERANCE_A = 0.01
FEW_ATOMS = 8
NO_CRYSTAL = "there is no crystal to judge"


@dataclass(frozen=True)
class Phase:
    """A crystal, relaxed with the model at each pressure.

    Attributes:
        name: Name of the phase.
        seed: The primitive cell as it was given.
        relaxed: Its relaxations by pressure in GPa; those that did not come close to a minimum
            are left out, see `TIGHT` and `ENOUGH`.
        pressure_GPa: The pressure at which it is judged: that of the regime where its enthalpy is
            the lowest of all phases, or closest to it.
        problem: Why it cannot be judged; empty when it can.
    """

    name: str
    seed: Atoms
    relaxed: Mapping[float, Relaxation]
    pressure_GPa: float = 0.0
    problem: str = ""

    @property
    def atoms(self) -> Atoms:
        """The cell that is judged, at its pressure."""
        return self.relaxed[self.pressure_GPa].atoms

    def enthalpy_eV_per_atom(self, pressure_GPa: float) -> float:
        """Enthalpy at a pressure, in eV/atom; NaN when it was not relaxed there."""
        found = self.relaxed.get(pressure_GPa)
        return float("nan") if found is None else found.enthalpy_eV / len(found.atoms)

    @property
    def composition(self) -> str:
        """Reduced formula."""
        return composition_of(self.seed)


@dataclass(frozen=True)
class Subject:
    """All that checks look at.

    Attributes:
        model: The model that is judged.
        seeds: Crystals by the name of their phase, as they were given.
        labelled: Labelled structures, on which errors are measured.
        labelled_as: What they are, in a phrase that follows their number.
        trained_on: Further labels, on which the model was trained: their volumes and shortest
            distances are compared, and what rests on them says so. `errors` and `calibration`
            leave them out. Labels that came after the model may be among them where
            `committee_learnt` tells which it has learnt from.
        volumes: Labels of each phase at several volumes, computed for the equation of state.
        base: The untuned model; None without one.
        has_zero_of_labels: Whether the zero of energy of the model is meant to be that of the
            labels, as that of a tuned model is: then energies are judged as they are.
        base_shifts_eV: Energy in eV per atom of each species that takes the zero of the untuned
            model to that of the labels, fitted to training labels; None where it is not known.
        committee: The models that were tuned together with the model; None for a single one.
        committee_learnt: Content hashes of the labels that each of them has learnt from, those of
            the model itself first; empty where this is not known.
        pressures_GPa: Pressures of the regime in GPa, increasing.
        temperatures_K: Temperatures of the regime in K.
        more_pressures_GPa: Further pressures at which phases are relaxed.
        negligible: Which growth of an error does not count as worse.
    """

    model: LoadedModel
    seeds: Mapping[str, Atoms]
    labelled: Sequence[Atoms] = ()
    labelled_as: str = "labels"
    trained_on: Sequence[Atoms] = ()
    volumes: Sequence[Atoms] = ()
    base: LoadedModel | None = None
    has_zero_of_labels: bool = False
    base_shifts_eV: Mapping[str, float] | None = None
    committee: LoadedModel | None = None
    committee_learnt: tuple[frozenset[str], ...] = ()
    pressures_GPa: tuple[float, ...] = (0.0,)
    temperatures_K: tuple[float, ...] = (300.0,)
    more_pressures_GPa: tuple[float, ...] = ()
    negligible: ValidationConfig = field(default_factory=ValidationConfig)

    @property
    def species(self) -> list[str]:
        """Chemical symbols of the crystals and of the labels."""
        return species_of([*self.seeds.values(), *self.labels])

    @property
    def labels(self) -> list[Atoms]:
        """All labelled structures, those that were trained on included."""
        return [*self.labelled, *self.trained_on, *self.volumes]

    def describe_training(self, labels: Sequence[Atoms]) -> str:
        """Say how many of these labels the model was trained on; empty when none."""
        known = {id(atoms) for atoms in self.trained_on}
        learnt = self.committee_learnt[0] if self.committee_learnt else frozenset[str]()
        trained = sum(
            id(atoms) in known and (not learnt or content_hash(atoms) in learnt)
            for atoms in labels
        )
        if not trained:
            return ""
        return " (all trained on)" if trained == len(labels) else f" ({trained} trained on)"

    @property
    def has_stress(self) -> bool:
        """Whether the model computes stresses, which relaxations of cells need."""
        return bool(self.model.model.compute_stress)

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """The crystals, relaxed with the model; computed on first use, in one batch."""
        cells = {name: primitive_cell(atoms) for name, atoms in self.seeds.items()}
        problems = {name: self._problem_of(atoms) for name, atoms in cells.items()}
        pressures = sorted({0.0, *self.pressures_GPa, *self.more_pressures_GPa})
        pairs = [(name, p) for name in cells if not problems[name] for p in pressures]
        relaxations = relax_at_pressure(
            self.model.model,
            [cells[name] for name, _ in pairs],
            [pressure for _, pressure in pairs],
            TIGHT,
        )
        found: dict[str, dict[float, Relaxation]] = {name: {} for name in cells}
        for (name, pressure), relaxation in zip(pairs, relaxations, strict=True):
            if _is_relaxed(relaxation):
                found[name][pressure] = relaxation
            elif pressure in self.pressures_GPa:
                problems[name] = (
                    f"its relaxation at {pressure:g} GPa did not converge ({relaxation.outcome})"
                )
        phases = [Phase(name, cells[name], found[name]) for name in cells]
        return tuple(
            Phase(
                phase.name,
                phase.seed,
                phase.relaxed,
                self._judged_at(phase, phases),
                "" if set(self.pressures_GPa) & set(phase.relaxed) else problems[phase.name],
            )
            for phase in phases
        )

    def _problem_of(self, atoms: Atoms) -> str:
        if not self.has_stress:
            return "the model computes no stress, so that no cell can be relaxed"
        if not atoms.pbc.all():
            return "it is not periodic in three dimensions"
        vacuum = describe_vacuum(atoms)
        return f"it is {vacuum}, and this check is made for bulk crystals" if vacuum else ""

    def _judged_at(self, phase: Phase, phases: Sequence[Phase]) -> float:
        same = [other for other in phases if other.composition == phase.composition]

        def above_lowest(pressure: float) -> float:
            own = phase.enthalpy_eV_per_atom(pressure)
            if not np.isfinite(own):
                return np.inf
            return own - np.nanmin([other.enthalpy_eV_per_atom(pressure) for other in same])

        return min(self.pressures_GPa, key=lambda pressure: (above_lowest(pressure), pressure))

    def fingerprint(self) -> str:
        """Hash the crystals, the labels, and what the models say about some that are distorted.

        Stored results of checks are known by it.
        """
        generator = np.random.default_rng(0)
        samples = [
            _distorted(atoms, generator) for atoms in [*self.seeds.values(), *self.labels[:3]]
        ]
        digest = hashlib.sha256()
        for model in filter(None, (self.model, self.base, self.committee)):
            digest.update("".join(_describe_predictions(model, samples)).encode())
            digest.update(b"next model")
        for name, atoms in self.seeds.items():
            digest.update(f"{name} {content_hash(atoms)};".encode())
        for labels in (self.labelled, self.trained_on, self.volumes):
            for atoms in labels:
                digest.update(f"{content_hash(atoms)} {_describe_label(atoms)};".encode())
            digest.update(b"next labels")
        known = (self.labelled_as, self.has_zero_of_labels, self.base_shifts_eV)
        digest.update(json.dumps(known, sort_keys=True).encode())
        if self.negligible != ValidationConfig():  # results of earlier versions keep their name
            digest.update(self.negligible.model_dump_json().encode())
        return digest.hexdigest()[:32]


def _is_relaxed(relaxation: Relaxation) -> bool:
    return relaxation.converged or (
        relaxation.outcome is RelaxationOutcome.STEPS_EXHAUSTED
        and relaxation.largest_force_eV_per_A <= ENOUGH.force_tolerance_eV_per_A
        and relaxation.stress_deviation_GPa <= ENOUGH.stress_tolerance_GPa
    )


def primitive_cell(atoms: Atoms) -> Atoms:
    """Return the primitive cell of a crystal; a structure that has none is returned as it is."""
    if not atoms.pbc.all():
        return copy_structure(atoms)
    found = reduce_by_symmetry(atoms, SYMMETRY_TOLERANCE_A)
    return copy_structure(atoms) if found is None else found


def conventional_cell(atoms: Atoms) -> Atoms:
    """Return the conventional cell of a crystal; a structure that has none as it is."""
    found = reduce_by_symmetry(atoms, SYMMETRY_TOLERANCE_A, primitive=False)
    return copy_structure(atoms) if found is None else found


def in_standard_orientation(atoms: Atoms) -> Atoms:
    """Rotate a crystal to the Cartesian axes of its conventional cell, as spglib chooses them.

    Of that cell a is along x, and b in the plane of x and y: those of a cubic crystal are along x,
    y and z. The cell itself is neither reduced nor distorted.

    Returns a copy, which is not rotated where no space group is found.
    """
    rotated = copy_structure(atoms)
    found = call_spglib(spglib.get_symmetry_dataset, atoms, symprec=SYMMETRY_TOLERANCE_A)
    if found is not None:
        # The matrix of spglib also makes the cell ideal; the nearest rotation does not.
        left, _, right = np.linalg.svd(found.std_rotation_matrix)
        rotated.set_cell(atoms.cell.array @ (left @ right).T, scale_atoms=True)
    return rotated


def reduce_by_symmetry(
    atoms: Atoms, tolerance_A: float, *, primitive: bool = True
) -> Atoms | None:
    """Return the standardised cell of a crystal with spglib; None when it finds none.

    Lengths are not idealised, so that a relaxed crystal stays relaxed.
    """
    found = call_spglib(
        spglib.standardize_cell,
        atoms,
        to_primitive=primitive,
        no_idealize=True,
        symprec=tolerance_A,
    )
    if found is None:
        return None
    lattice, fractions, numbers = found
    return Atoms(numbers=numbers, scaled_positions=fractions, cell=lattice, pbc=True)


def _distorted(atoms: Atoms, generator: np.random.Generator) -> Atoms:
    """Strain a structure and move its atoms: nothing is left that vanishes by symmetry.

    Small crystals are repeated first, since two models may well agree on a cell of one atom.
    """
    copies = np.where(atoms.pbc & (len(atoms) < FEW_ATOMS), 2, 1)
    distorted = copy_structure(atoms).repeat(copies.tolist())
    strain = 0.02 * generator.normal(size=(3, 3))
    distorted.set_cell(
        distorted.cell.array @ (np.eye(3) + (strain + strain.T) / 2.0), scale_atoms=True
    )
    distorted.positions += 0.05 * generator.normal(size=distorted.positions.shape)
    return distorted


def _describe_predictions(model: LoadedModel, structures: Sequence[Atoms]) -> list[str]:
    """Describe what a model says about structures; it may refuse some, such as molecules."""
    try:
        return [_describe_prediction(atoms) for atoms in predict(model, structures)]
    except (StructureError, ModelError):
        if len(structures) == 1:
            return [f"refused by {model.name};"]
        return [text for atoms in structures for text in _describe_predictions(model, [atoms])]


def _describe_prediction(atoms: Atoms) -> str:
    """Energy per atom of a prediction, and forces and stress along one direction each.

    A direction has a part of every component. All are rounded far above what another number of
    threads, or another order of the sums on a GPU, changes.
    """
    generator = np.random.default_rng(len(atoms))
    text = f"{atoms.get_potential_energy() / len(atoms):.4f}"
    results = {} if atoms.calc is None else atoms.calc.results
    for name, decimals in (("forces", 3), ("stress", 5)):
        if name in results:
            values = np.asarray(results[name])
            direction = generator.normal(size=values.shape)
            along = float((values * direction).sum() / np.linalg.norm(direction))
            text += f" {along:.{decimals}f}"
    return f"{text};"


def _describe_label(atoms: Atoms) -> str:
    """Energy, forces and stress of a label, its phase and its kind.

    Rounded to what extended XYZ keeps; forces are in the order of `content_hash`, which does not
    depend on that of the atoms.
    """
    results = {} if atoms.calc is None else atoms.calc.results
    numbers = [np.atleast_1d(results[name]) for name in ("energy", "stress") if name in results]
    if "forces" in results:
        numbers.append(np.asarray(results["forces"])[canonical_order(atoms)].ravel())
    text = " ".join(f"{value:.6f}" for part in numbers for value in part)
    return f"{text} {phase_of(atoms)} {atoms.info.get(provenance.KIND, '')}"


def phase_of(atoms: Atoms) -> str:
    """Name of the phase of a labelled structure; empty when it says none."""
    return str(atoms.info.get(provenance.PHASE, ""))


def composition_of(atoms: Atoms) -> str:
    """Reduced formula of a structure."""
    return atoms.symbols.formula.reduce()[0].format("hill")
