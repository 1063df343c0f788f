"""Run a stage once: skip it when it is in the ledger, enter it there when it is finished."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Finished, StageOutcome
from entrove.campaign.journal.progress import ProgressListener

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageRunner:
    """Runs stages, each at most once per round of a campaign."""

    ledger: Ledger
    listener: ProgressListener
    cores: int | None = None
    """Cores that stages may use, for the record of what they cost."""

    def run[Outcome: StageOutcome](
        self,
        round_index: int,
        kind: type[Outcome],
        description: str,
        work: Callable[[], Outcome],
        *,
        total: int | None = None,
        unit: str = "",
    ) -> Outcome:
        """Run `work` unless the stage is finished already, and return what it found.

        `kind` is the model of the stage; `description`, `total` and `unit` are for the listener. A
        finished campaign in which a stage runs again is no longer finished.
        """
        stage = kind.stage
        found = self.ledger.find(round_index, kind)
        if found is not None:
            self.listener.stage_skipped(round_index, stage, found.summary)
            return found
        finished = self.ledger.each(Finished)
        self.ledger.forget((finished_in, Finished.stage) for finished_in in finished)
        logger.info("round %d, %s: %s", round_index, stage, description)
        self.listener.stage_started(round_index, stage, description, total, unit)
        started = time.monotonic()
        try:
            outcome = work()
        except BaseException as error:
            logger.info(
                "round %d, %s: interrupted by %s", round_index, stage, type(error).__name__
            )
            self.ledger.enter_interruption(round_index, stage, time.monotonic() - started)
            raise
        outcome = outcome.model_copy(update={"cores": self.cores})
        record = self.ledger.enter(round_index, outcome, time.monotonic() - started)
        logger.info(
            "round %d, %s: %s (%.1f s)", round_index, stage, record.summary, record.seconds
        )
        self.listener.stage_finished(round_index, stage, record.seconds, record.summary)
        return outcome
