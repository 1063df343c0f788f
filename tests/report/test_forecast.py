"""The forecast of further labels: exact on a power law, exact where labels are picked already."""

import dataclasses
import math

import numpy as np
import pytest
from silicon_results import silicon_results

from entrove.campaign.results.results import CampaignResults
from entrove.report.forecast import forecast

RESULTS = silicon_results()


def with_gains(**gains: tuple[float, ...]) -> CampaignResults:
    rounds = {int(name.removeprefix("round_")): values for name, values in gains.items()}
    labels = [
        dataclasses.replace(RESULTS.labels[-1], round=index, structure_hash=f"{index}-{number}")
        for index, values in rounds.items()
        for number in range(len(values))
    ]
    return dataclasses.replace(
        RESULTS, gains_nats=rounds, labels=tuple(labels), labels_per_round=10
    )


def law(first: int, last: int, prefactor: float = 30.0, exponent: float = 0.7) -> tuple:
    return tuple(prefactor * number**-exponent for number in range(first, last + 1))


def test_a_power_law_is_continued_exactly() -> None:
    found = forecast(with_gains(round_1=law(1, 10), round_2=law(11, 25)))
    assert found is not None
    assert found.law is not None
    assert (found.law.prefactor, found.law.exponent) == pytest.approx((30.0, 0.7))
    assert found.nats == pytest.approx(sum(law(26, 35)))
    assert found.labels == 10
    assert (found.low, found.high) == pytest.approx((found.nats, found.nats))
    [earlier] = found.earlier
    assert earlier.round == 2
    assert earlier.forecast == pytest.approx(earlier.added) == pytest.approx(sum(law(11, 25)))


def test_the_range_is_how_far_earlier_forecasts_were_off() -> None:
    """Round 2 added exp(0.5) times what round 1 foretold; one such ratio is the whole range."""
    second = tuple(math.exp(0.5) * gain for gain in law(11, 20))
    found = forecast(with_gains(round_1=law(1, 10), round_2=second))
    assert found is not None
    assert found.high / found.nats == pytest.approx(math.exp(0.5))
    assert found.nats / found.low == pytest.approx(math.exp(0.5))


def test_one_round_has_the_scatter_of_its_own_gains() -> None:
    rng = np.random.default_rng(3)
    noisy = tuple(
        gain * math.exp(noise)
        for gain, noise in zip(law(1, 400), rng.normal(0.0, 0.2, 400), strict=True)
    )
    found = forecast(with_gains(round_1=noisy))
    assert found is not None
    # A standard deviation from 400 values is known to about 4 %.
    assert math.log(found.high / found.nats) == pytest.approx(0.2, rel=0.12)
    assert found.earlier == ()


def test_labels_that_are_picked_and_not_labelled_are_no_guess() -> None:
    results = with_gains(round_1=law(1, 10), round_2=law(11, 20))
    waiting = dataclasses.replace(
        results, labels=tuple(label for label in results.labels if label.round == 1)
    )
    found = forecast(waiting)
    assert found is not None
    assert found.picked
    assert found.nats == found.low == found.high == pytest.approx(sum(law(11, 20)))


def test_too_few_gains_give_none() -> None:
    assert forecast(with_gains(round_1=law(1, 5))) is None
    assert forecast(with_gains()) is None
    assert forecast(with_gains(round_1=(*law(1, 4), 0.0, math.nan))) is None
