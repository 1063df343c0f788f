"""Select the structures of a round from walkers, ordered cells and anchors, given the dataset."""

from collections.abc import Callable

import numpy as np
from ase import Atoms

from entrove.campaign.journal.outcomes import Selected
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import shared_dataset
from entrove.campaign.stages.order import wants_ordered
from entrove.entropy.dataset import EntropyDataset
from entrove.labelling.cost import CostModel
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.selection.farthest_point import select_farthest
from entrove.selection.from_structures import select as pick
from entrove.structures import content_hash

SELECTION_STREAM = 3
"""Stream of random numbers of a random selection, besides that of the walkers."""


def select(run: CampaignRun, round_index: int) -> Selected:
    """Pick the structures that a round labels, at most as many as the budget of labels allows."""
    config, files = run.config, run.files.round(round_index)
    dataset = shared_dataset(run.campaign).selecting
    pool = _candidates(run, round_index)
    wanted = config.selection.count
    if config.stopping.labels is not None:
        labelled = len(run.files.training_labels())
        wanted = min(wanted, max(0, config.stopping.labels - labelled))
    if not pool or not wanted:
        write_candidates(files.selected, [])
        return Selected(summary="nothing to pick", picked=0, gain_nats=0.0)
    settings = config.selection
    if settings.method != "gain":
        pool = _control_arm(run, round_index, pool, min(wanted, len(pool)), dataset)
        # A control arm labels near-duplicates, too: all arms get the same number of labels.
        settings = settings.model_copy(update={"duplicate_tolerance": 0.0})
    selection = pick(
        [candidate.to_atoms() for candidate in pool],
        min(wanted, len(pool)),
        given=dataset,
        config=settings,
        cost_s=_cost(run) if settings.rank_by == "gain_per_second" else None,
    )
    write_candidates(files.selected, [pool[index] for index in selection.indices])
    gain = float(selection.gains.sum())
    picked = {use.pool or "any": use.picked for use in selection.quotas}
    counts = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in picked.items() if count
    )
    return Selected(
        summary=f"{len(selection)} of {len(pool)} candidates, together {gain:.1f} nats ({counts})",
        picked=len(selection),
        gain_nats=gain,
        gains_nats=tuple(float(value) for value in selection.gains),
        rejected=selection.rejections_by_filter(),
        picked_by_pool=picked,
        reserved_by_pool={use.pool or "any": use.reserved for use in selection.quotas},
    )


def _candidates(run: CampaignRun, round_index: int) -> list[Candidate]:
    """Read the pools of a round, without the hold-out and what earlier rounds have picked."""
    files, preparation = run.files.round(round_index), run.files.round(0)
    pool = [
        *read_candidates(files.candidates),
        *(read_candidates(files.ordered) if wants_ordered(run) else []),
        *read_candidates(preparation.anchors),
    ]
    known = {content_hash(held_out.atoms) for held_out in read_candidates(preparation.hold_out)}
    for earlier in range(1, round_index):
        asked = read_candidates(run.files.round(earlier).selected)
        known |= {content_hash(candidate.atoms) for candidate in asked}
    return [candidate for candidate in pool if content_hash(candidate.atoms) not in known]


def _control_arm(
    run: CampaignRun, round_index: int, pool: list[Candidate], count: int, dataset: EntropyDataset
) -> list[Candidate]:
    """Return what a control arm labels; order and gains, for the report, are computed later."""
    if run.config.selection.method == "random":
        rng = np.random.default_rng([run.config.random_seed, round_index, SELECTION_STREAM])
        chosen = rng.permutation(len(pool))[:count]
    else:
        chosen = select_farthest(
            [candidate.atoms for candidate in pool],
            count,
            run.files.training_labels(),
            features=dataset.features,
        ).indices
    return [pool[index] for index in chosen]


def _cost(run: CampaignRun) -> Callable[[Atoms], float]:
    engine = run.config.labelling.engine
    with LabelCache(run.campaign.label_cache) as cache:
        model = CostModel(engine, cache.costs(LevelOfTheory.of(engine)))
    return lambda atoms: model.predict(atoms).seconds
