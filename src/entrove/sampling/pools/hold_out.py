"""Validation and test set: other strains and shears than the anchors', and MD of their own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from math import ceil

import numpy as np
from ase import Atoms
from torch_sim.models.interface import ModelInterface

from entrove.sampling.candidates import Candidate, Pool
from entrove.sampling.config import HoldOutSettings, SamplingConfig
from entrove.sampling.pools.random_md import run_plain_md
from entrove.sampling.pools.strained import (
    deform,
    refuse_overlaps,
    without_copies,
    without_overlaps,
)
from entrove.sampling.walkers.grid import Start

AMPLITUDES = {"validation": (1.0, 0.8, 0.6, 0.4), "test": (0.9, 0.7, 0.5, 0.3)}
"""Strains and shears of each set over the configured ones. Beyond the first, only as needed."""


def generate_hold_out(
    starts: Iterable[Start],
    temperatures_K: Iterable[float],
    anchors: Iterable[Atoms],
    model: ModelInterface,
    config: SamplingConfig,
    rng: np.random.Generator | int,
    *,
    structures: int | None = None,
    test: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Make the structures that are never trained on; none is a copy of an anchor.

    Args:
        starts: The relaxed phases, each at its pressure.
        temperatures_K: Temperatures of the regime in K; there is MD at each of them, times
            `temperature_factor`: a model that errs at one of them must not pass unseen.
        anchors: Structures that must not be copied.
        model: Computes energy and forces.
        config: `config.hold_out` has strains, shears and MD steps. Biases and replicas of the
            walkers do not matter, so that campaigns that differ in them have one validation set.
        rng: Generator or seed; it must differ from that of the anchors and of the walkers, so that
            trajectories differ.
        structures: How many structures each set has, drawn in turn from every phase and kind, and
            from different trajectories as far as possible; at least one of each. None for exactly
            the configured strains, shears and snapshots.
        test: Whether to make a test set, too. It shares no trajectory with the validation set.
        on_step: Called with MD steps done and steps in all.

    Returns the structures of the validation set, then those of the test set; their pools are
    "validation" and "test". As among the anchors, cells whose atoms are closer than the guards
    allow are left out.

    Raises `StructureError` for a relaxed phase whose own atoms are that close.
    """
    starts, temperatures_K = list(starts), list(temperatures_K)
    refuse_overlaps(starts, config.guards)
    settings = config.hold_out
    parts: tuple[Pool, ...] = ("validation", "test") if test else ("validation",)
    levels = 1 if structures is None else len(AMPLITUDES["validation"])
    deformed = [
        candidate
        for level in range(levels)
        for part in parts
        for candidate in _deform(starts, settings, part, AMPLITUDES[part][level])
    ]
    deformed = without_copies(without_overlaps(deformed, config.guards), list(anchors))
    replicas = md_runs(settings, starts, len(temperatures_K), structures)
    thermal = run_plain_md(
        starts,
        [settings.temperature_factor * temperature for temperature in temperatures_K],
        model,
        config.model_copy(update={"replicas": replicas * len(parts)}),
        rng,
        steps=settings.md_steps,
        snapshots=settings.md_snapshots,
        pool="validation",
        on_step=on_step,
    )
    # Replicas of one state are numbered one after the other: the first ones are for validation.
    thermal = [
        replace(snapshot, pool=parts[snapshot.walker // replicas % len(parts)])
        for snapshot in thermal
        if snapshot.walker is not None
    ]
    sets = [
        [candidate for candidate in (*deformed, *thermal) if candidate.pool == part]
        for part in parts
    ]
    if structures is not None:
        sets = [draw_evenly(found, structures) for found in sets]
    return [candidate for found in sets for candidate in found]


def sizes_of(
    settings: HoldOutSettings, starts: Sequence[Start], temperatures: int, structures: int | None
) -> dict[str, int]:
    """Return how many structures each set will have, before copies and overlaps are left out.

    Args:
        settings: Strains, shears and MD.
        starts: The phases, each at its pressure; their cells need not be relaxed.
        temperatures: Number of temperatures.
        structures: As for `generate_hold_out`.
    """
    of_a_level = len(_deform(starts, settings, "validation", 1.0))
    runs = md_runs(settings, starts, temperatures, structures) * len(starts) * temperatures
    thermal = runs * settings.md_snapshots if settings.md_steps else 0
    if structures is None:
        size = of_a_level + thermal
    else:
        kinds = bool(settings.volume_strains) + bool(settings.shears)
        kinds += temperatures * bool(thermal)
        strata = kinds * len({start.phase for start in starts})
        available = of_a_level * len(AMPLITUDES["validation"]) + thermal
        size = min(max(structures, strata), available)
    return {"validation": size, **({"test": size} if settings.test else {})}


def independent_of(
    settings: HoldOutSettings, starts: Sequence[Start], temperatures: int, structures: int | None
) -> int:
    """Return how many cells and MD trajectories each set will have; arguments of `sizes_of`.

    Snapshots of one trajectory are not independent: an interval counts them once.
    """
    one_snapshot = settings.model_copy(update={"md_snapshots": min(1, settings.md_snapshots)})
    return sizes_of(one_snapshot, starts, temperatures, structures)["validation"]


def count_independent(candidates: Sequence[Candidate]) -> int:
    """Return the number of cells and of MD trajectories among candidates of one set."""
    runs = {candidate.walker for candidate in candidates if candidate.walker is not None}
    return len(runs) + sum(candidate.walker is None for candidate in candidates)


def md_runs(
    settings: HoldOutSettings, starts: Sequence[Start], temperatures: int, structures: int | None
) -> int:
    """How many MD runs of each phase, pressure and temperature each set needs.

    As few as give every kind its share: strained and sheared cells, which cost no MD, fill up.
    """
    if structures is None or not (settings.md_steps and settings.md_snapshots):
        return 1
    phases = len({start.phase for start in starts})
    kinds = temperatures + bool(settings.volume_strains) + bool(settings.shears)
    share = max(1, structures // (kinds * phases))
    # Half of the amplitudes: some of the cells are copies of anchors.
    cells = len(settings.volume_strains) + settings.shear_planes * len(settings.shears)
    deformed = len(starts) * cells * len(AMPLITUDES["validation"]) // 2
    thermal = max(share * phases * temperatures, structures - deformed)
    return max(1, ceil(thermal / (len(starts) * temperatures)))


def draw_evenly(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Draw `count` candidates, one of every phase and kind in turn.

    Args:
        candidates: The candidates; MD is a kind of its own at each temperature.
        count: How many are drawn; at least one of each phase and kind, if there are so many.

    Of MD, the last snapshot of every trajectory comes before a second one of any, and pressures
    take turns. Strained cells stay in pairs of one pressure, whose stress can be compared with
    their energies.

    Returns the candidates in the order in which they were given.
    """
    strata: dict[tuple[str, str, float | None], list[Candidate]] = {}
    for candidate in candidates:
        key = (candidate.phase, candidate.kind, candidate.temperature_K)
        strata.setdefault(key, []).append(candidate)
    ordered = [
        group if kind == "strain" else _pressures_in_turn(_last_snapshots_first(group))
        for (_, kind, _), group in strata.items()
    ]
    drawn = [
        candidate for turn in zip_longest(*ordered) for candidate in turn if candidate is not None
    ][: max(count, len(strata))]
    chosen = {id(candidate) for candidate in drawn}
    return [candidate for candidate in candidates if id(candidate) in chosen]


def _deform(
    starts: Sequence[Start], settings: HoldOutSettings, part: Pool, amplitude: float
) -> list[Candidate]:
    return deform(
        starts,
        [1 + amplitude * (ratio - 1) for ratio in settings.volume_strains],
        [amplitude * strain for strain in settings.shears],
        part,
        planes=settings.shear_planes,
    )


def _last_snapshots_first(group: Sequence[Candidate]) -> list[Candidate]:
    """The last snapshot of every trajectory, then the one before it, and so on."""
    runs: dict[int | None, list[Candidate]] = {}
    for candidate in group:
        runs.setdefault(candidate.walker, []).append(candidate)
    if None in runs:
        return list(group)
    return [
        candidate
        for turn in zip_longest(*(reversed(run) for run in runs.values()))
        for candidate in turn
        if candidate is not None
    ]


def _pressures_in_turn(group: Sequence[Candidate]) -> list[Candidate]:
    at_pressure: dict[float, list[Candidate]] = {}
    for candidate in group:
        at_pressure.setdefault(candidate.pressure_GPa, []).append(candidate)
    return [
        candidate
        for turn in zip_longest(*at_pressure.values())
        for candidate in turn
        if candidate is not None
    ]
