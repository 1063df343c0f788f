"""Relax each phase at each pressure: where walkers start, and what anchors are made from."""

from entrove.campaign.journal.outcomes import Relaxed
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.workspace import Workspace
from entrove.errors import CampaignError
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.sampling.relax import Relaxation
from entrove.sampling.relax_layers import relax_crystals_and_layers
from entrove.sampling.walkers.grid import Start
from entrove.structures import closest_atoms


def relax(run: CampaignRun, round_index: int) -> Relaxed:
    """Relax each phase at each pressure; the summary names those left out.

    Those did not converge, or their atoms came closer than the guards of the walkers allow.

    Raises `CampaignError` when none converges.
    """
    config = run.config
    pairs = [
        (seed, pressure) for seed in run.campaign.seeds for pressure in config.regime.pressures_GPa
    ]
    model = run.models.exploring(round_index)
    relaxations = relax_crystals_and_layers(
        model.model,
        [seed.atoms for seed, _ in pairs],
        [pressure for _, pressure in pairs],
        config.sampling.relaxation,
    )
    relaxed, failures = [], []
    for (seed, pressure), relaxation in zip(pairs, relaxations, strict=True):
        problem = _problem(relaxation, config.sampling.guards.shortest_distance)
        if problem:
            failures.append(f"{seed.phase} at {pressure:g} GPa ({problem})")
        else:
            relaxed.append(Candidate(relaxation.atoms, "anchors", "relaxed", seed.phase, pressure))
    if not relaxed:
        raise CampaignError(
            f"no phase could be relaxed with {model.name}: {'; '.join(failures)}; "
            "check the seed structures, or raise sampling.relaxation.largest_steps"
        )
    write_candidates(run.files.round(round_index).relaxed, relaxed)
    summary = _count(relaxed)
    if failures:
        summary += f"; left out, not relaxed: {'; '.join(failures)}"
    return Relaxed(summary=summary)


def relax_again(run: CampaignRun, round_index: int) -> Relaxed:
    """Relax the cells of the preparation with the model that explores in this round.

    In this model a cell that was relaxed with another one is not at its pressure. A cell that does
    not converge stays as it was in the round before, and the summary names it.
    """
    first, before = read_starts(run.files, 0), read_starts(run.files, round_index - 1)
    relaxations = relax_crystals_and_layers(
        run.models.exploring(round_index).model,
        [start.atoms for start in first],
        [start.pressure_GPa for start in first],
        run.config.sampling.relaxation,
    )
    cells, failures, largest = [], [], 0.0
    shortest = run.config.sampling.guards.shortest_distance
    for start, relaxation in zip(before, relaxations, strict=True):
        problem = _problem(relaxation, shortest)
        cell = start.atoms if problem else relaxation.atoms
        if problem:
            failures.append(f"{start.phase} at {start.pressure_GPa:g} GPa ({problem})")
        largest = max(largest, abs(cell.get_volume() / start.atoms.get_volume() - 1))
        cells.append(Candidate(cell, "anchors", "relaxed", start.phase, start.pressure_GPa))
    write_candidates(run.files.round(round_index).relaxed, cells)
    summary = f"{_count(cells)}, volumes changed by up to {100 * largest:.2g} %"
    if failures:
        summary += f"; warning: kept as they were, not relaxed: {'; '.join(failures)}"
    return Relaxed(summary=summary)


def _count(cells: list[Candidate]) -> str:
    return "1 cell" if len(cells) == 1 else f"{len(cells)} cells"


def _problem(relaxation: Relaxation, shortest_ratio: float) -> str:
    """Say why a relaxed cell cannot be used; empty when it can."""
    if not relaxation.converged:
        return str(relaxation.outcome)
    closest = closest_atoms(relaxation.atoms)
    if closest is not None and closest.ratio < shortest_ratio:
        return f"converged with {closest.describe()}"
    return ""


def read_starts(files: Workspace, round_index: int = 0) -> list[Start]:
    """Read the phases as they were last relaxed, in this round or before it."""
    relaxed_in = max(
        number
        for number in range(round_index + 1)
        if number == 0 or files.round(number).relaxed.exists()
    )
    candidates = read_candidates(files.round(relaxed_in).relaxed)
    return [
        Start(candidate.phase, candidate.pressure_GPa, candidate.atoms) for candidate in candidates
    ]
