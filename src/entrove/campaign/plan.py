"""Estimate what a campaign would cost, before any label is computed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Labelled, Selected
from entrove.campaign.stages.label import released_requests
from entrove.campaign.stages.label_volumes import unlabelled_volumes
from entrove.campaign.stages.moments import with_seed_moments
from entrove.execution.settings import AnyExecution
from entrove.labelling.cost import CostEstimate, CostModel
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.candidates import Candidate, read_candidates
from entrove.sampling.config import HoldOutSettings
from entrove.sampling.pools.hold_out import count_independent, independent_of, sizes_of
from entrove.sampling.walkers.grid import Start
from entrove.selection.config import SelectionConfig
from entrove.validation.intervals import expected_half_width, structures_for

ENGINES_OF_ANY_COST = ("ase", "mlip")
"""Engines whose settings do not tell how long a label takes, as those of a DFT code do."""


@dataclass(frozen=True)
class PlanRow:
    """Labels of one purpose, and their estimated cost.

    Attributes:
        what: "validation", "test", "k-points" (labels that only check them), "training", or
            "together" for their sum.
        labels: Number of labels that are still to be computed.
        known: Number of labels that exist already.
        core_hours, wall_hours: Time of the engine in core hours, and wall time with all workers of
            the executor, in h; None where nothing is known of it.
        disk_MB: Size of the engine's files in MB.
    """

    what: str
    labels: int
    core_hours: float | None
    wall_hours: float | None
    disk_MB: float
    known: int = 0


@dataclass(frozen=True)
class Plan:
    """The estimated cost of all labels of a campaign that is run to its last round.

    Attributes:
        rows: Validation, test, k-points, training, and their sum.
        half_width: Relative half width of the 95 % interval of energy errors that the validation
            set is expected to give; the test set gives the same.
        shortest_s, longest_s: About two of three labels take between these times, in s.
        observations: Number of labels of this level of theory on which the estimate is based.
        is_timed: Whether anything is known of the time of a label. An ASE calculator can be a
            potential or a DFT code, and another model of any size: they have no time before the
            first labels.
        trainings_per_round: Most trainings of a round: of the members of a committee, and of a
            cross-validation before them.
        labels_per_round: Labels of a round where `selection.budget_s` allows fewer than
            `selection.count`, by the mean predicted time of the seeds; None elsewhere.
    """

    rows: tuple[PlanRow, ...]
    shortest_s: float
    longest_s: float
    observations: int
    is_timed: bool = True
    half_width: float | None = None
    trainings_per_round: int = 1
    labels_per_round: int | None = None


def make_plan(campaign: CheckedCampaign) -> Plan:
    """Estimate the cost of the labels of a campaign from the sizes and k-points of its seeds.

    Args:
        campaign: What `check_campaign` returns.

    Labels of this level of theory in the cache improve the estimate, and those of structures that
    the campaign has asked for already are not counted again, failed ones included. The times of
    exploration and training are not included. Nothing is written.
    """
    config = campaign.config
    engine, path = config.labelling.engine, campaign.label_cache
    costs = []
    if path.exists():
        with LabelCache(path, read_only=True) as cache:
            costs = cache.costs(LevelOfTheory.of(engine))
    model = CostModel(engine, costs)
    seeds = [seed.atoms for seed in campaign.seeds]
    # `factor` is one standard deviation of ln(time), hence two of three labels.
    estimates = [model.predict(atoms) for atoms in seeds]
    affordable = _affordable(config.selection, estimates)
    per_round = config.selection.count if affordable is None else affordable
    timed = model.observations > 0 or engine.kind not in ENGINES_OF_ANY_COST
    held_out, known_of = _hold_out_sizes(campaign), _known_held_out(campaign)
    rows = tuple(
        _row(what, _spread(seeds, labels), model, config.labelling.executor, known)
        for what, labels, known in (
            *(
                (part, max(0, size - known_of[part]), known_of[part])
                for part, size in held_out.items()
            ),
            ("training", *_training_labels(campaign, per_round)),
        )
    )
    if sum(held_out.values()) > known_of.total():
        rows = (*rows[:-1], *_kpoint_row(campaign, costs), rows[-1])
    if volumes := unlabelled_volumes(campaign):
        rows = (*rows, _row("equation of state", volumes, model, config.labelling.executor, 0))
    rows = (*rows, _sum(rows))
    if not timed:
        rows = tuple(replace(row, core_hours=None, wall_hours=None) for row in rows)
    return Plan(
        rows,
        min(estimate.seconds / estimate.factor for estimate in estimates),
        max(estimate.seconds * estimate.factor for estimate in estimates),
        model.observations,
        timed,
        expected_half_width(independent) if (independent := _independent(campaign)) else None,
        config.training.trials + config.training.committee_size,
        affordable,
    )


def _affordable(selection: SelectionConfig, estimates: Sequence[CostEstimate]) -> int | None:
    """Labels of mean time that the budget of a round allows; None where `count` is no more."""
    if selection.budget_s is None:
        return None
    mean_s = sum(estimate.seconds for estimate in estimates) / len(estimates)
    allowed = int(selection.budget_s / mean_s)
    return allowed if allowed < selection.count else None


def _kpoint_row(
    campaign: CheckedCampaign, costs: Sequence[tuple[int, int, int, float]]
) -> list[PlanRow]:
    """The labels that only check k-points, one of each phase; none where they are not checked."""
    config = campaign.config.labelling
    hold_out = campaign.config.sampling.hold_out
    has_md = hold_out.md_steps and hold_out.md_snapshots
    if config.kpoint_check.on_difference == "off" or not has_md:
        return []
    factor = config.kpoint_check.spacing_factor
    denser = [
        (engine, seed.atoms)
        for seed in campaign.seeds
        if (engine := config.engine.with_denser_kpoints(seed.atoms, factor)) is not None
    ]
    if not denser:
        return []
    model = CostModel(denser[0][0], costs)
    return [_row("k-points", [atoms for _, atoms in denser], model, config.executor, 0)]


def _known_held_out(campaign: CheckedCampaign) -> Counter[str]:
    """Number of structures of validation and test set, where made, whose labels are known."""
    made = campaign.workspace.round(0).hold_out
    if not made.exists():
        return Counter()
    return Counter(candidate.purpose for candidate in _known(campaign, read_candidates(made)))


def _training_labels(campaign: CheckedCampaign, per_round: int) -> tuple[int, int]:
    """Number of training labels that are still to be computed, and of good ones that exist.

    A round that is labelled asks for no more, whatever has failed in it. Of what a later round has
    picked, and of what was released from quarantine, the engine computes what it was not given
    yet; other rounds ask for `per_round` labels.
    """
    stopping, files = campaign.config.stopping, campaign.workspace
    good, asked, unpicked = len(files.computed_labels()), list[Candidate](), stopping.rounds
    if files.ledger.is_file():
        ledger = Ledger(files.ledger, read_only=True)
        labelled = {index: found for index, found in ledger.each(Labelled).items() if index > 0}
        left = set(range(1, stopping.rounds + 1)) - labelled.keys()
        picked = {index for index, found in ledger.each(Selected).items() if found.picked} & left
        asked += [c for index in picked for c in read_candidates(files.round(index).selected)]
        asked += [request.candidate for request in released_requests(campaign, labelled)]
        unpicked = len(left - picked)
    remaining = per_round * unpicked + len(asked) - len(_known(campaign, asked))
    if stopping.labels is not None:
        remaining = min(remaining, max(0, stopping.labels - good))
    return remaining, good


def _known(campaign: CheckedCampaign, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that the engine was given already, failures included."""
    if not candidates or not campaign.label_cache.exists():
        return []
    level = LevelOfTheory.of(campaign.config.labelling.engine)
    structures = with_seed_moments(campaign, candidates)
    with LabelCache(campaign.label_cache, read_only=True) as cache:
        return [
            candidate
            for candidate, atoms in zip(candidates, structures, strict=True)
            if cache.is_labelled(atoms, level)
        ]


def _sum(rows: Sequence[PlanRow]) -> PlanRow:
    return PlanRow(
        "together",
        sum(row.labels for row in rows),
        sum(row.core_hours or 0.0 for row in rows),
        sum(row.wall_hours or 0.0 for row in rows),
        sum(row.disk_MB for row in rows),
        sum(row.known for row in rows),
    )


def _hold_out_sizes(campaign: CheckedCampaign) -> dict[str, int]:
    """Number of structures of validation and test set.

    Where they are made, as they are; otherwise with those that will be dropped as copies.
    """
    made = campaign.workspace.round(0).hold_out
    if made.exists():
        counts = Counter(candidate.purpose for candidate in read_candidates(made))
        return {part: counts[part] for part in ("validation", "test") if counts[part]}
    return sizes_of(*_hold_out_plan(campaign))


def _independent(campaign: CheckedCampaign) -> int:
    """Number of cells and MD trajectories in the validation set, made or planned."""
    made = campaign.workspace.round(0).hold_out
    if made.exists():
        return count_independent([c for c in read_candidates(made) if c.purpose == "validation"])
    return independent_of(*_hold_out_plan(campaign))


def _hold_out_plan(
    campaign: CheckedCampaign,
) -> tuple[HoldOutSettings, list[Start], int, int | None]:
    """The arguments of `sizes_of`."""
    config = campaign.config
    starts = [
        Start(seed.phase, pressure, seed.atoms)
        for seed in campaign.seeds
        for pressure in config.regime.pressures_GPa
    ]
    settings = config.sampling.hold_out
    structures = None if settings.interval is None else structures_for(settings.interval)
    return settings, starts, len(config.regime.temperatures_K), structures


def _spread(seeds: Sequence[Atoms], count: int) -> list[Atoms]:
    """Return `count` structures, repeating the seeds in turn."""
    return [seeds[index % len(seeds)] for index in range(count)]


def _row(
    what: str,
    structures: Sequence[Atoms],
    model: CostModel,
    executor: AnyExecution,
    known: int,
) -> PlanRow:
    budget = model.budget(
        structures, workers=executor.capacity, cores_per_worker=executor.cores_per_worker
    )
    return PlanRow(
        what, budget.labels, budget.core_hours, budget.wall_hours, budget.disk_MB, known
    )
