"""Format numbers, durations and names for the report. A missing value is shown as a dash."""

import math
from collections.abc import Iterable, Sequence

MISSING = "-"


def is_number(value: float | None) -> bool:
    """Return whether a value is known and finite."""
    return value is not None and math.isfinite(value)


def decimals_for(values: Iterable[float | None]) -> int:
    """Return one number of decimals for a column.

    The largest number gets three significant digits and the smallest at least two, with at most
    three decimals, or five where all numbers are small.
    """
    sizes = [
        abs(value) for value in values if value is not None and math.isfinite(value) and value
    ]
    if not sizes:
        return 1
    for_largest = 2 - math.floor(math.log10(max(sizes)))
    for_smallest = 1 - math.floor(math.log10(min(sizes)))
    return max(0, min(for_largest, 5), min(for_smallest, 3))


def format_number(value: float | None, decimals: int | None = None) -> str:
    """Format with fixed decimals (default: three significant digits), from 1e7 with an exponent.

    >>> [format_number(value) for value in (12.345, 0.1234, 12345.6, 2.5e9, None, float("nan"))]
    ['12.3', '0.123', '12,346', '2.5e+09', '-', '-']
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) >= 1e7:
        return f"{value:.1e}"
    return f"{value:,.{decimals_for([value]) if decimals is None else decimals}f}"


def format_column(values: Sequence[float | None]) -> list[str]:
    """Format the numbers of one column with the same decimals.

    >>> format_column([12.34, 8.1, None])
    ['12.3', '8.1', '-']
    """
    decimals = decimals_for(values)
    return [format_number(value, decimals) for value in values]


def format_interval(
    interval: tuple[float, float] | None, decimals: int | None = None, between: str = " to "
) -> str:
    """Format a confidence interval; an unknown one is empty.

    >>> format_interval((8.12, 14.9), 1), format_interval(None)
    ('8.1 to 14.9', '')
    """
    if interval is None or not all(map(math.isfinite, interval)):
        return ""
    if decimals is None:
        decimals = decimals_for(interval)
    return between.join(format_number(end, decimals) for end in interval)


def format_duration(seconds: float | int | None) -> str:
    """Format a duration.

    >>> [format_duration(seconds) for seconds in (0.27, 42.4, 192.0, 3900.0, 200000.0)]
    ['0.3 s', '42 s', '3 min 12 s', '1 h 05 min', '2 d 08 h']
    """
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def format_share(part: float, whole: float) -> str:
    """Format a part of a whole in percent.

    >>> format_share(1.0, 4.0), format_share(0.1, 400.0)
    ('25 %', '<1 %')
    """
    percent = 100 * part / whole if whole else 0.0
    return "<1 %" if 0 < percent < 0.5 else f"{percent:.0f} %"


def plain_words(identifier: str) -> str:
    """Write an identifier with blanks instead of underscores.

    >>> plain_words("not_converged"), plain_words("md_300_K")
    ('not converged', 'MD 300 K')
    """
    return " ".join("MD" if word == "md" else word for word in identifier.split("_"))


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, with an ellipsis at the end when it was cut.

    >>> shorten("simple hexagonal", 8)
    'simple …'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"
