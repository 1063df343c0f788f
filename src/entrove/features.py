"""Per-atom features of a batch: values, the atoms they belong to, and the pull-back of a gradient.

Entropies are functions of `AtomFeatures` only. A `FeatureMap` computes them, so Gaussian overlap
fingerprints and the last layer of a foundation model are interchangeable: a map evaluates a batch
to `Features`, whose `values` go into `AtomFeatures` and whose `pull_back` turns a gradient with
respect to the values into one with respect to the structure.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_sim.state import SimState

from entrove.errors import ConfigError

LEAST_SPREAD = 1e-4
"""Spread below this fraction of the root mean square feature is no thermal motion.

In silicon it is that of random displacements of 3e-4 A (rows of atoms) or 1.4e-3 A (means of eight
atoms); at 1 K thermal ones are 4e-3 A. As a scale it would make a change of a feature by its own
size, which a strain brings about, a row of 1 / (scale_floor * 1e-4) = 1e6, whose square outgrows
lambda = 0.1 by the 13 digits that float64 can keep apart. And float32 features have noise of 1e-6.
"""


@dataclass(frozen=True, eq=False)
class AtomFeatures:
    """Features of the atoms of a batch of systems: what every entropy and selection takes.

    Attributes:
        values: One row per atom, float32 or float64, on any device, detached from any graph.
        numbers: Atomic number of each atom.
        system_idx: The system of each atom, counted from 0. Atoms of a system need not be
            adjacent.
        n_systems: Number of systems; a system without atoms counts, too.

    Raises `ConfigError` when the three arrays do not have one entry per atom.
    """

    values: Float[Tensor, "atoms features"]
    numbers: Int[Tensor, " atoms"]
    system_idx: Int[Tensor, " atoms"]
    n_systems: int

    def __post_init__(self) -> None:
        counts = (len(self.values), len(self.numbers), len(self.system_idx))
        if len(set(counts)) > 1:
            raise ConfigError(
                f"features of {counts[0]} atoms, but {counts[1]} atomic numbers and {counts[2]} "
                "system indices; give one of each for every atom"
            )

    @classmethod
    def of_state(cls, values: Float[Tensor, "atoms features"], state: SimState) -> "AtomFeatures":
        """Features of the atoms of a state, in its order, on the device of the features."""
        return cls(
            values,
            state.atomic_numbers.to(values.device, torch.int64),
            state.system_idx.to(values.device),
            state.cell.shape[0],
        )

    def of_systems(self, chosen: Bool[Tensor, " systems"]) -> "AtomFeatures":
        """The atoms of some of the systems, which are counted anew in their order."""
        of_atoms = chosen[self.system_idx]
        return AtomFeatures(
            self.values[of_atoms],
            self.numbers[of_atoms],
            (chosen.cumsum(0) - 1)[self.system_idx[of_atoms]],
            int(chosen.sum()),
        )


@dataclass(frozen=True, eq=False)
class PullBack:
    """Derivatives of a scalar L (any unit u) with respect to the structure.

    `positions` is dL/dr in u/Angstrom. `strain` is dL/d(strain) in u for the deformation
    r -> (1 + strain) r of positions and cell: symmetric, not divided by the volume, one per
    system.
    """

    positions: Float[Tensor, "atoms 3"]
    strain: Float[Tensor, "systems 3 3"]


@runtime_checkable
class Features(Protocol):
    """Features of one batch, and the way back from their gradient to the structure."""

    @property
    def values(self) -> Float[Tensor, "atoms features"]:
        """Per-atom features in the order of the state's atoms, detached."""
        ...

    def pull_back(self, gradient: Float[Tensor, "atoms features"]) -> PullBack:
        """Turn dL/dvalues into dL/dr and dL/d(strain)."""
        ...


@runtime_checkable
class FeatureMap(Protocol):
    """Anything that turns atoms into per-atom features of a fixed length."""

    @property
    def length(self) -> int:
        """Number of features per atom."""
        ...

    def evaluate(self, state: SimState, *, pull_back: bool = True) -> Features:
        """Compute the features of every atom of a batch.

        With `pull_back=False` only the values are wanted: a map may then save work, and calling
        `Features.pull_back` is an error.
        """
        ...

    def describe(self) -> dict[str, object]:
        """Identity of the map, JSON-able: stored with statistics, compared on loading."""
        ...
