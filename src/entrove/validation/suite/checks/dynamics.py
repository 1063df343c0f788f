"""MD at the hottest point of the regime: does it stay physical and conserve energy?"""

import math
from dataclasses import replace

import numpy as np
from ase import Atoms

from entrove.validation.stability import Stability, nve_stability, nvt_stability
from entrove.validation.suite.config import DynamicsSettings
from entrove.validation.suite.result import (
    CheckResult,
    Curve,
    Outcome,
    Panel,
    Quantity,
    curve,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import NO_CRYSTAL, Subject, conventional_cell

NAME = "dynamics"
MOST_POINTS_DRAWN = 300
STANDARD_ERRORS = 2.0
"""A drift is known to this many standard errors."""


def check_dynamics(subject: Subject, settings: DynamicsSettings) -> list[CheckResult]:
    """Run all phases in one batch, first without and then with a thermostat."""
    judgeable = [phase for phase in subject.phases if not phase.problem]
    results = [
        not_applicable(NAME, phase.name, phase.problem)
        for phase in subject.phases
        if phase.problem
    ]
    if not judgeable:
        return results or [not_applicable(NAME, "", NO_CRYSTAL)]
    temperature = settings.temperature_K or max(subject.temperatures_K)
    cells = [big_cell(phase.atoms, settings.least_atoms) for phase in judgeable]
    runs = {
        name: run(
            cells,
            subject.model.model,
            temperature_K=temperature,
            steps=settings.steps,
            timestep_fs=settings.timestep_fs,
            check_every=10,
            seed=settings.random_seed,
        )
        for name, run in (("NVE", nve_stability), ("NVT", nvt_stability))
    }
    return [
        _judge(
            phase.name, phase.pressure_GPa, len(cells[row]), temperature,
            {name: found[row] for name, found in runs.items()}, settings,
        )
        for row, phase in enumerate(judgeable)
    ] + results  # fmt: skip


def big_cell(atoms: Atoms, least_atoms: int) -> Atoms:
    """Repeat the conventional cell, along its shortest edge first, to at least so many atoms."""
    cell = conventional_cell(atoms)
    repeats = np.ones(3, dtype=int)
    while len(cell) * math.prod(repeats.tolist()) < least_atoms:
        repeats[np.argmin(cell.cell.lengths() * repeats)] += 1
    return cell.repeat(repeats)


def _judge(
    phase: str,
    pressure_GPa: float,
    atoms: int,
    temperature_K: float,
    runs: dict[str, Stability],
    settings: DynamicsSettings,
) -> CheckResult:
    nve, nvt = runs["NVE"], runs["NVT"]
    drift = abs(nve.drift_meV_per_atom_per_ps)
    uncertainty = STANDARD_ERRORS * nve.drift_error_meV_per_atom_per_ps
    limit = settings.drift_meV_per_atom_per_ps
    quantities = [
        Quantity(
            "energy drift (NVE), at least",
            number(float(np.maximum(drift - uncertainty, 0.0))),  # max() would drop a NaN
            "meV/atom/ps",
            at_most=limit,
        ),
        Quantity("energy drift (NVE)", number(drift), "meV/atom/ps"),
        Quantity(
            "standard error of the energy drift (NVE)",
            number(nve.drift_error_meV_per_atom_per_ps),
            "meV/atom/ps",
        ),
        Quantity("energy noise (NVE)", number(nve.noise_meV_per_atom), "meV/atom"),
        Quantity("mean temperature (NVT)", number(nvt.mean_temperature_K), "K"),
        Quantity(
            "shortest distance",
            number(min(nve.shortest_distance_A, nvt.shortest_distance_A)),
            "A",
        ),
    ]
    problems = [
        f"{name} at {temperature_K:g} K: {run.reason}"
        for name, run in runs.items()
        if not run.stable
    ]
    found = (
        f"{atoms} atoms at {pressure_GPa:g} GPa and {temperature_K:g} K stay together over "
        f"{settings.steps} steps; energy drift {drift:.2g} ± {uncertainty:.1g} meV/atom/ps"
    )
    panels = [
        Panel(
            f"{phase}: total energy without a thermostat",
            "time (ps)",
            "energy (meV/atom)",
            (
                _trajectory("NVE", nve.times_ps, nve.energies_meV_per_atom),
                _trajectory("shadow energy", nve.times_ps, nve.shadow_energies_meV_per_atom),
            ),
        ),
        Panel(
            f"{phase}: temperature",
            "time (ps)",
            "temperature (K)",
            tuple(
                _trajectory(name, run.times_ps, run.temperatures_K) for name, run in runs.items()
            ),
        ),
    ]
    result = judged(NAME, phase, found, quantities, problems=problems, panels=panels)
    if result.outcome is Outcome.PASSED and uncertainty > limit:
        unknown = f"{found}, which is not known well enough to compare with {limit:g}"
        return replace(
            result,
            outcome=Outcome.NOT_APPLICABLE,
            sentence=f"{unknown}; increase suite.dynamics.steps",
        )
    return result


def _trajectory(name: str, times: np.ndarray, values: np.ndarray) -> Curve:
    every = max(1, len(values) // MOST_POINTS_DRAWN)
    return curve(name, times[::every], values[::every])
