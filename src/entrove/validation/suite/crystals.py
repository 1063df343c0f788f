"""The crystals of a labelled data set: reduced by symmetry, one for each phase."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import spglib
from ase import Atoms

from entrove.structures import energy_of, forces_of, has_stress, stress_of
from entrove.symmetry import call_spglib
from entrove.validation.suite.distortion import is_distortion
from entrove.validation.suite.subject import (
    Phase,
    Subject,
    composition_of,
    phase_of,
    reduce_by_symmetry,
)

TOLERANCES_A = (0.01, 0.05, 0.1, 0.2)
"""Distances within which atoms count as equivalent, tried one after the other."""

MOST_CRYSTALS = 6
MOST_ATOMS = 60
SMALL_FORCE_EV_PER_A = 0.1
RELAXED_FORCE_EV_PER_A = 0.02
RELAXED_STRESS_EV_PER_A3 = 0.003
"""Of shear and uniaxial parts: what strains of a few thousandths cause in a metal."""

FEWEST_FOR_A_FIT = 5
"""Volumes that an equation of state needs."""


def crystals_of(labelled: Sequence[Atoms]) -> dict[str, Atoms]:
    """Find the crystals that labelled structures were made from.

    Args:
        labelled: Structures with energies and forces. Those of a campaign name their phase, and of
            each phase the most symmetric one is taken, of equals that of the lowest energy. Others
            are told apart by reduced formula and space group, and a disturbed one counts only
            where it is no distortion of a more symmetric one.

    Returns primitive cells by name: that of the phase, or formula and space group. Structures
    without any symmetry but the identity, or inversion alone, are no crystals.
    """
    best: dict[str, tuple[tuple[float, float], Atoms]] = {}
    disturbed: dict[str, Atoms] = {}
    for atoms in labelled:
        if not atoms.pbc.all() or len(atoms) > MOST_ATOMS or atoms.cell.rank < 3:
            continue
        found = _reduce(atoms)
        if found is None:
            continue
        crystal, symbol, operations = found
        name = phase_of(atoms) or f"{composition_of(atoms)}_{symbol}"
        # Operations per atom do not depend on the cell: the more, the less disturbed.
        rank = (-operations / len(atoms), energy_of(atoms) / len(atoms))
        if name not in best or rank < best[name][0]:
            best[name] = (rank, crystal)
            disturbed.pop(name, None)
            if not (phase_of(atoms) or _is_at_rest(atoms)):
                disturbed[name] = atoms
    kept: list[str] = []
    for name in sorted(best, key=lambda name: best[name][0]):
        crystals = [best[other][1] for other in kept]
        if name not in disturbed or not _is_distortion_of_any(disturbed[name], crystals):
            kept.append(name)
    by_energy = sorted(kept, key=lambda name: best[name][0][1])
    return {name: best[name][1] for name in by_energy[:MOST_CRYSTALS]}


def _is_at_rest(atoms: Atoms) -> bool:
    """Whether a structure is relaxed, as a phase is: it has a shape of its own."""
    if np.abs(forces_of(atoms)).max() > RELAXED_FORCE_EV_PER_A:
        return False
    if not has_stress(atoms):
        return True
    stress = stress_of(atoms)
    deviation = np.concatenate([stress[:3] - stress[:3].mean(), stress[3:]])
    return bool(np.abs(deviation).max() < RELAXED_STRESS_EV_PER_A3)


def _is_distortion_of_any(atoms: Atoms, crystals: Sequence[Atoms]) -> bool:
    return any(
        composition_of(atoms) == composition_of(crystal) and is_distortion(atoms, crystal)
        for crystal in crystals
    )


def labelled_volumes(labelled: Sequence[Atoms], name: str, crystal: Atoms) -> list[Atoms]:
    """List the labelled cells of a phase that differ from its crystal in volume only.

    These have its space group and small forces, which symmetry or a relaxation makes vanish; of
    several at one volume the first is kept. They are sorted by volume per atom.
    """
    group = space_group_number(crystal)
    found: dict[float, Atoms] = {}
    for atoms in labelled:
        if not atoms.pbc.all() or composition_of(atoms) != composition_of(crystal):
            continue
        if phase_of(atoms) not in ("", name) or len(atoms) > MOST_ATOMS:
            continue
        if np.abs(forces_of(atoms)).max() > SMALL_FORCE_EV_PER_A:
            continue
        if space_group_number(atoms) == group and _same_shape(atoms, crystal):
            found.setdefault(round(atoms.get_volume() / len(atoms), 4), atoms)
    return [found[volume] for volume in sorted(found)]


def volumes_of(subject: Subject, phase: Phase) -> list[Atoms]:
    """List labelled cells of a phase at several volumes, sorted by volume per atom.

    They are those that were computed for it, unless so many failed that no curve fits the others.
    """
    computed = [atoms for atoms in subject.volumes if phase_of(atoms) == phase.name]
    if len(computed) >= FEWEST_FOR_A_FIT:
        return sorted(computed, key=lambda atoms: atoms.get_volume() / len(atoms))
    return labelled_volumes(subject.labels, phase.name, phase.seed)


def space_group_number(atoms: Atoms, tolerance_A: float = 0.01) -> int:
    """Number of the space group, 0 when spglib finds none."""
    dataset = _dataset(atoms, tolerance_A)
    return 0 if dataset is None else int(dataset.number)


def _same_shape(atoms: Atoms, crystal: Atoms) -> bool:
    """Whether the standardised primitive cells are similar: equal but for their size."""
    shapes = []
    for cell in (atoms, crystal):
        primitive = reduce_by_symmetry(cell, 0.01)
        if primitive is None:
            return False
        metric = primitive.cell.array @ primitive.cell.array.T
        shapes.append(metric / np.cbrt(np.linalg.det(metric)))
    return shapes[0].shape == shapes[1].shape and bool(np.allclose(*shapes, atol=0.02))


def _reduce(atoms: Atoms) -> tuple[Atoms, str, int] | None:
    # Atoms that are displaced at random have some low symmetry within a small distance.
    tolerances = TOLERANCES_A if phase_of(atoms) or _is_at_rest(atoms) else TOLERANCES_A[::-1]
    for tolerance in tolerances:
        dataset = _dataset(atoms, tolerance)
        if dataset is not None and dataset.number > 2:
            crystal = reduce_by_symmetry(atoms, tolerance)
            if crystal is not None:
                symbol = dataset.international.replace("/", ":")
                return crystal, symbol, len(dataset.rotations)
    return None


def _dataset(atoms: Atoms, tolerance_A: float) -> Any:
    return call_spglib(spglib.get_symmetry_dataset, atoms, symprec=tolerance_A)
