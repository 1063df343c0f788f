"""Make the pool of ordered cells: perturbed seeds and random crystals, relaxed towards order."""

import logging
from collections import Counter

import numpy as np

from entrove.campaign.journal.outcomes import Ordered
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.relax import read_starts
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve
from entrove.sampling.candidates import write_candidates
from entrove.sampling.pools.ordered import generate_ordered

logger = logging.getLogger(__name__)

ORDERED_STREAM = 2
"""Stream of random numbers of this pool, besides that of the walkers."""


def wants_ordered(run: CampaignRun) -> bool:
    """Whether the configuration asks for this pool."""
    return "ordered" in run.config.pools


def order(run: CampaignRun, round_index: int) -> Ordered:
    """Relax perturbed seeds and random crystals with the model that explores in this round."""
    config, starts = run.config, read_starts(run.files, round_index)
    model = run.models.exploring(round_index).model
    fingerprint = resolve(config.fingerprint, [start.atoms for start in starts])
    cells = generate_ordered(
        starts,
        model,
        GaussianOverlap(fingerprint, model.device),
        config.sampling,
        np.random.default_rng([config.random_seed, round_index, ORDERED_STREAM]),
    )
    kept = [cell for cell in cells if cell.kept]
    write_candidates(run.files.round(round_index).ordered, [cell.candidate for cell in kept])
    for cell in cells:
        if not cell.kept:
            logger.info(
                "ordered cell of %s dropped: %s", cell.candidate.phase, cell.dropped_because
            )
    groups = Counter(cell.space_group for cell in kept)
    found = ", ".join(f"{count} x {group}" for group, count in groups.most_common())
    summary = f"{len(kept)} of {len(cells)} cells kept" + (f": {found}" if found else "")
    return Ordered(summary=summary)
