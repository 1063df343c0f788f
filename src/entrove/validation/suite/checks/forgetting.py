"""Does the model still know what it was not tuned for?

Strained and rattled crystals of elements outside the campaign are evaluated with the model and
with the untuned one. Energies are compared between cells of one crystal, so that a shift of the
reference energy of an element does not count.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk

from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.structures import energy_of, forces_of
from entrove.validation.suite.config import ForgettingSettings
from entrove.validation.suite.result import (
    CheckResult,
    DataTable,
    Quantity,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import Subject

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
    names = [name for name, _ in crystals]
    cells = [cell for _, crystal in crystals for cell in strained_and_rattled(crystal)]
    ours, theirs = predict(subject.model, cells), predict(base, cells)
    rows, changes = [], []
    for index, name in enumerate(names):
        part = slice(len(SCALES) * index, len(SCALES) * (index + 1))
        changes.append(_changes(ours[part], theirs[part]))
        rows.append((name, *(number(value) for value in relative_changes([changes[-1]]))))
    force, energy = relative_changes(changes)
    quantities = [
        Quantity("change of forces", number(force), at_most=settings.force_change),
        Quantity("change of energy differences", number(energy), at_most=settings.energy_change),
    ]
    table = DataTable(
        "Change against the untuned model",
        ("Crystal", "Forces, relative", "Energy differences, relative"),
        tuple(rows),
    )
    found = (
        f"forces on {len(names)} crystals of other elements changed by {100 * force:.2g} %, "
        f"energy differences by {100 * energy:.2g} %"
    )
    return [judged(NAME, "", found, quantities, tables=[table])]


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
