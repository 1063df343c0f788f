"""Gaussian widths: the default table and what a user's own table overrides.

The default widths are the single-bond covalent radii that libfp 4.0.1, the fingerprint's reference
implementation, uses. They were recovered from its output (eigenvalues of dimers, see
`benchmarks/fingerprints/recover_libfp_radii.py`), so that fingerprints compare with published
ones. libfp gives terbium, alone among the lanthanides, the placeholder 1.0; here it has the mean
of its neighbours. Elements beyond copernicium have no entry.
"""

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Float

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


def width_table(radii_A: Mapping[str, float] | None = None) -> Float[np.ndarray, "119"]:
    """Widths by atomic number in Angstrom; NaN where neither table has the element.

    Raises `ConfigError` for an unknown symbol or a width that is not positive.
    """
    table = np.full(LARGEST_ATOMIC_NUMBER + 1, np.nan)
    table[: len(DEFAULT_RADII_A)] = DEFAULT_RADII_A
    for symbol, radius in (radii_A or {}).items():
        if symbol not in atomic_numbers or symbol == "X":
            raise ConfigError(
                f"radii_A: '{symbol}' is no chemical symbol; use symbols such as 'Si'"
            )
        if not (np.isfinite(radius) and radius > 0):
            raise ConfigError(
                f"radii_A: the width of {symbol} is {radius}; it must be positive, in Angstrom"
            )
        table[atomic_numbers[symbol]] = radius
    return table
