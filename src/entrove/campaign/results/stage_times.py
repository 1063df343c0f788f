"""What each finished stage took, in wall time and in core time."""

import math
from collections.abc import Iterable, Sequence

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import StageRecord
from entrove.campaign.journal.outcomes import LabelRow, Stage
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
    if record.stage is Stage.LABEL:
        seconds = [
            label.engine_seconds
            for label in labels
            if label.round == record.round
            and not label.from_cache
            and math.isfinite(label.engine_seconds)
        ]
        return sum(seconds, 0.0) * config.labelling.executor.cores_per_worker
    # Stages of older versions did not record it, but 0 threads alone leaves it open.
    cores = record.outcome.cores or config.model.threads
    return record.seconds * cores if cores else None
