"""How much information further labels would add: what a stopping decision needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entrove.campaign.results.results import CampaignResults

FEWEST_FOR_FIT = 6
"""Fewer gains than this give no forecast."""


@dataclass(frozen=True)
class EarlierForecast:
    """What the same rule said of a round before it, and what its labels then added, in nats."""

    round: int
    forecast: float
    added: float


@dataclass(frozen=True)
class PowerLaw:
    """The gain of the k-th label, prefactor * k^-exponent, in nats; k counts from 1."""

    prefactor: float
    exponent: float

    def gain_of(self, number: int) -> float:
        """The gain of the label with this number, in nats."""
        return self.prefactor * number**-self.exponent


@dataclass(frozen=True)
class Forecast:
    """What the next labels are expected to add together.

    Attributes:
        labels: How many labels.
        nats: What they add, in nats.
        low, high: The forecast divided and multiplied by exp(s), see `forecast`; equal to `nats`
            where the labels are picked already.
        picked: The labels are picked already; the number is that of the selection.
        law: The fitted power law; None where `picked`.
        earlier: Forecasts of earlier rounds with their outcomes.
    """

    labels: int
    nats: float
    low: float
    high: float
    picked: bool
    law: PowerLaw | None = None
    earlier: tuple[EarlierForecast, ...] = ()


def forecast(results: CampaignResults) -> Forecast | None:
    """Forecast what the next labels would add, in nats.

    Where the labels of a round are picked and not labelled yet, the selection itself says it.
    Otherwise the gains g_k of all labels so far, numbered in the order in which they were picked,
    are fitted by a power law g_k = a k^-b (least squares of ln g_k on ln k, rounds weighted
    equally), and summed over the next n labels. The same is done for every earlier round from
    those before it; s is the root mean square of ln(added / forecast) over these. With a single
    round, s is the standard deviation of ln g_k around the fit.

    Returns None when there are too few gains.
    """
    picks = {index: gains for index, gains in sorted(results.gains_nats.items()) if len(gains)}
    labelled = {label.round for label in results.labels if label.purpose == "training"}
    done = {index: gains for index, gains in picks.items() if index in labelled}
    earlier = _earlier(done)
    waiting = [gains for index, gains in picks.items() if index not in labelled]
    if waiting:
        total = float(sum(waiting[-1]))
        return Forecast(len(waiting[-1]), total, total, total, True, earlier=earlier)
    rounds = list(done.values())
    law = _fit(rounds)
    count = results.labels_per_round or (len(rounds[-1]) if rounds else 0)
    if law is None or not count:
        return None
    nats = _sum_of(law, sum(map(len, rounds)), count)
    spread = _spread(law, rounds, earlier)
    return Forecast(
        count,
        nats,
        nats * float(np.exp(-spread)),
        nats * float(np.exp(spread)),
        False,
        law,
        earlier,
    )


def _fit(rounds: Sequence[Sequence[float]]) -> PowerLaw | None:
    gains = np.array([gain for of_round in rounds for gain in of_round], dtype=float)
    usable = np.isfinite(gains) & (gains > 0)
    if usable.sum() < FEWEST_FOR_FIT:
        return None
    numbers = np.arange(1, len(gains) + 1)
    # polyfit squares its weights.
    weights = np.repeat([len(of_round) ** -0.5 for of_round in rounds], list(map(len, rounds)))
    slope, offset = np.polyfit(
        np.log(numbers[usable]), np.log(gains[usable]), 1, w=weights[usable]
    )
    return PowerLaw(float(np.exp(offset)), -float(slope))


def _sum_of(law: PowerLaw, known: int, count: int) -> float:
    return sum(law.gain_of(number) for number in range(known + 1, known + count + 1))


def _earlier(rounds: dict[int, tuple[float, ...]]) -> tuple[EarlierForecast, ...]:
    found = []
    indices = list(rounds)
    for position in range(1, len(indices)):
        before = [rounds[index] for index in indices[:position]]
        law, gains = _fit(before), rounds[indices[position]]
        if law is not None:
            said = _sum_of(law, sum(map(len, before)), len(gains))
            found.append(EarlierForecast(indices[position], said, float(sum(gains))))
    return tuple(found)


def _spread(
    law: PowerLaw, rounds: Sequence[Sequence[float]], earlier: Sequence[EarlierForecast]
) -> float:
    ratios = [np.log(one.added / one.forecast) for one in earlier if one.added > 0]
    if ratios:
        return float(np.sqrt(np.mean(np.square(ratios))))
    gains = np.array([gain for of_round in rounds for gain in of_round], dtype=float)
    usable = np.isfinite(gains) & (gains > 0)
    fitted = np.array([law.gain_of(number) for number in range(1, len(gains) + 1)])
    return float(np.std(np.log(gains[usable] / fitted[usable])))
