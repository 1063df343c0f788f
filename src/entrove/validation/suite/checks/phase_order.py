"""Which phase is the lowest at which pressure, and is it the right one?"""

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from ase import Atoms

from entrove.models.prediction import predict
from entrove.structures import energy_of
from entrove.validation.suite.config import PhaseOrderSettings
from entrove.validation.suite.crystals import labelled_volumes
from entrove.validation.suite.result import (
    CheckResult,
    DataTable,
    Panel,
    Quantity,
    curve,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import Phase, Subject

NAME = "phase_order"


def pressures_of(settings: PhaseOrderSettings, regime_GPa: Sequence[float]) -> tuple[float, ...]:
    """Pressures in GPa at which enthalpies are compared, those of the regime among them."""
    between = np.linspace(min(regime_GPa), max(regime_GPa), settings.pressures)
    return tuple(sorted({float(round(value, 6)) for value in [*between, *regime_GPa]}))


def check_phase_order(subject: Subject, settings: PhaseOrderSettings) -> list[CheckResult]:
    """Compare the phases of each composition, of which there must be two or more."""
    groups: dict[str, list[Phase]] = {}
    for phase in subject.phases:
        if not phase.problem:
            groups.setdefault(phase.composition, []).append(phase)
    results = [
        _check(subject, composition, phases, settings)
        for composition, phases in groups.items()
        if len(phases) > 1
    ]
    return results or [
        not_applicable(NAME, "", "it needs two phases of one composition; give more crystals")
    ]


def _check(
    subject: Subject, composition: str, phases: list[Phase], settings: PhaseOrderSettings
) -> CheckResult:
    pressures = pressures_of(settings, subject.pressures_GPa)
    enthalpies = np.array(
        [[phase.enthalpy_eV_per_atom(pressure) for pressure in pressures] for phase in phases]
    )
    names = [phase.name for phase in phases]
    known = np.isfinite(enthalpies).all(axis=0)
    unknown = [
        f"{name} at {', '.join(f'{pressures[column]:g}' for column in np.flatnonzero(~row))} GPa"
        for name, row in zip(names, np.isfinite(enthalpies), strict=True)
        if not row.all()
    ]
    if not known.any():
        return not_applicable(
            NAME, composition, f"relaxations did not converge: {'; '.join(unknown)}"
        )
    pressures = tuple(p for p, is_known in zip(pressures, known, strict=True) if is_known)
    enthalpies = enthalpies[:, known]
    above = enthalpies - enthalpies.min(axis=0)
    lowest = [names[int(row)] for row in enthalpies.argmin(axis=0)]
    order = [name for name, before in zip(lowest, [None, *lowest], strict=False) if name != before]
    quantities = _transitions(pressures, enthalpies, names, lowest)
    compared, problems, of_labels = _against_labels(subject, phases, settings)
    expected = [name for name in settings.expected if name in names]
    if expected and order != expected:
        problems.append(
            f"with increasing pressure the lowest phases are {', '.join(order)}, "
            f"but {', '.join(expected)} are expected"
        )
    panel = Panel(
        composition,
        "pressure (GPa)",
        "enthalpy (meV/atom)",
        tuple(
            curve(name, pressures, 1000.0 * row) for name, row in zip(names, above, strict=True)
        ),
    )
    table = DataTable(
        f"{composition}: enthalpy above the lowest phase, meV/atom",
        ("Pressure (GPa)", *names),
        tuple(
            (pressure, *(number(1000.0 * float(value)) for value in above[:, column]))
            for column, pressure in enumerate(pressures)
        ),
    )
    if len(order) > 1:
        found = f"with increasing pressure the lowest phases are {', '.join(order)}"
    else:
        found = f"{order[0]} is the lowest at every pressure"
    if unknown:
        found += f"; not compared where relaxations did not converge: {'; '.join(unknown)}"
    return judged(
        NAME,
        composition,
        found + of_labels,
        [*quantities, *compared],
        problems=problems,
        panels=[panel] if len(pressures) > 1 else [],
        tables=[table],
    )


def _transitions(
    pressures: Sequence[float], enthalpies: np.ndarray, names: list[str], lowest: list[str]
) -> list[Quantity]:
    """Where the lowest phase changes, by straight lines between the pressures."""
    found = []
    for column, (before, after) in enumerate(pairwise(lowest)):
        if before == after:
            continue
        difference = enthalpies[names.index(after)] - enthalpies[names.index(before)]
        left, right = difference[column], difference[column + 1]
        share = left / (left - right)
        pressure = pressures[column] + share * (pressures[column + 1] - pressures[column])
        found.append(Quantity(f"transition {before} to {after}", number(pressure), "GPa"))
    return found


def _against_labels(
    subject: Subject, phases: Sequence[Phase], settings: PhaseOrderSettings
) -> tuple[list[Quantity], list[str], str]:
    """Compare energy differences on the labelled cell of the lowest energy of each phase.

    Returns the quantities, what is wrong, and a phrase that says which labels were compared.
    """
    lowest: dict[str, Atoms] = {}
    for phase in phases:
        cells = labelled_volumes(subject.labels, phase.name, phase.seed)
        if cells:
            lowest[phase.name] = min(cells, key=lambda atoms: energy_of(atoms) / len(atoms))
    if len(lowest) < 2:
        return [], [], ""
    right = {name: energy_of(atoms) / len(atoms) for name, atoms in lowest.items()}
    predictions = predict(subject.model, list(lowest.values()))
    ours = {
        name: energy_of(atoms) / len(atoms)
        for name, atoms in zip(lowest, predictions, strict=True)
    }
    quantities, problems = [], []
    for first, second in combinations(lowest, 2):
        label = 1000.0 * (right[second] - right[first])
        value = 1000.0 * (ours[second] - ours[first])
        allowed = settings.difference_error_meV_per_atom
        quantities.append(
            Quantity(
                f"energy of {second} above {first}, labelled cells",
                number(value),
                "meV/atom",
                number(label - allowed),
                number(label + allowed),
                number(label),
            )
        )
        if label * value < 0 and abs(label) > 1.0:
            low, high = (first, second) if label > 0 else (second, first)
            problems.append(f"{low} is below {high} in the labels, and above it in the model")
    cells = list(lowest.values())
    compared = f"; compared with {len(cells)} labelled cells{subject.describe_training(cells)}"
    return quantities, problems, compared
