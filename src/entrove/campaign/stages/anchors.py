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
from entrove.sampling.pools.anchors import generate_anchors
from entrove.sampling.pools.hold_out import generate_hold_out

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
    return Anchored(summary=_count_kinds(anchors))


def make_hold_out(run: CampaignRun, round_index: int) -> HeldOut:
    """Make the structures of the validation set: other strains and shears, other trajectories.

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
        on_step=run.listener.advanced,
    )
    if not hold_out:
        raise CampaignError(
            "the validation set is empty; set volume_strains, shears or md_snapshots in "
            "sampling.hold_out"
        )
    write_candidates(files.hold_out, hold_out)
    return HeldOut(summary=_count_kinds(hold_out))


def reference_run(anchors: Sequence[Candidate]) -> list[Atoms]:
    """Return the unbiased structures that calibrate the features.

    These are the MD snapshots: relaxed and strained cells show no thermal scale. Without MD they
    are all anchors.
    """
    thermal = [anchor.atoms for anchor in anchors if anchor.kind == "md"]
    return thermal or [anchor.atoms for anchor in anchors]


def _count_kinds(candidates: Sequence[Candidate]) -> str:
    counts = Counter(candidate.kind for candidate in candidates)
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
