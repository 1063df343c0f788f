"""Results of a silicon campaign: two rounds of 12 labels, 12 validation structures."""

import dataclasses
from pathlib import Path

import numpy as np

from entrove.campaign.journal.outcomes import LabelRow, WalkerRow
from entrove.campaign.results.results import (
    CampaignResults,
    FingerprintMap,
    MapPoint,
    ModelErrors,
    Parity,
    PoolRow,
    StageTime,
    StateErrors,
)
from entrove.training.choice import Choice, decide
from entrove.training.config import Recipe
from entrove.validation.errors_by_kind import ErrorRow

PHASES = ("diamond", "beta-tin")
KINDS = ("strain", "shear", "hot_md")
SHRINK = (1.0, 0.42, 0.27)  # error of each round against the untuned model
ATOMS = 8
NOT_CONVERGED = "the density did not converge in 200 iterations, 3 attempts (last: smaller mixing)"

CONFIG = """\
name: silicon
model: 7net-0
rounds: 2
sampling:
  temperatures_K: [300.0, 1000.0]
  pressures_GPa: [0.0, 10.0]
labelling:
  engine: {name: gpaw, cutoff_eV: 300.0, kspacing_per_A: 0.35}
"""


def silicon_results(rounds: int = 2, structures_per_part: int = 2) -> CampaignResults:
    """Build the results of a finished campaign; the same numbers every time."""
    rng = np.random.default_rng(20)
    parities = [_parity(round_index, structures_per_part) for round_index in range(rounds + 1)]
    return CampaignResults(
        folder=Path("campaigns/silicon"),
        name="silicon",
        entrove_version="0.1.0",
        finished=True,
        verdict="all 2 rounds are done; the next 12 labels would add 3.1 nats",
        rounds_done=rounds,
        rounds_planned=rounds,
        level_of_theory="GPAW 26.7.0, PBE, plane waves 300 eV, k-spacing 0.35 1/Å, "
        "Fermi-Dirac 0.1 eV",
        level_of_theory_hash="5c1f0b7e2d9a4c33",
        foundation_model="7net-0",
        config_yaml=CONFIG,
        errors=tuple(row for parity in parities for row in _model_errors(parity)),
        labels=_labels(rng, rounds),
        stages=_stages(rounds),
        parity=tuple(parities),
        walkers=_walkers(rounds),
        pools=tuple(
            PoolRow(round_index, pool, reserved, picked)
            for round_index in range(1, rounds + 1)
            for pool, reserved, picked in (
                ("anchors", 4, 3),
                ("entropy_md", 0, 6),
                ("ordered", 2, 3),
            )
        ),
        next_gain_nats={1: 61.4, 2: 17.9},
        fingerprint_map=_map(rng, rounds),
        states=tuple(_states(rounds)),
        gains_nats={
            index: tuple(
                sorted((36.0 / (number + 12 * index) for number in range(12)), reverse=True)
            )
            for index in range(1, rounds + 1)
        },
        labels_per_round=12,
        choices={1: choice_of_two(), 2: choice_of_two(0.7)},
    )


def choice_of_two(scale: float = 1.0) -> Choice:
    """What cross-validation found in a round: the second recipe is better in every fold."""
    recipes = (
        Recipe(strategy="naive", learning_rate=1e-3),
        Recipe(strategy="frozen", learning_rate=3e-3),
    )
    losses = [
        [scale * loss for loss in fold_losses]
        for fold_losses in ([0.0031, 0.0042, 0.0027], [0.0024, 0.0033, 0.0022])
    ]
    found = decide(recipes, losses, [0.0093, 0.0121, 0.0088], labels=11, groups=10)
    assert found is not None
    return found


def with_errors(row: ModelErrors, **changes: float | str) -> ModelErrors:
    """The same row with another phase or other errors."""
    return dataclasses.replace(row, errors=dataclasses.replace(row.errors, **changes))


def _parity(round_index: int, per_part: int) -> Parity:
    rng = np.random.default_rng(7)  # the same structures for every model
    parts = [(phase, kind) for phase in PHASES for kind in KINDS for _ in range(per_part)]
    count = len(parts)
    energy = np.abs(rng.normal(0.0, 0.16, count)) + np.array(
        [0.3 * (phase != "diamond") for phase, _ in parts]
    )
    energy -= energy.mean()
    spread = np.array([1.2 if kind == "hot_md" else 0.35 for _, kind in parts])
    forces = rng.normal(0.0, np.repeat(spread, 3 * ATOMS))
    stress = rng.normal(-4.0, 6.0, 6 * count)
    shrink = SHRINK[min(round_index, len(SHRINK) - 1)]
    softening = 0.12 * shrink  # foundation models underestimate large forces
    return Parity(
        round=round_index,
        model="7net-0" if round_index == 0 else f"silicon-round{round_index}",
        phases=np.array([phase for phase, _ in parts]),
        kinds=np.array([kind for _, kind in parts]),
        reference_energy_eV_per_atom=energy,
        predicted_energy_eV_per_atom=energy * (1 - softening)
        + rng.normal(0, 0.012 * shrink, count),
        reference_forces_eV_per_A=forces,
        predicted_forces_eV_per_A=forces * (1 - softening)
        + rng.normal(0, 0.06 * shrink, forces.size),
        reference_stress_GPa=stress,
        predicted_stress_GPa=stress * (1 - softening) + rng.normal(0, 0.5 * shrink, stress.size),
        atom_counts=np.full(count, ATOMS),
    )


def _model_errors(parity: Parity) -> list[ModelErrors]:
    rows = []
    for phase, kind in [("all", "all"), *((phase, kind) for phase in PHASES for kind in KINDS)]:
        part = np.full(len(parity.phases), True)
        if phase != "all":
            part = (parity.phases == phase) & (parity.kinds == kind)
        energy = np.abs(parity.predicted_energy_eV_per_atom - parity.reference_energy_eV_per_atom)
        forces = np.abs(parity.predicted_forces_eV_per_A - parity.reference_forces_eV_per_A)
        stress = np.abs(parity.predicted_stress_GPa - parity.reference_stress_GPa) / 160.2176634
        raw = 1000 * float(energy[part].mean())
        force = 1000 * float(forces[np.repeat(part, 3 * ATOMS)].mean())
        stress_mae = 1000 * float(stress[np.repeat(part, 6)].mean())
        row = ErrorRow(
            phase=phase,
            kind=kind,
            structures=int(part.sum()),
            atoms=ATOMS * int(part.sum()),
            energy_mae_meV_per_atom=raw,
            energy_rmse_meV_per_atom=raw,
            # The report would show if it confused the two energy errors.
            energy_centred_mae_meV_per_atom=raw / 100,
            energy_centred_rmse_meV_per_atom=raw / 100,
            force_mae_meV_per_A=force,
            force_rmse_meV_per_A=force,
            stress_mae_meV_per_A3=stress_mae,
            stress_rmse_meV_per_A3=stress_mae,
        )
        rows.append(ModelErrors(parity.round, parity.model, row))
    return rows


def _states(rounds: int) -> list[StateErrors]:
    """One row per phase, pressure and temperature, but for one state that was not measured."""
    return [
        StateErrors(round_index, model, phase, pressure, temperature, _state_row(*state))
        for round_index, model in ((0, "7net-0"), (rounds, f"silicon-round{rounds}"))
        for phase in PHASES
        for pressure in (0.0, 10.0)
        for temperature in (None, 300.0, 1000.0)
        if (phase, pressure, temperature) != ("beta-tin", 10.0, 1000.0)
        for state in [(round_index, phase, pressure, temperature or 0.0)]
    ]


def _state_row(round_index: int, phase: str, pressure: float, temperature: float) -> ErrorRow:
    shrink = SHRINK[min(round_index, len(SHRINK) - 1)]
    error = shrink * (10.0 + 3.1 * pressure + 0.07 * temperature + 5.3 * (phase != "diamond"))
    return ErrorRow(
        phase=phase,
        kind="all",
        structures=2,
        atoms=2 * ATOMS,
        energy_mae_meV_per_atom=error + 5000.0,
        energy_rmse_meV_per_atom=error + 5000.0,
        energy_centred_mae_meV_per_atom=0.4 * error,
        energy_centred_rmse_meV_per_atom=0.4 * error,
        force_mae_meV_per_A=error,
        force_rmse_meV_per_A=error,
        stress_mae_meV_per_A3=0.1 * error,
        stress_rmse_meV_per_A3=0.1 * error,
    )


def _labels(rng: np.random.Generator, rounds: int) -> tuple[LabelRow, ...]:
    labels = [
        LabelRow(
            purpose="validation",
            round=0,
            structure_hash=f"{number:02d}a9f3c1e77b{number:020d}",
            phase=PHASES[number // 6],
            kind=KINDS[number % 3],
            pool="validation",
            pressure_GPa=10.0 * (number % 2),
            temperature_K=1000.0 if number % 3 == 2 else None,
            gain_nats=None,
            outcome="converged",
            cause="",
            engine_seconds=float(rng.uniform(15, 26)),
            from_cache=False,
        )
        for number in range(12)
    ]
    for round_index in range(1, rounds + 1):
        gains = np.sort(rng.exponential(4.4 / round_index**1.5, 12) + 0.6)[::-1]
        for number, gain in enumerate(gains):
            failed = (round_index, number) == (1, 7)
            pool = ("entropy_md", "entropy_md", "anchors", "ordered")[number % 4]
            labels.append(
                LabelRow(
                    purpose="training",
                    round=round_index,
                    structure_hash=f"{round_index}{number:02d}d41c9b0e5f{number:019d}",
                    phase=PHASES[number % 2],
                    kind={"entropy_md": "md", "anchors": "strain", "ordered": "relaxed"}[pool],
                    pool=pool,
                    pressure_GPa=10.0 * (number % 3 == 0),
                    temperature_K=(300.0, 1000.0)[number % 2] if pool == "entropy_md" else None,
                    gain_nats=float(gain),
                    outcome="not converged" if failed else "converged",
                    cause=NOT_CONVERGED if failed else "",
                    engine_seconds=float(rng.uniform(15, 30)) * (4 if failed else 1),
                    from_cache=(round_index, number) == (2, 3),
                )
            )
    return tuple(labels)


def _stages(rounds: int) -> tuple[StageTime, ...]:
    stages = [
        StageTime(0, "relax", 21.3, "2 phases at 2 pressures, largest force 0.01 eV/Å", 42.6),
        StageTime(0, "validation_labels", 128.0, "12 of 12 labels converged", 256.0),
        StageTime(0, "validate", 1.9, "7net-0: 24.9 meV/atom, 78 meV/Å", 3.8),
    ]
    for round_index in range(1, rounds + 1):
        stages += [
            StageTime(round_index, "sample", 74.0, "8 walkers, 400 steps, 320 snapshots", 148.0),
            StageTime(round_index, "select", 0.8, "12 of 336 candidates, 61.4 nats", 1.6),
            StageTime(
                round_index, "label", 151.0, "11 of 12 labels converged, 1 quarantined", 302.0
            ),
            StageTime(round_index, "train", 163.0, "40 epochs on 23 structures", 326.0),
            StageTime(round_index, "validate", 2.0, "tuned model accepted", 4.0),
        ]
    return tuple(stages)


def _walkers(rounds: int) -> tuple[WalkerRow, ...]:
    grid = [
        (phase, pressure, temperature)
        for phase in PHASES
        for pressure in (0.0, 10.0)
        for temperature in (300.0, 1000.0)
    ]
    return tuple(
        WalkerRow(
            round_index,
            number,
            *state,
            "adaptive 0.3",
            int(number == 7),
            "shortest distance" if number == 7 else "",
        )
        for round_index in range(1, rounds + 1)
        for number, state in enumerate(grid)
    )


def _map(rng: np.random.Generator, rounds: int) -> FingerprintMap:
    points = []
    for phase, centre in zip(PHASES, ((-1.5, 0.2), (1.8, -0.3)), strict=True):
        for temperature, width in ((300, 0.25), (1000, 0.8)):
            for round_index in range(1, rounds + 1):
                cloud = rng.normal(centre, (width, 0.7 * width), (40, 2))
                for number, (x, y) in enumerate(cloud):
                    group = "selected" if number < 3 * (temperature // 500 + 1) - 1 else "walker"
                    text = f"{phase}, {temperature} K, round {round_index}"
                    points.append(MapPoint(float(x), float(y), group, phase, round_index, text))
        points.append(MapPoint(*centre, "seed", phase, 0, f"{phase}, as given"))
    return FingerprintMap(tuple(points), (0.61, 0.17))
