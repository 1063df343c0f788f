"""Dynamics in double precision over models of any precision."""

from typing import Any

import torch
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState


def plain_state(state: SimState, dtype: torch.dtype) -> SimState:
    """Return positions, cell and species alone, in the precision `dtype`."""
    return SimState(
        positions=state.positions.to(dtype),
        masses=state.masses.to(dtype),
        cell=state.cell.to(dtype),
        pbc=state.pbc,
        atomic_numbers=state.atomic_numbers,
        system_idx=state.system_idx,
    )


class InDouble(ModelInterface):
    """A model of lower precision behind a double-precision edge.

    Integrators and optimisers accumulate positions over thousands of steps; in float32 they lose
    digits that the model itself has. The casts cost microseconds.
    """

    def __init__(self, base: ModelInterface) -> None:
        super().__init__()
        self.base = base
        self._device = base.device
        self._dtype = torch.float64
        self._compute_stress = base.compute_stress
        self._compute_forces = base.compute_forces

    def forward(self, state: SimState, **kwargs: Any) -> dict[str, Tensor]:
        """Evaluate the base model in its own precision; return its floating results as float64."""
        results = self.base(plain_state(state, self.base.dtype), **kwargs)
        return {
            key: value.to(torch.float64)
            if isinstance(value, Tensor) and value.is_floating_point()
            else value
            for key, value in results.items()
        }


def in_double(model: ModelInterface) -> ModelInterface:
    """Return `model` itself when it works in float64, and an `InDouble` around it otherwise."""
    return model if model.dtype == torch.float64 else InDouble(model)
