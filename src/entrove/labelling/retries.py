"""What to do after an attempt failed.

How the calculation reaches self-consistency may change, what it computes may not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from entrove.labelling.attempt import AttemptResult
from entrove.labelling.labels import Outcome


@dataclass(frozen=True)
class NextAttempt:
    """The rung of the engine's retry ladder, and the time limit in s."""

    rung: int
    time_limit_s: float


def plan_next_attempt(
    results: Sequence[AttemptResult],
    *,
    rungs: int,
    max_attempts: int,
    time_limit_s: float,
    longer_try_factor: float,
) -> NextAttempt | None:
    """The next attempt after `results`, or None when the last result is final.

    After the first timeout of a structure the same rung is tried again in any case, with
    `longer_try_factor` times the limit. After every other failure the next rung is tried, until
    there is none or `max_attempts` were made; a crash on the only rung is tried once more, because
    the machine may have caused it.
    """
    if not results:
        return NextAttempt(0, time_limit_s)
    last = results[-1]
    if last.outcome is Outcome.CONVERGED:
        return None
    timeouts = sum(result.outcome is Outcome.TIMED_OUT for result in results)
    limit = time_limit_s * (longer_try_factor if timeouts else 1.0)
    if last.outcome is Outcome.TIMED_OUT:
        return NextAttempt(last.rung, limit) if timeouts == 1 else None
    if len(results) >= max_attempts:
        return None
    if last.rung + 1 < rungs:
        return NextAttempt(last.rung + 1, limit)
    first_crash = last.outcome is Outcome.CRASHED and len(results) == 1
    return NextAttempt(last.rung, limit) if first_crash else None
