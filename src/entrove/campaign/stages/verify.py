"""Compare batched with single evaluations of every model before it explores.

Upstream wrappers that evaluate batches have had silent errors.
"""

from entrove.campaign.journal.outcomes import Verified
from entrove.campaign.stages.context import CampaignRun
from entrove.models.verify import VerificationReport


def verify(run: CampaignRun, round_index: int) -> Verified:  # noqa: ARG001
    """Check every untuned model on the seeds; on a mismatch stop or fall back, as configured."""
    seeds = [seed.atoms for seed in run.campaign.seeds]
    report, of_explorer = run.models.verify_untuned(seeds, run.config.model.verify_batching)
    if of_explorer is None:
        return Verified(summary=_describe(report), batched=report.passed)
    return Verified(
        summary=f"{_describe(report)}; exploring: {_describe(of_explorer)}",
        batched=report.passed,
        explorer_batched=of_explorer.passed,
    )


def verify_tuned(run: CampaignRun, round_index: int) -> Verified:
    """Check the tuned model that explores in this round; the untuned one was checked before."""
    seeds = [seed.atoms for seed in run.campaign.seeds]
    tuned_in = run.models.best_round(before=round_index)
    if not tuned_in:
        untuned = run.ledger.find(0, Verified)
        assert untuned is not None  # the preparation
        return untuned.model_copy(update={"tuned_in": 0})
    report = run.models.verify_tuned(tuned_in, seeds, run.config.model.verify_batching)
    return Verified(summary=_describe(report), batched=report.passed, tuned_in=tuned_in)


def _describe(report: VerificationReport) -> str:
    fallback = (
        "" if report.passed else "; continuing with its ASE calculator, one structure at a time"
    )
    return report.summary() + fallback
