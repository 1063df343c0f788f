"""Before the first round: the pool of anchors, and the structures of the validation set."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove.campaign.journal.outcomes import Anchored, HeldOut
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.relax import read_starts
from entrove.errors import CampaignError
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.sampling.config import HoldOutSettings
from entrove.sampling.pools.anchors import generate_anchors
from entrove.sampling.pools.hold_out import count_independent, generate_hold_out
from entrove.sampling.reference import elements_lacking, with_all_elements
from entrove.validation.intervals import expected_half_width, structures_for

ANCHOR_STREAM, HOLD_OUT_STREAM = 1_000_001, 1_000_002
"""Streams of random numbers besides those of the rounds; no two streams share a seed."""


def make_anchors(run: CampaignRun, round_index: int) -> Anchored:
    """Make the relaxed, strained and sheared cells, and the short unbiased MD."""
    config = run.config
    anchors = generate_anchors(
        read_starts(run.files),
        config.regime.temperatures_K,
        run.models.exploring(round_index).model,
        config.sampling,
        np.random.default_rng([config.random_seed, ANCHOR_STREAM]),
        on_step=run.listener.advanced,
    )
    write_candidates(run.files.round(round_index).anchors, anchors)
    thermal, cells = _thermal_and_cells(anchors)
    summary = _count_kinds(anchors)
    if thermal and (lacking := elements_lacking(thermal, cells)):
        summary += (
            f"; warning: no snapshot of the unbiased MD has {' or '.join(lacking)}: its features "
            "are calibrated on relaxed and strained cells: lower regime.temperatures_K, or see "
            "sampling.guards"
        )
    return Anchored(summary=summary)


def make_hold_out(run: CampaignRun, round_index: int) -> HeldOut:
    """Make validation and test set: other strains and shears, other trajectories.

    Raises `CampaignError` when there would be none.
    """
    config, files = run.config, run.files.round(round_index)
    # What is trained on is never validated on.
    anchors = [
        *(candidate.atoms for candidate in read_candidates(files.anchors)),
        *run.files.training_labels(),
    ]
    hold_out = generate_hold_out(
        read_starts(run.files),
        config.regime.temperatures_K,
        anchors,
        run.models.exploring(round_index).model,
        config.sampling,
        np.random.default_rng([config.random_seed, HOLD_OUT_STREAM]),
        structures=hold_out_size(config.sampling.hold_out),
        test=config.sampling.hold_out.test,
        on_step=run.listener.advanced,
    )
    if not hold_out:
        raise CampaignError(
            "the validation set is empty; set volume_strains, shears or md_snapshots in "
            "sampling.hold_out"
        )
    write_candidates(files.hold_out, hold_out)
    parts = {
        part: [candidate for candidate in hold_out if candidate.pool == part]
        for part in ("validation", "test")
    }
    return HeldOut(
        summary="; ".join(
            f"{part}: {_count_kinds(found)} (energy errors to about "
            f"{100 * expected_half_width(count_independent(found)):.0f} %)"
            for part, found in parts.items()
            if found
        )
    )


def hold_out_size(settings: HoldOutSettings) -> int | None:
    """Number of structures of the validation set and of the test set; None for all."""
    return None if settings.interval is None else structures_for(settings.interval)


def reference_run(anchors: Sequence[Candidate]) -> list[Atoms]:
    """Return the unbiased structures that calibrate the features.

    These are the MD snapshots: relaxed and strained cells show no thermal scale. Other anchors are
    among them where no snapshot has one of their elements, as where the guards have stopped all MD
    of a phase; without MD they are all anchors.
    """
    return with_all_elements(*_thermal_and_cells(anchors))


def _thermal_and_cells(anchors: Sequence[Candidate]) -> tuple[list[Atoms], list[Atoms]]:
    thermal = [anchor.atoms for anchor in anchors if anchor.kind == "md"]
    return thermal, [anchor.atoms for anchor in anchors if anchor.kind != "md"]


def _count_kinds(candidates: Sequence[Candidate]) -> str:
    counts = Counter(candidate.kind for candidate in candidates)
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
