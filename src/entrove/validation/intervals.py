"""Confidence intervals of mean absolute errors, and of ratios of two models' errors.

The bootstrap resamples independent groups, which are trajectories: snapshots of one trajectory
resemble each other, and counting them one by one would make an interval too narrow. Few groups
give a percentile interval that is far too narrow (of two groups, both are above the true mean in a
quarter of all cases), so that the bootstrap supplies the standard error of the logarithm, and
Student's t the factor. The logarithm, because errors are positive and intervals of ratios should
not depend on which model is called first.

A mean of several quantities, each of which other groups may have, has degrees of freedom between
theirs: what few groups tell counts as little as its share of the variance.

Ref: Hesterberg, The American Statistician 69, 371 (2015), sections 4.4 and 5; Davison and Hinkley,
"Bootstrap Methods and their Application" (1997), section 3.8 (groups); Satterthwaite, Biometrics
Bulletin 2, 110 (1946) (degrees of freedom).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

CONFIDENCE = 0.95
"""Probability with which an interval covers the true value."""

RESAMPLES = 2000
MOST_BLOCKS = 1000
_SEED = 20_260_101
"""Resamples are the same in every run, so that equal errors have equal intervals."""

SMALLEST_FRACTION = 1e-3
"""Resampled values below this fraction of the estimate count as this: logarithms stay finite."""

LEAST_GROUPS = 3
"""With two groups, the factor of Student is 12.7, and an interval spans decades."""

Interval = tuple[float, float]

GAUSSIAN_VARIATION = math.sqrt(math.pi / 2 - 1)
"""Standard deviation over mean of the absolute value of a normal variable with zero mean."""


@dataclass(frozen=True)
class Sums:
    """Absolute errors of one quantity, summed over each structure.

    Attributes:
        sums: Sum of the absolute errors of each structure.
        counts: How many values each sum has; structures without any have 0.
    """

    sums: Float[np.ndarray, " structures"]
    counts: Float[np.ndarray, " structures"]

    @property
    def mean(self) -> float:
        """Mean absolute error over all values; NaN without values."""
        count = float(self.counts.sum())
        return float(self.sums.sum()) / count if count else math.nan


def mean_interval(errors: Sums, groups: Sequence[str]) -> Interval | None:
    """Return the interval of a mean absolute error.

    Args:
        errors: The errors of each structure.
        groups: The group of each structure; groups are independent.

    Returns lower and upper end in the unit of the errors, which cover the true value with a
    probability of `CONFIDENCE`; None where fewer than `LEAST_GROUPS` have values, or an error is
    not finite.
    """
    return _interval(errors.mean, [_resampled(errors, groups)], [groups_with(errors, groups)])


def groups_with(errors: Sums, groups: Sequence[str]) -> int:
    """Count the groups of which a structure has values."""
    return len({group for group, count in zip(groups, errors.counts, strict=True) if count})


def ratio_interval(
    numerators: Sequence[Sums], denominators: Sequence[Sums], groups: Sequence[str]
) -> Interval | None:
    """Return the interval of the geometric mean of ratios of two models' errors, paired.

    Args:
        numerators, denominators: Errors of both models for one or more quantities, on the same
            structures.
        groups: The group of each structure. Every resample draws the same groups for both models.

    Returns lower and upper end, see `mean_interval`; None where fewer than `LEAST_GROUPS` have
    values of one of the quantities, and where an error is zero.
    """
    pairs = list(zip(numerators, denominators, strict=True))
    means = [(over.mean, under.mean) for over, under in pairs]
    if not all(over > 0 and under > 0 for over, under in means):
        return None
    ratio = math.exp(np.mean([math.log(over / under) for over, under in means]))
    logs = [_resampled(over, groups) - _resampled(under, groups) for over, under in pairs]
    return _interval(ratio, logs, [groups_with(under, groups) for under in denominators])


def structures_for(relative_half_width: float) -> int:
    """Return how many independent structures narrow the interval of an energy error this far.

    Args:
        relative_half_width: Half the width of the interval over the error, above 0.

    Each structure has one energy. For normal errors the relative standard deviation of their
    absolute values is 0.756, and that of the mean of n of them 0.756 / sqrt(n).
    """
    return math.ceil((_normal_quantile() * GAUSSIAN_VARIATION / relative_half_width) ** 2)


def expected_half_width(structures: int) -> float:
    """Return the relative half width to expect from independent structures: `structures_for`."""
    return _normal_quantile() * GAUSSIAN_VARIATION / math.sqrt(structures)


def _normal_quantile() -> float:
    return float(student.ppf(0.5 + CONFIDENCE / 2, math.inf))


def _interval(
    estimate: float, logs: Sequence[Float[np.ndarray, " resamples"]], contributing: Sequence[int]
) -> Interval | None:
    """Interval of an estimate, the geometric mean of some quantities.

    Args:
        estimate: The geometric mean.
        logs: Logarithm of each quantity in every resample; NaN for one without values.
        contributing: Number of groups that have values of each quantity.
    """
    if min(contributing) < LEAST_GROUPS or not math.isfinite(estimate):
        return None
    if estimate == 0:
        return 0.0, 0.0
    # The bootstrap's variance lacks a factor n / (n - 1), as that of any sample.
    freedom = np.array(contributing) - 1
    lacking = (freedom + 1) / freedom
    shares = lacking * [_variance(of) for of in logs]
    total = float(shares.sum())
    if total:
        effective = total**2 / float((shares**2 / freedom).sum())
        variance = _variance(np.mean(logs, axis=0)) * total / float((shares / lacking).sum())
    else:
        effective, variance = float(freedom.min()), 0.0
    # Quantities of the same groups are not independent of each other.
    effective = min(effective, float(freedom.max()))
    error = math.sqrt(variance)
    factor = math.exp(float(student.ppf(0.5 + CONFIDENCE / 2, effective)) * error)
    return estimate / factor, estimate * factor


def _variance(values: Float[np.ndarray, " resamples"]) -> float:
    """Variance over the resamples that have a value."""
    return float(np.var(values[np.isfinite(values)]))


def _resampled(errors: Sums, groups: Sequence[str]) -> Float[np.ndarray, " resamples"]:
    """Logarithm of the mean absolute error of every resample; NaN for one without values."""
    member, count = _blocks(groups)
    weights = _weights(count)
    sums = weights @ np.bincount(member, errors.sums, count)
    counts = weights @ np.bincount(member, errors.counts, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.maximum(sums / counts, SMALLEST_FRACTION * errors.mean))


def _blocks(groups: Sequence[str]) -> tuple[np.ndarray, int]:
    """The block of each structure, and the number of blocks: groups, or several of them together.

    Blocks of independent groups are independent, too, and a thousand of them are enough.
    """
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) <= MOST_BLOCKS:
        return member, len(names)
    block = np.random.default_rng(_SEED).permutation(len(names)) % MOST_BLOCKS
    return block[member], MOST_BLOCKS


@lru_cache(maxsize=16)
def _weights(groups: int) -> Float[np.ndarray, "resamples groups"]:
    """How often each group occurs in each resample."""
    rng = np.random.default_rng([_SEED, groups])
    return rng.multinomial(groups, np.full(groups, 1 / groups), RESAMPLES).astype(float)
