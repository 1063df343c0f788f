"""What to do after an attempt failed: how the calculation gets there may change, what it computes may not."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrove.labelling.attempt import AttemptEnd
from entrove.labelling.labels import Outcome


@dataclass(frozen=True)
class NextAttempt:
    """The rung of the engine's ladder to stand on, and how long it may take."""

    rung: int
    time_limit_s: float


def plan_next_attempt(
    ends: Sequence[AttemptEnd],
    *,
    rungs: int,
    max_attempts: int,
    time_limit_s: float,
    longer_try_factor: float,
) -> NextAttempt | None:
    """The next attempt after `ends`, or None when the last end is final.

    The first timeout of a structure is tried once more in any case, on the same rung with
    `longer_try_factor` times the limit. Every other failure steps to the next rung, until there is none or
    `max_attempts` are used up; a crash on the only rung is tried once more, because not every crash is the
    calculation's fault.
    """
    if not ends:
        return NextAttempt(0, time_limit_s)
    last = ends[-1]
    if last.outcome is Outcome.CONVERGED:
        return None
    timeouts = sum(end.outcome is Outcome.TIMED_OUT for end in ends)
    limit = time_limit_s * (longer_try_factor if timeouts else 1.0)
    if last.outcome is Outcome.TIMED_OUT:
        return NextAttempt(last.rung, limit) if timeouts == 1 else None
    if len(ends) >= max_attempts:
        return None
    if last.rung + 1 < rungs:
        return NextAttempt(last.rung + 1, limit)
    first_crash = last.outcome is Outcome.CRASHED and len(ends) == 1
    return NextAttempt(last.rung, limit) if first_crash else None
