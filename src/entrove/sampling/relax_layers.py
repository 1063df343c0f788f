"""Relaxation of structures some of which have vacuum, across which a cell keeps its length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from entrove.sampling.config import RelaxationSettings
from entrove.sampling.relax import Relaxation, relax_at_pressure
from entrove.sampling.vacuum import vacuum_axes


class StressWithin(ModelInterface):
    """A model whose stress acts along given directions only: P stress P.

    `projection` P is (3, 3) and projects on the span of the cell vectors that may change. A cell
    filter then neither stretches nor tilts the others.
    """

    def __init__(self, base: ModelInterface, projection: Float[np.ndarray, "3 3"]) -> None:
        super().__init__()
        self.base = base
        self._device = base.device
        self._dtype = base.dtype
        self._compute_stress = base.compute_stress
        self._compute_forces = base.compute_forces
        self._projection = torch.as_tensor(projection, device=base.device)

    def forward(self, state: SimState, **kwargs: Any) -> dict[str, Tensor]:
        """Evaluate the base model, and keep the stress along the directions."""
        results = self.base(state, **kwargs)
        within = self._projection.to(results["stress"])
        return results | {"stress": within @ results["stress"] @ within}


def relax_crystals_and_layers(
    model: ModelInterface,
    structures: Sequence[Atoms],
    pressures_GPa: Sequence[float],
    settings: RelaxationSettings,
) -> list[Relaxation]:
    """Relax each structure at its pressure; cells keep their length across vacuum.

    Args:
        model: A torch-sim model with stress.
        structures: Periodic in three dimensions, some of them with vacuum.
        pressures_GPa: One pressure for each structure in GPa; 0 where there is vacuum.
        settings: Tolerances of force and stress, and the largest number of steps.

    Returns relaxations in the order of the structures, see `relax_at_pressure`, which does the
    work.
    """
    axes = [vacuum_axes(atoms) for atoms in structures]
    dense = [index for index, is_empty in enumerate(axes) if not any(is_empty)]
    found = dict(
        zip(
            dense,
            relax_at_pressure(
                model,
                [structures[index] for index in dense],
                [pressures_GPa[index] for index in dense],
                settings,
            ),
            strict=True,
        )
    )
    for index, is_empty in enumerate(axes):
        if any(is_empty):
            vectors = structures[index].cell.array[~np.array(is_empty)]
            within = StressWithin(model, _projection_on(vectors))
            (found[index],) = relax_at_pressure(
                within, [structures[index]], [pressures_GPa[index]], settings
            )
    return [found[index] for index in range(len(structures))]


def _projection_on(vectors: Float[np.ndarray, "vectors 3"]) -> Float[np.ndarray, "3 3"]:
    if not len(vectors):
        return np.zeros((3, 3))
    return vectors.T @ np.linalg.pinv(vectors.T)
