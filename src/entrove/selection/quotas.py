"""Places of a round that are reserved for each pool, and for each phase."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from entrove.selection.result import QuotaUse


def share_evenly(names: Sequence[str], share: float, count: int) -> dict[str, float]:
    """Return the shares that reserve places evenly, as many whole ones for each as `share` holds.

    Candidates without a name have none. With more names than places nothing is reserved: the
    places would always go to the same ones.

    >>> share_evenly(["fcc", "bcc", "fcc", ""], 0.75, 16)
    {'bcc': 0.375, 'fcc': 0.375}
    >>> share_evenly(["a", "b", "c"], 0.75, 3)
    {'a': 0.0, 'b': 0.0, 'c': 0.0}
    """
    different = sorted({name for name in names if name})
    return {name: int(share * count / len(different) + 1e-9) / count for name in different}


def reserve_places(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Turn shares into whole places by the largest-remainder rule.

    Shares that sum to 1 reserve exactly `count` places; no share gets less than its integer part.

    >>> reserve_places({"entropy_md": 0.5, "ordered": 0.25, "anchors": 0.25}, 10)
    {'entropy_md': 5, 'ordered': 3, 'anchors': 2}
    """
    exact = {pool: share * count for pool, share in shares.items()}
    # 1e-9: 0.3 * 10 must not round down to 2 for want of one bit.
    places = {pool: int(value + 1e-9) for pool, value in exact.items()}
    spare = round(sum(exact.values()) + 1e-9) - sum(places.values())
    by_remainder = sorted(exact, key=lambda pool: places[pool] - exact[pool])
    for pool in by_remainder[: max(spare, 0)]:
        places[pool] += 1
    return places


class Quotas:
    """Counts picks per pool, and decides which pools may still be picked from.

    A pool may use its reserved places and then the places that are not reserved. Greedy under
    such a partition is within 1/2 of the best selection that respects it (Fisher, Nemhauser &
    Wolsey, Math. Program. Study 8, 73 (1978)).
    """

    def __init__(self, shares: Mapping[str, float], count: int) -> None:
        self._reserved = reserve_places(shares, count)
        self._free = count - sum(self._reserved.values())
        self._left = dict(self._reserved)
        self._picked: Counter[str] = Counter()

    def admits(self, pool: str) -> bool:
        """Whether one more candidate of this pool may be picked."""
        return self._left.get(pool, 0) > 0 or self._free > 0

    def take(self, pool: str) -> None:
        """Count a pick."""
        if self._left.get(pool, 0) > 0:
            self._left[pool] -= 1
        else:
            self._free -= 1
        self._picked[pool] += 1

    def release(self) -> None:
        """Make all reserved places that were not used available to every pool."""
        self._free += sum(self._left.values())
        self._left = dict.fromkeys(self._left, 0)

    def extend(self, count: int) -> None:
        """Add places that are reserved for nobody."""
        self._free += count

    @property
    def reserved_left(self) -> int:
        """Reserved places that nothing was picked for."""
        return sum(self._left.values())

    def report(self) -> tuple[QuotaUse, ...]:
        """Reserved and used places of every pool that has either."""
        pools = sorted(self._reserved.keys() | self._picked.keys())
        return tuple(
            QuotaUse(pool, self._reserved.get(pool, 0), self._picked[pool]) for pool in pools
        )


class Places:
    """Candidates by a category (pool, phase), and whether a place is left for each of them."""

    def __init__(self, what: str, names: Sequence[str], shares: Mapping[str, float], count: int):
        self.what = what
        different, self._category = np.unique(names, return_inverse=True)
        self._names: list[str] = different.tolist()
        self.quotas = Quotas(shares, count)
        self._full = np.zeros(len(self._names), dtype=bool)

    def update(self) -> None:
        """Find out anew which categories have a place; other methods answer by the last time."""
        self._full = np.array([not self.quotas.admits(name) for name in self._names], dtype=bool)

    def full(self) -> Bool[np.ndarray, " candidates"]:
        """Whether no place is left, for each candidate."""
        return self._full[self._category]

    def name(self, candidate: int) -> str:
        """The category of a candidate."""
        return self._names[int(self._category[candidate])]

    def take(self, candidate: int) -> None:
        """Count a pick."""
        self.quotas.take(self.name(candidate))
