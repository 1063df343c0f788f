"""Which candidates fit what is left of a budget, pick after pick."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from ase import Atoms
from jaxtyping import Bool, Float
from torch import Tensor

from entrove.errors import SelectionError


@dataclass
class Budget:
    """What labels may still cost, in predicted seconds.

    Attributes:
        costs_s: Of each candidate.
        left_s: What is left; infinite where there is no budget.
        passed_over: Candidates that were available, but no longer fitted.
    """

    costs_s: Float[Tensor, " candidates"]
    left_s: float
    passed_over: Bool[Tensor, " candidates"]

    @classmethod
    def of(
        cls,
        candidates: Sequence[Atoms],
        cost_s: Callable[[Atoms], float] | None,
        budget_s: float | None,
    ) -> "Budget":
        """Predict the cost of each candidate, where there is a budget.

        Raises `SelectionError` for a cost that is not positive and finite.
        """
        if cost_s is None or budget_s is None:
            return cls.unlimited(len(candidates))
        found = [
            checked_cost_s(float(cost_s(atoms)), atoms, index)
            for index, atoms in enumerate(candidates)
        ]
        costs_s = torch.tensor(found, dtype=torch.float64)
        return cls(costs_s, budget_s, torch.zeros(len(candidates), dtype=torch.bool))

    @classmethod
    def unlimited(cls, candidates: int) -> "Budget":
        """No budget: each candidate fits."""
        return cls(
            torch.zeros(candidates, dtype=torch.float64),
            torch.inf,
            torch.zeros(candidates, dtype=torch.bool),
        )

    def pass_over(self, available: Bool[Tensor, " candidates"]) -> Bool[Tensor, " candidates"]:
        """Clear in `available` what no longer fits, and return it."""
        too_much = available & (self.costs_s > self.left_s)
        available[too_much] = False
        self.passed_over |= too_much
        return available

    def spend(self, candidate: int) -> None:
        """Take the cost of a pick from what is left."""
        self.left_s -= float(self.costs_s[candidate])

    def describe(self, candidate: int) -> str:
        """Say why a candidate was passed over."""
        return f"would take {self.costs_s[candidate]:.3g} s, {self.left_s:.3g} s were left"


def checked_cost_s(cost_s: float, atoms: Atoms, index: int) -> float:
    """Return a predicted cost in seconds; raises `SelectionError` unless positive and finite."""
    if not 0 < cost_s < float("inf"):
        raise SelectionError(
            f"the predicted cost of structure {index} ({atoms.get_chemical_formula()}) is "
            f"{cost_s} s; it must be positive and finite"
        )
    return cost_s
