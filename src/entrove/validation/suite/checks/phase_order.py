"""Which phase is the lowest at which pressure, and is it the right one?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
from ase import Atoms

from entrove.models.prediction import predict
from entrove.structures import energy_of
from entrove.validation.suite.config import PhaseOrderSettings
from entrove.validation.suite.crystals import labelled_volumes, space_group_number
from entrove.validation.suite.result import (
    CheckResult,
    DataTable,
    Outcome,
    Panel,
    Quantity,
    curve,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import Phase, Subject, reduce_by_symmetry

NAME = "phase_order"

SAME_ENTHALPY_EV_PER_ATOM = 1e-4
SAME_VOLUME = 0.01
SAME_POSITION_A = 0.1
"""Below these differences two relaxed phases of one symmetry are one: relaxations end at finite
forces and stresses."""


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
    merged = [relaxed_into(phases, pressure) for pressure in pressures]
    lowest = [
        into.get(names[int(row)], names[int(row)])
        for row, into in zip(enthalpies.argmin(axis=0), merged, strict=True)
    ]
    same = _describe_merged(pressures, merged)
    order = [name for name, before in zip(lowest, [None, *lowest], strict=False) if name != before]
    quantities = _transitions(pressures, enthalpies, names, lowest)
    compared, problems, of_labels = _against_labels(subject, phases, settings)
    absent = [
        phase.name
        for phase in subject.phases
        if phase.problem and phase.composition == composition and phase.name in settings.expected
    ]
    expected = [name for name in settings.expected if name in names or name in absent]
    # What is not known may be what is missing.
    is_open = bool(absent or unknown) and order != expected and _is_part(order, expected)
    if expected and order != expected and not is_open:
        problems.append(
            f"with increasing pressure the lowest phases are {', '.join(order)}, "
            f"but {', '.join(expected)} are expected{same}"
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
    found += same
    if unknown:
        found += f"; not compared where relaxations did not converge: {'; '.join(unknown)}"
    if absent:
        found += f"; not compared, since it could not be judged: {', '.join(absent)}"
    if is_open:
        found += f"; this does not tell whether {', '.join(expected)} are, which are expected"
    result = judged(
        NAME,
        composition,
        found + of_labels,
        [*quantities, *compared],
        problems=problems,
        panels=[panel] if len(pressures) > 1 else [],
        tables=[table],
    )
    if is_open and result.outcome is Outcome.PASSED:
        return replace(result, outcome=Outcome.NOT_APPLICABLE)
    return result


def _is_part(order: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether all of an order is expected, in this order."""
    rest = iter(expected)
    return all(name in rest for name in order)


def relaxed_into(phases: Sequence[Phase], pressure_GPa: float) -> dict[str, str]:
    """Find phases that have relaxed into another one of them at a pressure.

    Args:
        phases: Phases of one composition, with a relaxation at the pressure.
        pressure_GPa: The pressure in GPa.

    Two are one where enthalpy, volume, space group and size of the primitive cell agree. The one
    keeps its name that had this symmetry before its relaxation, or else the first.

    Returns the name of each such phase with that of the phase that it has become.
    """
    found = {phase.name: _Relaxed.of(phase, pressure_GPa) for phase in phases}
    kept: list[str] = []
    into: dict[str, str] = {}
    for name in sorted(found, key=lambda name: found[name].has_changed):
        same = next((other for other in kept if found[name].is_same(found[other])), None)
        if same is None:
            kept.append(name)
        else:
            into[name] = same
    return into


@dataclass(frozen=True)
class _Relaxed:
    """What tells relaxed phases apart, in eV/atom and A^3/atom, and whether symmetry changed."""

    enthalpy: float
    volume: float
    space_group: int
    atoms: int
    has_changed: bool

    @classmethod
    def of(cls, phase: Phase, pressure_GPa: float) -> "_Relaxed":
        atoms = phase.relaxed[pressure_GPa].atoms
        primitive = reduce_by_symmetry(atoms, SAME_POSITION_A)
        group = space_group_number(atoms, SAME_POSITION_A)
        return cls(
            float(phase.enthalpy_eV_per_atom(pressure_GPa)),
            float(atoms.get_volume()) / len(atoms),
            group,
            len(atoms if primitive is None else primitive),
            group != space_group_number(phase.seed, SAME_POSITION_A),
        )

    def is_same(self, other: "_Relaxed") -> bool:
        return (
            abs(self.enthalpy - other.enthalpy) < SAME_ENTHALPY_EV_PER_ATOM
            and abs(self.volume / other.volume - 1.0) < SAME_VOLUME
            and (self.space_group, self.atoms) == (other.space_group, other.atoms)
        )


def _describe_merged(pressures: Sequence[float], merged: Sequence[dict[str, str]]) -> str:
    """A phrase that says which phases have become others, and where not everywhere."""
    places: dict[tuple[str, str], list[float]] = {}
    for pressure, into in zip(pressures, merged, strict=True):
        for pair in into.items():
            places.setdefault(pair, []).append(pressure)
    text = ""
    for (name, other), where in places.items():
        text += f"; {name} relaxes into {other}"
        if len(where) < len(pressures):
            text += f" at {', '.join(f'{pressure:g}' for pressure in where)} GPa"
    return text


def _transitions(
    pressures: Sequence[float], enthalpies: np.ndarray, names: list[str], lowest: list[str]
) -> list[Quantity]:
    """Where the lowest phase changes, by straight lines between the pressures.

    The name of a phase that has relaxed into another one says little about which of its enthalpies
    is the lower: lines that cross outside of the two pressures, or nowhere, give the nearer one.
    """
    found = []
    for column, (before, after) in enumerate(pairwise(lowest)):
        if before == after:
            continue
        difference = enthalpies[names.index(after)] - enthalpies[names.index(before)]
        left, right = difference[column], difference[column + 1]
        share = left / (left - min(right, 0.0)) if left > 0.0 else 0.0
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
