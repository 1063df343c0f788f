"""Before the first round: verify the model, relax the phases, make anchors and the validation set."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.progress import ProgressListener
from entrove.campaign.journal.runner import StageOutcome
from entrove.campaign.stages.label import LabelledSet
from entrove.campaign.stages.models import CampaignModels
from entrove.errors import CampaignError
from entrove.models.verify import VerificationReport
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.sampling.pools.anchors import generate_anchors
from entrove.sampling.pools.hold_out import generate_hold_out
from entrove.sampling.relax import relax_at_pressure
from entrove.sampling.walkers.grid import Start
from entrove.structures import write_structures

ANCHOR_STREAM, HOLD_OUT_STREAM = 1_000_001, 1_000_002
"""Streams of random numbers beside those of the rounds; a stream never shares a seed with another."""


def verify(campaign: CheckedCampaign, models: CampaignModels) -> StageOutcome:
    """Compare batched with single evaluation on the seeds, for every untuned model; stop or fall back as configured."""
    seeds = [seed.atoms for seed in campaign.seeds]
    report, of_explorer = models.verify_untuned(seeds, campaign.config.model.verify_batching)
    payload = {"batched": report.passed}
    if of_explorer is None:
        return StageOutcome(_in_words(report), payload)
    summary = f"{_in_words(report)}; exploring: {_in_words(of_explorer)}"
    return StageOutcome(summary, payload | {"explorer_batched": of_explorer.passed})


def verify_tuned(campaign: CheckedCampaign, models: CampaignModels, round: int) -> StageOutcome:
    """The same for the tuned model that explores in this round."""
    seeds = [seed.atoms for seed in campaign.seeds]
    tuned_in = models.best_round(before=round)
    report = models.verify_tuned(tuned_in, seeds, campaign.config.model.verify_batching)
    return StageOutcome(_in_words(report), {"batched": report.passed, "tuned_in": tuned_in})


def _in_words(report: VerificationReport) -> str:
    fallen_back = "" if report.passed else "; on with its ASE calculator, one structure at a time"
    return report.summary() + fallen_back


def relax(campaign: CheckedCampaign, models: CampaignModels) -> StageOutcome:
    """Relax each phase at each pressure; what does not converge is left out and named.

    Raises `CampaignError` when nothing converges.
    """
    config = campaign.config
    pairs = [
        (seed, pressure) for seed in campaign.seeds for pressure in config.regime.pressures_GPa
    ]
    model = models.exploring(0)
    relaxations = relax_at_pressure(
        model.model,
        [seed.atoms for seed, _ in pairs],
        [pressure for _, pressure in pairs],
        config.sampling.relaxation,
    )
    relaxed, failures = [], []
    for (seed, pressure), relaxation in zip(pairs, relaxations, strict=True):
        if relaxation.converged:
            relaxed.append(
                Candidate(relaxation.atoms, "anchors", "relaxed", seed.phase, pressure).to_atoms()
            )
        else:
            failures.append(f"{seed.phase} at {pressure:g} GPa ({relaxation.outcome})")
    if not relaxed:
        raise CampaignError(
            f"no phase could be relaxed with {model.name}: {'; '.join(failures)}; "
            "check the seed structures, or raise sampling.relaxation.largest_steps"
        )
    write_structures(campaign.workspace.in_round(0, "relaxed.xyz"), relaxed)
    summary = f"{len(relaxed)} cells"
    if failures:
        summary += f"; left out, not relaxed: {'; '.join(failures)}"
    return StageOutcome(summary)


def relax_again(campaign: CheckedCampaign, models: CampaignModels, round: int) -> StageOutcome:
    """Relax the cells of the preparation with the model that explores in this round.

    In the cells of another model its pressure would be another one. What does not converge stays as it was
    in the round before, and is named.
    """
    first, before = read_starts(campaign, 0), read_starts(campaign, round - 1)
    relaxations = relax_at_pressure(
        models.exploring(round).model,
        [start.atoms for start in first],
        [start.pressure_GPa for start in first],
        campaign.config.sampling.relaxation,
    )
    cells, failures, largest = [], [], 0.0
    for start, relaxation in zip(before, relaxations, strict=True):
        cell = relaxation.atoms if relaxation.converged else start.atoms
        if not relaxation.converged:
            failures.append(f"{start.phase} at {start.pressure_GPa:g} GPa ({relaxation.outcome})")
        largest = max(largest, abs(cell.get_volume() / start.atoms.get_volume() - 1))
        cells.append(Candidate(cell, "anchors", "relaxed", start.phase, start.pressure_GPa))
    write_candidates(campaign.workspace.in_round(round, "relaxed.xyz"), cells)
    summary = f"{len(cells)} cells, volumes changed by up to {100 * largest:.2g} %"
    if failures:
        summary += f"; warning: kept as they were, not relaxed: {'; '.join(failures)}"
    return StageOutcome(summary, {"kept": failures})


def read_starts(campaign: CheckedCampaign, round: int = 0) -> list[Start]:
    """The phases as last relaxed, in this round or before it."""
    files = campaign.workspace
    relaxed_in = max(
        number
        for number in range(round + 1)
        if number == 0 or files.in_round(number, "relaxed.xyz").exists()
    )
    candidates = read_candidates(files.in_round(relaxed_in, "relaxed.xyz"))
    return [Start(one.phase, one.pressure_GPa, one.atoms) for one in candidates]


def reference_run(anchors: Sequence[Candidate]) -> list[Atoms]:
    """The unbiased structures that the features are whitened on: MD snapshots, or all anchors without MD."""
    thermal = [one.atoms for one in anchors if one.kind == "md"]
    return thermal or [one.atoms for one in anchors]


def require_labels(labelled: LabelledSet, what: str) -> None:
    """Raise `CampaignError` when nothing could be labelled, with the first causes."""
    if not labelled.structures:
        causes = "; ".join(sorted({row.cause for row in labelled.rows})[:3])
        raise CampaignError(
            f"none of the {len(labelled.rows)} {what} structures could be labelled ({causes}); "
            "mend the engine's settings, release them with 'entrove labels FOLDER --retry', then run again"
        )


def make_anchors(
    campaign: CheckedCampaign, models: CampaignModels, listener: ProgressListener
) -> StageOutcome:
    """Pool C: relaxed, strained and sheared cells, and short unbiased MD, which also calibrates the entropy."""
    config = campaign.config
    anchors = generate_anchors(
        read_starts(campaign),
        config.regime.temperatures_K,
        models.exploring(0).model,
        config.sampling,
        np.random.default_rng([config.random_seed, ANCHOR_STREAM]),
        on_step=listener.advanced,
    )
    write_candidates(campaign.workspace.in_round(0, "anchors.xyz"), anchors)
    return StageOutcome(_count_kinds(anchors))


def make_hold_out(
    campaign: CheckedCampaign, models: CampaignModels, listener: ProgressListener
) -> StageOutcome:
    """The validation set: other strains and shears, hot MD from other trajectories."""
    config, files = campaign.config, campaign.workspace
    anchors = [one.atoms for one in read_candidates(files.in_round(0, "anchors.xyz"))]
    hold_out = generate_hold_out(
        read_starts(campaign),
        config.regime.temperatures_K,
        anchors,
        models.exploring(0).model,
        config.sampling,
        np.random.default_rng([config.random_seed, HOLD_OUT_STREAM]),
        on_step=listener.advanced,
    )
    if not hold_out:
        raise CampaignError(
            "the validation set is empty; give sampling.hold_out volume_strains, shears or md_snapshots"
        )
    write_candidates(files.in_round(0, "hold_out.xyz"), hold_out)
    return StageOutcome(_count_kinds(hold_out))


def _count_kinds(candidates: Sequence[Candidate]) -> str:
    counts = Counter(candidate.kind for candidate in candidates)
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
