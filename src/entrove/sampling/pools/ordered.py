"""Pool B: new ordered cells, from perturbed seeds and random crystals relaxed towards order.

Each start is relaxed twice at its pressure, positions and cell: first under model energy plus the
variance of same-species fingerprints, then under the model alone. Cells are dropped, with the
reason, when they are not at rest and at their pressure, fell apart or collapsed, have an
unphysical distance, have no symmetry (space group P1: not ordered), or copy a seed or another
result.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from torch_sim.models.interface import ModelInterface

from entrove.features import FeatureMap
from entrove.sampling.batch import gather_batch
from entrove.sampling.bias.ordering import OrderingModel
from entrove.sampling.candidates import Candidate, Kind
from entrove.sampling.config import OrderedSettings, SamplingConfig
from entrove.sampling.relax import Relaxation, RelaxationOutcome, relax_at_pressure
from entrove.sampling.walkers.grid import Start
from entrove.sampling.walkers.guards import shortest_bond_ratio
from entrove.structures import copy_structure
from entrove.symmetry import space_group

SYMMETRY_TOLERANCE_A = 0.05
"""Distance within which spglib takes atoms for equivalent, above the relaxation's tolerance."""

SAME_ENERGY_EV = 2e-3
SAME_VOLUME_FRACTION = 5e-3
"""Cells of one composition and space group within these, per atom, are the same crystal."""

WITHOUT_SYMMETRY = ("P1 (1)", "unknown")

PLACING_ATTEMPTS = 2000


@dataclass(frozen=True)
class _Origin:
    """A cell to relax, and the phase that it is derived from."""

    start: Start
    kind: Kind
    atoms: Atoms


@dataclass(frozen=True)
class OrderedCell:
    """The result of one start: cell, symmetry, and why it was dropped (None when it was kept)."""

    candidate: Candidate
    space_group: str
    enthalpy_eV_per_atom: float
    largest_force_eV_per_A: float
    dropped_because: str | None

    @property
    def kept(self) -> bool:
        """Whether the cell belongs to the pool."""
        return self.dropped_because is None


def generate_ordered(
    starts: Iterable[Start],
    model: ModelInterface,
    features: FeatureMap,
    config: SamplingConfig,
    rng: np.random.Generator | int,
) -> list[OrderedCell]:
    """Relax perturbed seeds and random crystals towards order; return all, kept or dropped.

    Args:
        starts: The seeds, each with its pressure; the model must compute stress.
        features: Feature map whose variance per species is minimised.
        config: `config.ordered`, `config.relaxation` and `config.guards` apply.
        rng: Generator or seed of perturbations and random crystals.
    """
    starts, rng = list(starts), np.random.default_rng(rng)
    settings = config.ordered
    origins = [
        _Origin(start, "perturbed", perturb(start.atoms, settings, rng))
        for start in starts
        for _ in range(settings.perturbed)
    ]
    for start in share_out(starts, settings.random, rng):
        origins.append(_Origin(start, "random", place_at_random(start.atoms, rng)))
    if not origins:
        return []
    relaxed = _relax_twice(origins, model, features, config)
    seeds = relax_at_pressure(
        model,
        [start.atoms for start in starts],
        [start.pressure_GPa for start in starts],
        config.relaxation,
    )
    known = [_Crystal.of(seed) for seed in seeds]
    cells = []
    for origin, result in zip(origins, relaxed, strict=True):
        start, kind = origin.start, origin.kind
        crystal = _Crystal.of(result)
        reason = _reason_to_drop(result, start, crystal, known, model, config)
        if reason is None:
            known.append(crystal)
        cells.append(
            OrderedCell(
                candidate=Candidate(
                    result.atoms, "ordered", kind, start.phase, start.pressure_GPa
                ),
                space_group=crystal.space_group,
                enthalpy_eV_per_atom=result.enthalpy_eV / len(result.atoms),
                largest_force_eV_per_A=result.largest_force_eV_per_A,
                dropped_because=reason,
            )
        )
    return cells


def share_out(starts: Sequence[Start], count: int, rng: np.random.Generator) -> list[Start]:
    """Draw `count` starts per composition and pressure, its phases in turn, in random order."""
    groups: dict[tuple[str, float], list[Start]] = {}
    for start in starts:
        key = (start.atoms.get_chemical_formula(empirical=True), start.pressure_GPa)
        groups.setdefault(key, []).append(start)
    drawn = []
    for phases in groups.values():
        turns = rng.permutation(len(phases))
        drawn += [phases[turns[turn % len(phases)]] for turn in range(count)]
    return drawn


def _relax_twice(
    origins: Sequence[_Origin], model: ModelInterface, features: FeatureMap, config: SamplingConfig
) -> list[Relaxation]:
    """Relax under model plus variance, then under the model.

    A cell that is not finite after the first relaxation is not relaxed again. Its energy is NaN:
    that of the first relaxation is not the model's.
    """
    settings = config.ordered
    pressures = [origin.start.pressure_GPa for origin in origins]
    ordering = OrderingModel(model, features, settings.variance_weight_eV)
    rough = config.relaxation.model_copy(update={"largest_steps": settings.biased_steps})
    results = [
        replace(relaxation, energy_eV=float("nan"))
        for relaxation in relax_at_pressure(
            ordering, [origin.atoms for origin in origins], pressures, rough
        )
    ]
    finite = [
        index
        for index, relaxation in enumerate(results)
        if relaxation.outcome is not RelaxationOutcome.NOT_FINITE
    ]
    relaxed = relax_at_pressure(
        model,
        [results[index].atoms for index in finite],
        [pressures[index] for index in finite],
        config.relaxation,
    )
    for index, relaxation in zip(finite, relaxed, strict=True):
        results[index] = relaxation
    return results


def perturb(atoms: Atoms, settings: OrderedSettings, rng: np.random.Generator) -> Atoms:
    """Displace every atom and strain the cell, both at random and normally distributed."""
    perturbed = copy_structure(atoms)
    strain = settings.strain * rng.normal(size=(3, 3))
    perturbed.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    perturbed.positions += settings.rattle_A * rng.normal(size=(len(atoms), 3))
    return perturbed


def place_at_random(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Make a random cell of the same composition, with 0.9 to 1.3 of the volume.

    Lattice lengths are within a factor of two of each other, angles 60 to 120 degrees. Atoms are
    placed one after the other, each at the random place, of a few, that is farthest from all
    others, so that dense cells can be filled without overlaps, too.
    """
    while True:
        lengths, angles = rng.uniform(1.0, 2.0, 3), rng.uniform(60.0, 120.0, 3)
        cosines = np.cos(np.radians(angles))
        squared = 1 - (cosines**2).sum() + 2 * cosines.prod()
        if squared > 0.3:  # flat cells hold no atoms
            break
    crystal = Atoms(cell=[*lengths, *angles], pbc=True)
    scale = (atoms.get_volume() * rng.uniform(0.9, 1.3) / crystal.get_volume()) ** (1 / 3)
    crystal.set_cell(crystal.cell.array * scale)
    images = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    placed = np.empty((0, 3))
    for _ in range(len(atoms)):
        trials = rng.random((PLACING_ATTEMPTS // len(atoms) + 1, 3))
        apart = trials[:, None, None] - placed[None, :, None] + images
        distance = np.linalg.norm(apart @ crystal.cell.array, axis=-1).min(
            axis=(1, 2), initial=np.inf
        )
        placed = np.vstack([placed, trials[distance.argmax()]])
    return Atoms(
        numbers=rng.permutation(atoms.numbers),
        scaled_positions=placed,
        cell=crystal.cell,
        pbc=True,
    )


@dataclass(frozen=True)
class _Crystal:
    """What distinguishes crystals: composition, symmetry, enthalpy and volume."""

    formula: str
    space_group: str
    enthalpy_eV: float
    volume_A3: float

    @classmethod
    def of(cls, result: Relaxation) -> "_Crystal":
        atoms = result.atoms
        return cls(
            formula=atoms.get_chemical_formula(empirical=True),
            space_group=space_group(atoms, SYMMETRY_TOLERANCE_A) or "unknown",
            enthalpy_eV=float(result.enthalpy_eV / len(atoms)),
            volume_A3=float(atoms.get_volume() / len(atoms)),
        )

    def equals(self, other: "_Crystal") -> bool:
        return (
            self.formula == other.formula
            and self.space_group == other.space_group
            and abs(self.enthalpy_eV - other.enthalpy_eV) < SAME_ENERGY_EV
            and abs(self.volume_A3 / other.volume_A3 - 1) < SAME_VOLUME_FRACTION
        )


def _reason_to_drop(
    result: Relaxation,
    start: Start,
    crystal: _Crystal,
    known: Sequence[_Crystal],
    model: ModelInterface,
    config: SamplingConfig,
) -> str | None:
    """Why a relaxed cell does not belong to the pool; None when it does."""
    settings, guards = config.ordered, config.guards
    if result.outcome in (RelaxationOutcome.NOT_FINITE, RelaxationOutcome.RAN_AWAY):
        return f"relaxation: {result.outcome}"
    force, stress = result.largest_force_eV_per_A, result.stress_deviation_GPa
    if force > settings.largest_force_eV_per_A:
        limit = settings.largest_force_eV_per_A
        return f"largest force {force:.3g} eV/A above {limit:g} ({result.outcome})"
    if stress > settings.largest_stress_deviation_GPa:
        limit = settings.largest_stress_deviation_GPa
        return f"stress off its pressure by {stress:.3g} GPa, above {limit:g} ({result.outcome})"
    ratio = float(shortest_bond_ratio(gather_batch([result.atoms], model))[0])
    if not ratio >= guards.shortest_distance:
        return (
            f"shortest bond {ratio:.2f} of the covalent radii, below {guards.shortest_distance:g}"
        )
    growth = result.atoms.get_volume() / start.atoms.get_volume()
    if not guards.smallest_volume_ratio <= growth <= guards.largest_volume_ratio:
        how = "fell apart" if growth > 1 else "collapsed"
        return f"{how}: {growth:.2f} times the volume of its phase"
    if crystal.space_group in WITHOUT_SYMMETRY:
        return f"not ordered: space group {crystal.space_group}"
    if any(crystal.equals(other) for other in known):
        return f"a copy of a seed or of an earlier cell ({crystal.space_group})"
    return None
