"""Estimate what a campaign would cost, before any label is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.labelling.config import AnyExecution
from entrove.labelling.cost import CostModel
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.sampling.pools.strained import deform
from entrove.sampling.walkers.grid import Start


@dataclass(frozen=True)
class PlanRow:
    """Labels of one purpose, and their estimated cost.

    Attributes:
        what: "validation", "training", or "together" for their sum.
        labels: Number of labels.
        core_hours, wall_hours: Time of the engine in core hours, and wall time with all workers of
            the executor, in h.
        disk_MB: Size of the engine's files in MB.
    """

    what: str
    labels: int
    core_hours: float
    wall_hours: float
    disk_MB: float


@dataclass(frozen=True)
class Plan:
    """The estimated cost of all labels of a campaign that is run to its last round.

    Attributes:
        rows: Validation, training, and their sum.
        shortest_s, longest_s: About two of three labels take between these times, in s.
        observations: Number of labels of this level of theory on which the estimate is based.
    """

    rows: tuple[PlanRow, ...]
    shortest_s: float
    longest_s: float
    observations: int


def make_plan(campaign: CheckedCampaign) -> Plan:
    """Estimate the cost of the labels of a campaign from the sizes and k-points of its seeds.

    Args:
        campaign: What `check_campaign` returns.

    Labels of this level of theory in the cache improve the estimate; the times of exploration and
    training are not included. Nothing is written.
    """
    config = campaign.config
    engine, path = config.labelling.engine, campaign.label_cache
    costs = []
    if path.exists():
        with LabelCache(path) as cache:
            costs = cache.costs(LevelOfTheory.of(engine))
    model = CostModel(engine, costs)
    seeds = [seed.atoms for seed in campaign.seeds]
    training = config.selection.count * config.stopping.rounds
    if config.stopping.labels is not None:
        training = min(training, config.stopping.labels)
    rows = tuple(
        _row(what, _spread(seeds, count), model, config.labelling.executor)
        for what, count in (("validation", _hold_out_size(campaign)), ("training", training))
    )
    total = PlanRow(
        "together",
        sum(row.labels for row in rows),
        sum(row.core_hours for row in rows),
        sum(row.wall_hours for row in rows),
        sum(row.disk_MB for row in rows),
    )
    # `factor` is one standard deviation of ln(time), hence two of three labels.
    estimates = [model.predict(atoms) for atoms in seeds]
    return Plan(
        (*rows, total),
        min(estimate.seconds / estimate.factor for estimate in estimates),
        max(estimate.seconds * estimate.factor for estimate in estimates),
        model.observations,
    )


def _hold_out_size(campaign: CheckedCampaign) -> int:
    """Number of structures of the hold-out; those that will be dropped as copies count too."""
    settings, pressures = campaign.config.sampling.hold_out, campaign.config.regime.pressures_GPa
    starts = [
        Start(seed.phase, pressure, seed.atoms)
        for seed in campaign.seeds
        for pressure in pressures
    ]
    deformed = deform(
        starts,
        settings.volume_strains,
        settings.shears,
        "validation",
        planes=settings.shear_planes,
    )
    return len(deformed) + len(starts) * (settings.md_snapshots if settings.md_steps else 0)


def _spread(seeds: Sequence[Atoms], count: int) -> list[Atoms]:
    """Return `count` structures, repeating the seeds in turn."""
    return [seeds[index % len(seeds)] for index in range(count)]


def _row(
    what: str,
    structures: Sequence[Atoms],
    model: CostModel,
    executor: AnyExecution,
) -> PlanRow:
    budget = model.budget(
        structures, workers=executor.capacity, cores_per_worker=executor.cores_per_worker
    )
    return PlanRow(what, budget.labels, budget.core_hours, budget.wall_hours, budget.disk_MB)
