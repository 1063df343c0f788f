"""Run a stage once: skip it when the ledger has it, enter it when it is finished."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from entrove.campaign.journal.ledger import Ledger, StageRecord
from entrove.campaign.journal.progress import ProgressListener

logger = logging.getLogger(__name__)

FINISH = "finish"
"""The stage that ends a campaign; it counts only as long as nothing is done after it."""


@dataclass(frozen=True)
class StageOutcome:
    """What a stage says when it is finished: a line for people, and JSON values for later stages."""

    summary: str
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageRunner:
    """Runs stages in order, each at most once in the life of a campaign."""

    ledger: Ledger
    listener: ProgressListener

    def run(
        self,
        round: int,
        stage: str,
        description: str,
        work: Callable[[], StageOutcome],
        *,
        total: int | None = None,
        unit: str = "",
    ) -> StageRecord:
        """Run `work` unless the stage is finished already, and return its record.

        A campaign that works again is not finished any more.
        """
        record = self.ledger.find(round, stage)
        if record is not None:
            self.listener.stage_skipped(round, stage, record.summary)
            return record
        self.ledger.forget(
            (one.round, one.stage) for one in self.ledger.stages() if one.stage == FINISH
        )
        logger.info("round %d, %s: %s", round, stage, description)
        self.listener.stage_started(round, stage, description, total, unit)
        started = time.monotonic()
        try:
            outcome = work()
        except BaseException as error:
            logger.info("round %d, %s: interrupted by %s", round, stage, type(error).__name__)
            self.ledger.enter_interruption(round, stage, time.monotonic() - started)
            raise
        record = self.ledger.enter(
            round, stage, time.monotonic() - started, outcome.summary, outcome.payload
        )
        logger.info("round %d, %s: %s (%.1f s)", round, stage, record.summary, record.seconds)
        self.listener.stage_finished(round, stage, record.seconds, record.summary)
        return record
