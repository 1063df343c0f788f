"""Gaussian widths: the default table and what a user's own table overrides.

The default widths are the single-bond covalent radii that libfp 4.0.1, the fingerprint's reference
implementation, uses. They were recovered from its output (eigenvalues of dimers, see
`benchmarks/fingerprints/recover_libfp_radii.py`), so that fingerprints compare with published
ones. libfp gives terbium, alone among the lanthanides, the placeholder 1.0; here it has the mean
of its neighbours. Elements beyond copernicium have no entry.

Some elements share a width (V and Fe, Co and Ga, Zn and Pd, Os and Pt, ...). A fingerprint tells
neighbours apart by their widths alone, so that for such a pair all orderings of an alloy are one
structure. `distinct_widths` moves them apart for the elements of a system.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Float
from scipy.optimize import isotonic_regression

from entrove.errors import ConfigError

# fmt: off
_BY_PERIOD_A = (
    (0.37, 0.32),
    (1.34, 0.90, 0.82, 0.77, 0.75, 0.73, 0.71, 0.69),
    (1.54, 1.30, 1.18, 1.11, 1.06, 1.02, 0.99, 0.97),
    (1.96, 1.74, 1.44, 1.36, 1.25, 1.27, 1.39, 1.25, 1.26, 1.21, 1.38, 1.31,
     1.26, 1.22, 1.19, 1.16, 1.14, 1.10),
    (2.11, 1.92, 1.62, 1.48, 1.37, 1.45, 1.56, 1.26, 1.35, 1.31, 1.53, 1.48,
     1.44, 1.41, 1.38, 1.35, 1.33, 1.30),
    (2.25, 1.98,
     1.80, 1.63, 1.76, 1.74, 1.73, 1.72, 1.68, 1.69, 1.68, 1.67, 1.66, 1.65, 1.64, 1.70, 1.60,
     1.50, 1.38, 1.46, 1.59, 1.28, 1.37, 1.28, 1.44, 1.49, 1.48, 1.47, 1.46, 1.45, 1.47, 1.42),
    (2.23, 2.01,
     1.86, 1.75, 1.69, 1.70, 1.71, 1.72, 1.66, 1.66, 1.68, 1.68, 1.65, 1.67, 1.73, 1.76, 1.61,
     1.57, 1.49, 1.43, 1.41, 1.34, 1.29, 1.28, 1.21, 1.22),
)
# fmt: on

DEFAULT_RADII_A = np.array([np.nan, *(radius for period in _BY_PERIOD_A for radius in period)])
"""Default width by atomic number, in Angstrom; entry 0 is not an element."""

LARGEST_ATOMIC_NUMBER = 118

LEAST_RATIO = 1.025
"""Ratio of the widths of two elements that `distinct_widths` asks for.

Orderings of an alloy of 16 atoms differ by 0.05 of the thermal spread of their fingerprints at
this ratio, five times what makes structures nearly equal, and by 0.02 at 1.01. C, N, O and F,
which differ by 2.7 %, keep their widths.
"""

MOST_CHANGE = 1.1
"""Factor by which `distinct_widths` changes a width at most; with many elements they come nearer
to each other than `LEAST_RATIO` instead."""


SAME_WIDTH = 1.003
"""Ratio of widths below which orderings of an alloy are nearly equal by their fingerprints."""


def width_table(radii_A: Mapping[str, float] | None = None) -> Float[np.ndarray, "119"]:
    """Widths by atomic number in Angstrom; NaN where neither table has the element.

    Raises `ConfigError` for an unknown symbol or a width that is not positive.
    """
    table = np.full(LARGEST_ATOMIC_NUMBER + 1, np.nan)
    table[: len(DEFAULT_RADII_A)] = DEFAULT_RADII_A
    for symbol, radius in (radii_A or {}).items():
        _require_symbol("radii_A", symbol)
        if not (np.isfinite(radius) and radius > 0):
            raise ConfigError(
                f"radii_A: the width of {symbol} is {radius}; it must be positive, in Angstrom"
            )
        table[atomic_numbers[symbol]] = radius
    return table


def distinct_widths(
    symbols: Iterable[str], radii_A: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Widths that differ between elements, where those of the table do not.

    Args:
        symbols: The elements of a system.
        radii_A: Widths that are given, by symbol, in Angstrom; they are kept.

    Returns the given widths, and a new one for each other element whose width is within 2.5 % of
    that of another: as near to those of the table as a distance of 2.5 % between neighbours in the
    order of widths (of atomic numbers, where these are equal) allows, by least squares of their
    logarithms. Many elements come nearer, so that no width changes by more than a tenth. An
    element without a width is left out.

    Raises `ConfigError` for an unknown symbol or a width that is not positive.

    >>> distinct_widths(["Si", "C"])
    {}
    >>> distinct_widths(["V", "Fe"])
    {'V': 1.2347, 'Fe': 1.2655}
    """
    given = dict(radii_A or {})
    table = width_table(given)
    elements = {*symbols}
    for symbol in elements:
        _require_symbol("symbols", symbol)
    known = [symbol for symbol in elements if not np.isnan(table[atomic_numbers[symbol]])]
    known.sort(key=lambda symbol: (table[atomic_numbers[symbol]], atomic_numbers[symbol]))
    if not known:
        return given
    logs = np.log([table[atomic_numbers[symbol]] for symbol in known])
    places = np.arange(len(known))
    # The others make room for those that are given.
    weights = np.array([1e6 if symbol in given else 1.0 for symbol in known])
    gap = math.log(LEAST_RATIO)
    while True:
        # Increasing by at least the gap is increasing after a ramp of this slope is subtracted.
        apart = isotonic_regression(logs - gap * places, weights=weights).x + gap * places
        if np.abs(apart - logs).max() <= math.log(MOST_CHANGE):
            break
        gap /= 1.25
    moved = {
        symbol: round(math.exp(new), 4)
        for symbol, old, new in zip(known, logs.tolist(), apart.tolist(), strict=True)
        if abs(new - old) > 1e-9 and symbol not in given
    }
    return {**given, **moved}


def _require_symbol(where: str, symbol: str) -> None:
    if symbol not in atomic_numbers or symbol == "X":
        raise ConfigError(f"{where}: '{symbol}' is no chemical symbol; use symbols such as 'Si'")


def shared_widths(numbers: Iterable[int], widths_A: Sequence[float]) -> list[tuple[int, int]]:
    """Pairs of elements of nearly the same width.

    Args:
        numbers: Atomic numbers of the elements of a system.
        widths_A: Width by atomic number.

    Returns pairs of elements next to each other in the order of widths that agree within
    `SAME_WIDTH`.
    """
    ordered = sorted(numbers, key=lambda number: widths_A[number])
    return [
        (first, second)
        for first, second in pairwise(ordered)
        if widths_A[second] <= widths_A[first] * SAME_WIDTH
    ]
