"""What a selection returns: picks with their gains, and why each other candidate was left out."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Int


class Filter(StrEnum):
    """What kept a candidate out."""

    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    LEAST_GAIN = "least_gain"
    QUOTA = "quota"
    BUDGET = "budget"
    COUNT = "count"


@dataclass(frozen=True)
class Rejection:
    """A candidate that was not picked: index in the pool, the filter, and what this compared."""

    index: int
    filter: Filter
    detail: str


@dataclass(frozen=True)
class QuotaUse:
    """Places reserved for a pool, or a phase, and how many candidates of it were picked."""

    pool: str
    reserved: int
    picked: int


@dataclass(frozen=True, eq=False)
class Selection:
    """Picked candidates, best first.

    `indices` count in the order of the pool as it was given. `gains` are what each pick added to
    the dataset and the picks before it, in nats; for "information" they sum to the increase of the
    dataset's entropy, and never increase from pick to pick unless quotas or costs decide the
    order. For the objective "target" they are falls of the mean predicted variance, in units of
    the noise. Control arms put distances, in feature units, or zeros in their place. `rejected`
    has one entry for every other candidate, by index. `quotas` are the places of each pool,
    `phases` those of each phase. `target_variance` is the mean predicted variance of the target
    before and after the picks, in units of the noise; None without a target.
    """

    indices: Int[np.ndarray, " picks"]
    gains: Float[np.ndarray, " picks"]
    rejected: tuple[Rejection, ...] = field(repr=False)
    quotas: tuple[QuotaUse, ...] = ()
    phases: tuple[QuotaUse, ...] = ()
    target_variance: tuple[float, float] | None = None

    @property
    def predicted_improvement(self) -> float | None:
        """Fraction by which the picks are predicted to lower the error of the target.

        That is 1 - sqrt(variance after / variance before); None without a target.
        """
        if self.target_variance is None or not self.target_variance[0]:
            return None
        before, after = self.target_variance
        return 1.0 - (max(after, 0.0) / before) ** 0.5

    def __len__(self) -> int:
        return len(self.indices)

    def rejections_by_filter(self) -> dict[str, int]:
        """How many candidates each filter kept out."""
        counts = {reason.value: 0 for reason in Filter}
        for rejection in self.rejected:
            counts[rejection.filter.value] += 1
        return counts
