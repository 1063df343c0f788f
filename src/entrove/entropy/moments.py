"""Count, sum and sum of outer products of feature rows: all that a dataset has to remember.

Memory is O(features^2) per species whatever the number of rows, and adding, removing and merging
are sums. float64 throughout.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from entrove.entropy.rows import SpeciesRows
from entrove.errors import SelectionError


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of a set of rows."""

    count: int
    total: Float[Tensor, " features"]
    outer: Float[Tensor, "features features"]

    @classmethod
    def empty(cls, features: int) -> "Moments":
        """Statistics of no rows."""
        return cls(
            0,
            torch.zeros(features, dtype=torch.float64),
            torch.zeros(features, features, dtype=torch.float64),
        )

    @classmethod
    def of(cls, rows: Float[Tensor, "rows features"]) -> "Moments":
        """Statistics of these rows."""
        rows = rows.detach().to("cpu", torch.float64)
        return cls(len(rows), rows.sum(0), rows.mT @ rows)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.count + other.count, self.total + other.total, self.outer + other.outer
        )

    def __sub__(self, other: "Moments") -> "Moments":
        """Take rows out again; the last row out leaves exact zeros.

        Raises `SelectionError` when more rows are taken out than there are.
        """
        if other.count > self.count:
            raise SelectionError(
                f"cannot remove {other.count} rows from statistics of {self.count}; "
                "remove only structures that were added"
            )
        if other.count == self.count:
            return Moments.empty(len(self.total))
        return Moments(
            self.count - other.count, self.total - other.total, self.outer - other.outer
        )

    def mean(self) -> Float[Tensor, " features"]:
        """Mean of the rows; zero when there are none."""
        return self.total / max(self.count, 1)

    def scatter(self) -> Float[Tensor, "features features"]:
        """Sum of (x - mean)(x - mean)^T; zero when there are no rows."""
        return self.outer - torch.outer(self.total, self.total) / max(self.count, 1)

    def variance(self) -> Float[Tensor, " features"]:
        """Variance of each feature; zero when there are no rows."""
        return self.scatter().diagonal().clamp_min(0.0) / max(self.count, 1)


class SpeciesMoments:
    """Moments per species. Immutable: every operation returns a new one."""

    def __init__(self, by_species: dict[int, Moments] | None = None) -> None:
        self._by_species = dict(sorted((by_species or {}).items()))

    def __getitem__(self, number: int) -> Moments:
        return self._by_species[number]

    def __contains__(self, number: int) -> bool:
        return number in self._by_species

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that have rows, in order."""
        return tuple(self._by_species)

    @classmethod
    def of(cls, blocks: Iterable[SpeciesRows]) -> "SpeciesMoments":
        """Statistics of a batch that was split into species."""
        return cls(
            {block.number: Moments.of(block.values) for block in blocks if len(block.values)}
        )

    def __add__(self, other: "SpeciesMoments") -> "SpeciesMoments":
        result = dict(self._by_species)
        for number, moments in other._by_species.items():
            result[number] = result[number] + moments if number in result else moments
        return SpeciesMoments(result)

    def __sub__(self, other: "SpeciesMoments") -> "SpeciesMoments":
        """Take rows out again.

        Raises `SelectionError` when a species or a row is taken out that is not there.
        """
        result = dict(self._by_species)
        for number, moments in other._by_species.items():
            if number not in result:
                raise SelectionError(
                    f"cannot remove atoms of atomic number {number}: the statistics hold none; "
                    "remove only structures that were added"
                )
            result[number] = result[number] - moments
            if result[number].count == 0:
                del result[number]
        return SpeciesMoments(result)
