"""Does the model still know what it was not tuned for?

Strained and rattled crystals of elements outside the campaign are evaluated with the model and
with the untuned one. Energies are compared between cells of one crystal, so that a shift of the
reference energy of an element does not count.

Other crystals of the campaign's own elements are compared, too, each at the volume that the
untuned model prefers. They have no limit: how much a model that knows its elements better should
change there is not known.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii

from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.structures import energy_of, forces_of
from entrove.validation.suite.config import ForgettingSettings
from entrove.validation.suite.crystals import space_group_number
from entrove.validation.suite.result import (
    CheckResult,
    DataTable,
    Quantity,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import Subject, composition_of

NAME = "forgetting"

CRYSTALS: tuple[tuple[str, str, float], ...] = (
    ("Al", "fcc", 4.05), ("MgO", "rocksalt", 4.21), ("Ge", "diamond", 5.66), ("W", "bcc", 3.17),
    ("NaCl", "rocksalt", 5.64), ("Cu", "fcc", 3.61), ("C", "diamond", 3.57),
    ("Si", "diamond", 5.43), ("GaAs", "zincblende", 5.65), ("Mg", "hcp", 3.21),
    ("LiF", "rocksalt", 4.03), ("TiN", "rocksalt", 4.24), ("Ag", "fcc", 4.09),
    ("CsCl", "cesiumchloride", 4.12), ("Nb", "bcc", 3.30), ("ZnS", "zincblende", 5.41),
    ("CaO", "rocksalt", 4.81), ("Pb", "fcc", 4.95), ("Ti", "hcp", 2.95),
    ("BN", "zincblende", 3.62),
)  # fmt: skip
"""Formula, structure and lattice constant in A of common crystals of many groups of elements."""

OF_PAIRS = {"rocksalt": 1 / 2, "cesiumchloride": 3**0.5 / 2, "zincblende": 3**0.5 / 4}
OF_ELEMENTS = {"fcc": 0.5**0.5, "bcc": 3**0.5 / 2, "diamond": 3**0.5 / 4, "sc": 1.0}
"""Structures of own elements, and the shortest distance over the lattice constant."""

LENGTHS = tuple(np.linspace(0.85, 1.45, 25))
"""Shortest distances that are tried, over the sum of covalent radii."""

SCALES = (0.95, 1.0, 1.05)
RATTLE_A = 0.08


def check_forgetting(subject: Subject, settings: ForgettingSettings) -> list[CheckResult]:
    """Compare the model with the untuned one on crystals of other elements."""
    base = subject.base
    if base is None:
        return [not_applicable(NAME, "", "there is no untuned model to compare with")]
    crystals = other_crystals(subject, base, settings.crystals)
    if not crystals:
        return [not_applicable(NAME, "", "the model knows no element outside of its data")]
    changes = _changes_of(crystals, subject.model, base)
    force, energy = relative_changes(list(changes.values()))
    quantities = [
        Quantity("change of forces", number(force), at_most=settings.force_change),
        Quantity("change of energy differences", number(energy), at_most=settings.energy_change),
    ]
    found = (
        f"forces on {len(crystals)} crystals of other elements changed by {100 * force:.2g} %, "
        f"energy differences by {100 * energy:.2g} %"
    )
    tables = [_table("Other elements, change against the untuned model", changes)]
    own = own_crystals(subject, base, settings.own_crystals)
    if own:
        changes = _changes_of(own, subject.model, base)
        force, energy = relative_changes(list(changes.values()))
        quantities += [
            Quantity("change of forces, own elements", number(force)),
            Quantity("change of energy differences, own elements", number(energy)),
        ]
        found += (
            f"; on {len(own)} other crystals of its own elements, without a limit, by "
            f"{100 * force:.2g} and {100 * energy:.2g} %"
        )
        tables.append(_table("Own elements, change against the untuned model", changes))
    return [judged(NAME, "", found, quantities, tables=tables)]


def other_crystals(subject: Subject, base: LoadedModel, most: int) -> list[tuple[str, Atoms]]:
    """List crystals of elements that both models know and that are not in the subject."""
    own = set(subject.species)
    found: list[tuple[str, Atoms]] = []
    for formula, structure, length_A in CRYSTALS:
        crystal = bulk(formula, structure, a=length_A)
        if len(found) == most:
            break
        if set(crystal.get_chemical_symbols()) & own:
            continue
        if all(_knows(model, crystal) for model in (subject.model, base)):
            found.append((f"{formula} ({structure})", crystal))
    return found


def own_crystals(subject: Subject, base: LoadedModel, most: int) -> list[tuple[str, Atoms]]:
    """List common crystals of the subject's own elements that are none of its phases.

    Both models must know their elements. Pairs come first, then elements; each has the volume that
    the untuned model prefers.
    """
    known = {(composition_of(seed), space_group_number(seed)) for seed in subject.seeds.values()}
    species = subject.species
    wanted = [(structure, pair) for structure in OF_PAIRS for pair in combinations(species, 2)]
    wanted += [(structure, (symbol,)) for structure in OF_ELEMENTS for symbol in species]
    found: list[tuple[str, Atoms]] = []
    for structure, symbols in wanted:
        if len(found) == most:
            break
        cells = _at_volumes(structure, symbols)
        if not all(_knows(model, cells[-1]) for model in (subject.model, base)):
            continue
        energies = [energy_of(atoms) for atoms in predict(base, cells)]
        crystal = cells[int(np.argmin(energies))]
        if (composition_of(crystal), space_group_number(crystal)) not in known:
            found.append((f"{''.join(symbols)} ({structure})", crystal))
    return found


def _at_volumes(structure: str, symbols: tuple[str, ...]) -> list[Atoms]:
    radii = sum(covalent_radii[atomic_numbers[symbol]] for symbol in (symbols * 2)[:2])
    constant = radii / (OF_PAIRS | OF_ELEMENTS)[structure]
    return [bulk("".join(symbols), structure, a=length * constant) for length in LENGTHS]


def _knows(model: LoadedModel, crystal: Atoms) -> bool:
    if model.species is not None:
        return set(crystal.get_chemical_symbols()) <= model.species
    try:
        predict(model, [crystal])
    except Exception:  # a calculator that does not list its elements refuses in its own way
        return False
    return True


def strained_and_rattled(crystal: Atoms) -> list[Atoms]:
    """Make a doubled cell at three volumes, its atoms moved by about `RATTLE_A`."""
    generator = np.random.default_rng(0)
    cells = []
    for scale in SCALES:
        cell = crystal.repeat((2, 2, 1))
        cell.set_cell(scale * cell.cell.array, scale_atoms=True)
        cell.positions += RATTLE_A * generator.normal(size=cell.positions.shape)
        cells.append(cell)
    return cells


def _changes_of(
    crystals: Sequence[tuple[str, Atoms]], model: LoadedModel, base: LoadedModel
) -> dict[str, tuple[np.ndarray, ...]]:
    """Changes and untuned values of the cells of each crystal, see `_changes`."""
    cells = [cell for _, crystal in crystals for cell in strained_and_rattled(crystal)]
    ours, theirs = predict(model, cells), predict(base, cells)
    parts = [slice(first, first + len(SCALES)) for first in range(0, len(cells), len(SCALES))]
    return {
        name: _changes(ours[part], theirs[part])
        for (name, _), part in zip(crystals, parts, strict=True)
    }


def _table(title: str, changes: Mapping[str, tuple[np.ndarray, ...]]) -> DataTable:
    rows = [
        (name, *(number(value) for value in relative_changes([change])))
        for name, change in changes.items()
    ]
    return DataTable(
        title, ("Crystal", "Forces, relative", "Energy differences, relative"), tuple(rows)
    )


def _changes(ours: Sequence[Atoms], theirs: Sequence[Atoms]) -> tuple[np.ndarray, ...]:
    """Return changes and untuned values of force components and of energies per atom.

    Energies are relative to their mean over the cells, which has the same composition.
    """
    forces = [np.concatenate([forces_of(a).ravel() for a in side]) for side in (ours, theirs)]
    energies = [np.array([energy_of(a) / len(a) for a in side]) for side in (ours, theirs)]
    centred = [values - values.mean() for values in energies]
    return forces[0] - forces[1], forces[1], centred[0] - centred[1], centred[1]


def relative_changes(changes: Sequence[tuple[np.ndarray, ...]]) -> tuple[float, float]:
    """Root mean square of the changes over that of the untuned values: forces, then energies."""
    columns = [np.concatenate(column) for column in zip(*changes, strict=True)]
    force, force_base, energy, energy_base = (float(np.sqrt((c**2).mean())) for c in columns)
    return force / force_base, energy / energy_base
