import pytest

from entrove.labelling.attempt import AttemptResult
from entrove.labelling.labels import Outcome
from entrove.labelling.retries import NextAttempt, plan_next_attempt

GOOD, NO, CRASH, SLOW, BAD = (
    Outcome.CONVERGED,
    Outcome.NOT_CONVERGED,
    Outcome.CRASHED,
    Outcome.TIMED_OUT,
    Outcome.REJECTED,
)


def ends(*history: tuple[Outcome, int]) -> list[AttemptResult]:
    return [AttemptResult(outcome, rung=rung) for outcome, rung in history]


@pytest.mark.parametrize(
    ("history", "rungs", "expected"),
    [
        ([], 3, NextAttempt(0, 10.0)),
        ([(GOOD, 0)], 3, None),
        ([(NO, 0)], 3, NextAttempt(1, 10.0)),
        ([(NO, 0), (NO, 1)], 3, NextAttempt(2, 10.0)),
        ([(NO, 0), (NO, 1), (NO, 2)], 3, None),
        ([(NO, 0)], 1, None),
        ([(CRASH, 0)], 1, NextAttempt(0, 10.0)),
        ([(CRASH, 0), (CRASH, 0)], 1, None),
        ([(CRASH, 0)], 3, NextAttempt(1, 10.0)),
        ([(BAD, 0)], 3, NextAttempt(1, 10.0)),
        ([(SLOW, 0)], 3, NextAttempt(0, 30.0)),
        ([(SLOW, 0), (SLOW, 0)], 3, None),
        ([(SLOW, 0), (NO, 0)], 3, NextAttempt(1, 30.0)),
        ([(NO, 0), (SLOW, 1)], 3, NextAttempt(1, 30.0)),
        ([(NO, 0), (SLOW, 1), (NO, 1)], 9, None),
        # The longer try is owed once, however many attempts there were before, and only once.
        ([(NO, 0), (NO, 1), (SLOW, 2)], 3, NextAttempt(2, 30.0)),
        ([(NO, 0), (NO, 1), (SLOW, 2), (SLOW, 2)], 3, None),
        ([(SLOW, 0), (NO, 0), (SLOW, 1)], 3, None),
    ],
)
def test_what_follows_a_failure(history, rungs, expected):
    plan = plan_next_attempt(
        ends(*history), rungs=rungs, max_attempts=3, time_limit_s=10.0, longer_try_factor=3.0
    )
    assert plan == expected


def test_a_single_attempt_is_given_its_longer_try_too():
    def plan(*history: tuple[Outcome, int]) -> NextAttempt | None:
        return plan_next_attempt(
            ends(*history), rungs=3, max_attempts=1, time_limit_s=10.0, longer_try_factor=3.0
        )

    assert plan((SLOW, 0)) == NextAttempt(0, 30.0)
    assert plan((SLOW, 0), (SLOW, 0)) is None
    assert plan((SLOW, 0), (NO, 0)) is None
    assert plan((NO, 0)) is None
