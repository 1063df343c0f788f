"""What each finished stage took, in wall time and in core time."""

import math
from collections.abc import Iterable, Sequence

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import StageRecord
from entrove.campaign.journal.outcomes import Checked, Labelled, LabelRow
from entrove.campaign.results.results import StageTime


def stage_times(
    records: Iterable[StageRecord], labels: Sequence[LabelRow], config: CampaignConfig
) -> tuple[StageTime, ...]:
    """Return wall and core time of every finished stage, oldest first.

    Args:
        records: The finished stages of the ledger.
        labels: The outcome of every structure that was sent to the engine.
        config: The configuration, which has the cores of a worker that labels.
    """
    return tuple(
        StageTime(
            record.round,
            record.stage,
            record.seconds,
            record.summary,
            _core_seconds(record, labels, config),
        )
        for record in records
    )


def _core_seconds(
    record: StageRecord, labels: Sequence[LabelRow], config: CampaignConfig
) -> float | None:
    """Core time: of the engine while it labels, else of the cores that the stage has."""
    outcome = record.outcome
    engine_cores = config.labelling.executor.cores_per_worker
    if isinstance(outcome, Labelled):
        denser = outcome.kpoints.differences if outcome.kpoints else ()
        seconds = _engine_seconds(label for label in labels if label.round == record.round)
        return (seconds + sum(each.denser_engine_seconds for each in denser)) * engine_cores
    labelled_seconds, wall_seconds = 0.0, record.seconds
    if isinstance(outcome, Checked):
        labelled_seconds = _engine_seconds(outcome.volumes) * engine_cores
        wall_seconds = max(wall_seconds - outcome.labelling_seconds, 0.0)
    # Stages of older versions did not record it, but 0 threads alone leaves it open.
    cores = outcome.cores or config.model.threads
    return wall_seconds * cores + labelled_seconds if cores else None


def _engine_seconds(rows: Iterable[LabelRow]) -> float:
    return sum(
        (
            row.engine_seconds
            for row in rows
            if not row.from_cache and math.isfinite(row.engine_seconds)
        ),
        0.0,
    )
