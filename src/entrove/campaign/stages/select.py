"""Select the structures of a round from walkers, ordered cells and anchors, given the dataset."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ase import Atoms

from entrove.campaign.journal.outcomes import HeldOut, Selected
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.explore import shared_dataset
from entrove.campaign.stages.order import wants_ordered
from entrove.campaign.stages.predicted_error import predict_error
from entrove.entropy.dataset import EntropyDataset
from entrove.features import FeatureMap
from entrove.labelling.cost import CostModel
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.models.committee import force_spreads
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates
from entrove.selection.by_labels import Energies
from entrove.selection.config import SelectionConfig
from entrove.selection.from_structures import select as pick
from entrove.selection.result import QuotaUse, Selection
from entrove.structures import content_hash, energy_of
from entrove.validation.splits import without_hold_out

SELECTION_STREAM = 3
"""Stream of random numbers of a random selection, besides that of the walkers."""

TARGET_KINDS = ("md", "strain", "shear")
"""Anchors that stand for the regime where the potential is used."""


@dataclass(frozen=True)
class RowSources:
    """What rows of labels are made of: features, and energies by which their noise grows."""

    features: FeatureMap
    energies_eV: Energies


def select(run: CampaignRun, round_index: int) -> Selected:
    """Pick the structures that a round labels, at most as many as the budget of labels allows."""
    config, files = run.config, run.files.round(round_index)
    dataset = shared_dataset(run.campaign).selecting
    offered = _offered(run, round_index)
    pool = _without_held_out(run, offered)
    wanted = config.selecting.count
    if config.stopping.labels is not None:
        labelled = len(run.files.computed_labels())
        wanted = min(wanted, max(0, config.stopping.labels - labelled))
    if not pool or not wanted:
        write_candidates(files.selected, [])
        return Selected(summary="nothing to pick", picked=0, gain_nats=0.0)
    count = min(wanted, len(pool))
    given = run.files.training_labels(before=round_index)
    selection = chosen = choose(run, round_index, pool, count, given)
    if config.selecting.is_control_arm and len(chosen):
        pool = [pool[index] for index in chosen.indices]
        selection = _in_order_of_gain(run, pool, dataset)
        gains = selection.gains.tolist()
    else:
        gains = (
            _gains_in_order([pool[index] for index in selection.indices], dataset)
            if config.entropy.kind == "labels" or not config.selecting.by_gain
            else selection.gains.tolist()
        )
    write_candidates(files.selected, [pool[index] for index in selection.indices])
    gain = float(sum(gains))
    uses = selection.quotas or _uses([pool[index].pool for index in selection.indices])
    picked = {use.pool or "any": use.picked for use in uses}
    improvement = selection.predicted_improvement
    predicted = (
        ""
        if improvement is None
        else f"; predicted to lower the error of the regime by {100 * improvement:.0f} %"
    )
    force_rmse = predict_error(run, round_index, offered)
    if force_rmse is not None:
        predicted += (
            f"; the committee predicts a force error (RMSE) of {force_rmse:.0f} meV/A before them"
        )
    counts = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in picked.items() if count
    )
    biased = any(candidate.entropy not in (None, "none") for candidate in pool)
    doubt = (
        "; picked at random, but from biased walkers: no random-MD control arm, which "
        "control: random_md is"
        if config.selecting.method == "random" and biased
        else ""
    )
    return Selected(
        summary=f"{len(selection)} of {len(offered)} candidates, "
        f"together {gain:.1f} nats ({counts})" + predicted + doubt,
        picked=len(selection),
        predicted_improvement=improvement,
        predicted_force_rmse_meV_per_A=force_rmse,
        gain_nats=gain,
        gains_nats=tuple(float(value) for value in gains),
        rejected=chosen.rejections_by_filter(),
        picked_by_pool=picked,
        reserved_by_pool={use.pool or "any": use.reserved for use in uses},
        reserved_by_phase={use.pool: use.reserved for use in selection.phases if use.pool},
    )


def _uses(pools: Sequence[str]) -> tuple[QuotaUse, ...]:
    """How many picks came from each pool, where no place was reserved."""
    return tuple(QuotaUse(name, 0, number) for name, number in sorted(Counter(pools).items()))


def choose(
    run: CampaignRun,
    round_index: int,
    pool: Sequence[Candidate],
    count: int,
    given: Sequence[Atoms],
    *,
    sources: RowSources | None = None,
    picked: int = 0,
) -> Selection:
    """Choose candidates to label, as the configuration says, in the order of the method.

    Args:
        run: The campaign; its shared dataset of features holds its training labels.
        round_index: The round, which decides whose features rows of labels have.
        pool: The candidates.
        count: How many to choose.
        given: What is labelled already.
        sources: What rows of labels are made of, `row_sources` by default.
        picked: How many this round has chosen before, where it chooses in several steps: random
            picks of each step are independent.
    """
    config = run.config
    if not config.selecting.by_gain:
        return _ranked(run, round_index, pool, count, given, sources, picked)
    if config.entropy.kind == "labels":
        return _by_labels(run, round_index, pool, count, given, sources)
    dataset = shared_dataset(run.campaign, given=given).selecting
    return _by_gain(run, pool, count, dataset, config.selecting)


def read_pool(run: CampaignRun, round_index: int) -> list[Candidate]:
    """Read the pools of a round, without what earlier rounds picked and what is held out.

    Candidates that nearly equal a held-out structure are left out, too. An exploration for a study
    alone holds nothing out.
    """
    return _without_held_out(run, _offered(run, round_index))


def _offered(run: CampaignRun, round_index: int) -> list[Candidate]:
    """Read the pools of a round, without equals of held-out structures and of earlier picks."""
    files, preparation = run.files.round(round_index), run.files.round(0)
    pool = [
        *read_candidates(files.candidates),
        *(read_candidates(files.ordered) if wants_ordered(run) else []),
        *read_candidates(preparation.anchors),
    ]
    known = {content_hash(held_out.atoms) for held_out in _read_held_out(run)}
    for earlier in range(1, round_index):
        asked = read_candidates(run.files.round(earlier).selected)
        known |= {content_hash(candidate.atoms) for candidate in asked}
    return [candidate for candidate in pool if content_hash(candidate.atoms) not in known]


def _read_held_out(run: CampaignRun) -> list[Candidate]:
    made = run.ledger.find(0, HeldOut) is not None
    return read_candidates(run.files.round(0).hold_out) if made else []


def _without_held_out(run: CampaignRun, pool: list[Candidate]) -> list[Candidate]:
    held_out = [candidate.atoms for candidate in _read_held_out(run)]
    kept = without_hold_out([candidate.atoms for candidate in pool], held_out)
    return [pool[index] for index in kept]


def _by_gain(
    run: CampaignRun,
    pool: Sequence[Candidate],
    count: int,
    dataset: EntropyDataset,
    settings: SelectionConfig,
) -> Selection:
    """Pick what adds most to the dataset of features."""
    return pick(
        [candidate.to_atoms() for candidate in pool],
        count,
        given=dataset,
        config=settings,
        cost_s=_cost(run, pool, settings),
    )


def _by_labels(
    run: CampaignRun,
    round_index: int,
    pool: Sequence[Candidate],
    count: int,
    given: Sequence[Atoms],
    sources: RowSources | None,
) -> Selection:
    """Pick the candidates whose labels teach most.

    All rows, those of old labels too, are computed with the features of the model that learns
    from them, so that features of different models never meet. The target is the regime: the
    unbiased thermal cells and the strained ones among the anchors.
    """
    settings, sources = run.config.selecting, sources or row_sources(run, round_index)
    return pick(
        [candidate.to_atoms() for candidate in pool],
        count,
        given=given,
        entropy="labels",
        features=sources.features,
        config=settings,
        cost_s=_cost(run, pool, settings),
        labels=run.config.entropy.labels,
        target=_target(run) if settings.objective == "target" else None,
        energies_eV=sources.energies_eV,
    )


def _in_order_of_gain(
    run: CampaignRun, picks: Sequence[Candidate], dataset: EntropyDataset
) -> Selection:
    """Put what a control arm picked in order by gain, and leave nothing out.

    It labels near-duplicates, too: all arms get the same number of labels.
    """
    settings = run.config.selecting.model_copy(
        update={
            "method": "gain",
            "duplicate_tolerance": 0.0,
            "budget_s": None,
            "phase_share": 0.0,
        }
    )
    return _by_gain(run, picks, len(picks), dataset, settings)


def _target(run: CampaignRun) -> list[Atoms]:
    """The anchors that stand for the regime."""
    anchors = read_candidates(run.files.round(0).anchors)
    return [anchor.atoms for anchor in anchors if anchor.kind in TARGET_KINDS]


def _gains_in_order(picks: list[Candidate], dataset: EntropyDataset) -> list[float]:
    """Information in nats that each pick adds to the dataset and the picks before it."""
    grown, gains = dataset.copy(), []
    for candidate in picks:
        gains.append(float(grown.gain([candidate.atoms])[0]))
        grown.add([candidate.atoms])
    return gains


def _ranked(
    run: CampaignRun,
    round_index: int,
    pool: Sequence[Candidate],
    count: int,
    given: Sequence[Atoms],
    sources: RowSources | None,
    picked: int,
) -> Selection:
    """Pick by a method that knows no gain: representative, or a control arm."""
    config, method = run.config, run.config.selecting.method
    features = (
        (sources or row_sources(run, round_index)).features
        if config.entropy.kind == "labels"
        else shared_dataset(run.campaign).features
    )
    return pick(
        [candidate.to_atoms() for candidate in pool],
        count,
        given=given,
        features=features,
        config=config.selecting,
        cost_s=_cost(run, pool, config.selecting),
        target=_target(run) if method == "representative" else None,
        spreads=(
            partial(force_spreads, run.models.exploring(round_index))
            if method == "committee_spread"
            else None
        ),
        seed=[config.random_seed, round_index, SELECTION_STREAM, *([picked] if picked else [])],
    )


def row_sources(run: CampaignRun, round_index: int) -> RowSources:
    """Take both from the model that learns; features may be fingerprints instead."""
    model = run.models.learning(round_index)
    return RowSources(
        _label_features(run, model),
        lambda structures: [energy_of(atoms) for atoms in predict(model, structures)],
    )


def _label_features(run: CampaignRun, model: LoadedModel) -> FeatureMap:
    selection = run.config.selecting
    return model.feature_map(
        selection.features,
        lambda: shared_dataset(run.campaign).features,
        of_atoms=selection.method == "representative",
    )


def _cost(
    run: CampaignRun, pool: Sequence[Candidate], settings: SelectionConfig
) -> Callable[[Atoms], float] | None:
    """Predicted engine seconds of a label; None where nothing is decided by them."""
    if not settings.needs_seconds([len(candidate.atoms) for candidate in pool]):
        return None
    engine = run.config.labelling.engine
    with LabelCache(run.campaign.label_cache) as cache:
        model = CostModel(engine, cache.costs(LevelOfTheory.of(engine)))
    return lambda atoms: model.predict(atoms).seconds
