"""Phonons: is every crystal at a minimum of its energy?"""

import math

import numpy as np
from ase import Atoms

from entrove._optional import require
from entrove.errors import EntroveError
from entrove.validation.phonons import ImaginaryMode, Phonons, phonons
from entrove.validation.suite.config import PhononSettings
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
from entrove.validation.suite.subject import NO_CRYSTAL, Phase, Subject

NAME = "phonons"
MOST_MODES_LISTED = 20


def check_phonons(subject: Subject, settings: PhononSettings) -> list[CheckResult]:
    """Compute the phonons of each phase at the pressure at which it is judged."""
    try:
        require("phonopy", extra="phonons")
    except EntroveError as error:
        return [not_applicable(NAME, "", str(error), missing_package="phonopy")]
    return [
        not_applicable(NAME, phase.name, phase.problem)
        if phase.problem
        else _check(subject, phase, settings)
        for phase in subject.phases
    ] or [not_applicable(NAME, "", NO_CRYSTAL)]


def supercell_of(atoms: Atoms, least_A: float) -> tuple[int, int, int]:
    """Repetitions that make opposite faces at least `least_A` distant."""
    heights = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    first, second, third = (max(1, math.ceil(least_A / height - 1e-6)) for height in heights)
    return first, second, third


def _check(subject: Subject, phase: Phase, settings: PhononSettings) -> CheckResult:
    found = phonons(
        phase.atoms,
        subject.model,
        supercell=supercell_of(phase.atoms, settings.supercell_A),
        displacement_A=settings.displacement_A,
        mesh=(settings.mesh, settings.mesh, settings.mesh),
        points_per_line=settings.points_per_line,
    )
    modes = found.imaginary_modes(settings.imaginary_THz)
    quantities = [
        Quantity(
            "lowest frequency", number(found.lowest_THz), "THz", at_least=-settings.imaginary_THz
        ),
        Quantity("highest frequency", number(found.highest_THz), "THz"),
        Quantity("q-points with imaginary modes", float(len(modes))),
    ]
    problems = []
    if modes:
        problems.append(f"imaginary modes at {phase.pressure_GPa:g} GPa: {_name(modes)}")
    tables = [_table(phase, modes)] if modes else []
    sentence = (
        f"no imaginary mode at {phase.pressure_GPa:g} GPa; "
        f"frequencies up to {found.highest_THz:.2f} THz"
    )
    return judged(
        NAME,
        phase.name,
        sentence,
        quantities,
        problems=problems,
        panels=[_panel(phase, found, settings.imaginary_THz)],
        tables=tables,
    )


def _name(modes: list[ImaginaryMode]) -> str:
    """Name the most imaginary modes, those at special points before others."""
    named = sorted(modes, key=lambda mode: (not mode.place, "-" in mode.place, mode.frequency_THz))
    texts = [
        f"{abs(mode.frequency_THz):.2f}i THz at {mode.place or 'q'} "
        f"({', '.join(f'{value:.3g}' for value in mode.q_point)})"
        for mode in named[:3]
    ]
    more = f" and at {len(modes) - 3} more q-points" if len(modes) > 3 else ""
    return ", ".join(texts) + more


def _table(phase: Phase, modes: list[ImaginaryMode]) -> DataTable:
    return DataTable(
        f"{phase.name}: imaginary modes",
        ("Place", "q-point", "Frequency (THz)", "Modes"),
        tuple(
            (
                mode.place or "mesh",
                ", ".join(f"{value:.4g}" for value in mode.q_point),
                number(mode.frequency_THz),
                float(mode.modes),
            )
            for mode in modes[:MOST_MODES_LISTED]
        ),
    )


def _panel(phase: Phase, found: Phonons, tolerance_THz: float) -> Panel:
    """Draw each band over the path; where it is imaginary it is marked."""
    ticks: list[tuple[float, str]] = []
    for line in found.bands:
        start, end = float(line.distances_per_A[0]), float(line.distances_per_A[-1])
        if ticks and ticks[-1][1] != line.start:
            ticks[-1] = (start, f"{ticks[-1][1]}|{line.start}")
        elif not ticks:
            ticks.append((start, line.start))
        ticks.append((end, line.end))
    distances = np.concatenate([line.distances_per_A for line in found.bands])
    bands = np.concatenate([line.frequencies_THz for line in found.bands]).T
    # One curve for all bands, interrupted between two of them.
    gap = np.full((len(bands), 1), np.nan)
    curves = [
        curve(
            "bands",
            np.tile([*distances, distances[-1]], len(bands)),
            np.hstack([bands, gap]).ravel(),
        )
    ]
    soft = bands < -tolerance_THz
    if soft.any():
        rows, columns = np.nonzero(soft)
        curves.append(curve("imaginary", distances[columns], bands[rows, columns], "marked"))
    return Panel(
        phase.name,
        "",
        "frequency (THz)",
        tuple(curves),
        tuple((number(at) or 0.0, name.replace("G", "Γ")) for at, name in ticks),
    )
