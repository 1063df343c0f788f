"""Put a crystal into other cells, and relax its atoms there."""

import logging
import os
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.optimize import FIRE
from jaxtyping import Bool, Float
from torch_sim.optimizers import FireState
from torch_sim.optimizers.fire import fire_init, fire_step

from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.sampling.batch import gather_batch, reduce_atoms
from entrove.sampling.precision import in_double
from entrove.structures import copy_structure

logger = logging.getLogger(__name__)

MOST_STEPS = 500

SHARE_LEFT = 0.01
"""Share of the largest force just after straining at which a relaxation ends: the forces that
strains leave in soft crystals are far smaller than a tolerance made for stiff ones."""

LEAST_TOLERANCE_EV_PER_A = 1e-6
"""Below this a share is not asked for: where symmetry forbids forces, nothing is left to relax."""

PATIENCE = 50
"""Steps without a smaller force after which those within the tolerance are noise, as the forces of
models in single precision have it."""

Source = BaseCalculator | LoadedModel
"""What gives energies and forces: an ASE calculator, or a model that takes batches."""


def in_cells(
    atoms: Atoms,
    cells_A: Sequence[np.ndarray],
    source: Source,
    force_tolerance_eV_per_A: float | None,
) -> list[Atoms]:
    """Return copies in the given cells (rows are lattice vectors), each with its results.

    Fractional positions are kept, then relaxed until no force exceeds the tolerance, nor 1 % of
    the largest force in this cell before; with None they are not relaxed. Where noise keeps the
    forces above that share, the tolerance is enough. A model relaxes and evaluates all cells in
    one batch.
    """
    if not isinstance(source, LoadedModel):
        return [in_cell(atoms, cell, source, force_tolerance_eV_per_A) for cell in cells_A]
    strained = [_scaled(atoms, cell) for cell in cells_A]
    if force_tolerance_eV_per_A is not None:
        strained = relax_positions(source, strained, force_tolerance_eV_per_A)
    return predict(source, strained)


def in_cell(
    atoms: Atoms,
    cell_A: np.ndarray,
    calculator: BaseCalculator,
    force_tolerance_eV_per_A: float | None,
) -> Atoms:
    """Return a copy in the cell `cell_A` with the calculator attached, see `in_cells`."""
    strained = _scaled(atoms, cell_A)
    strained.calc = calculator
    if force_tolerance_eV_per_A is not None:
        ending = _Ending(_largest_force(strained), force_tolerance_eV_per_A)
        optimizer = FIRE(strained, logfile=os.devnull)
        for _ in optimizer.irun(fmax=0.0, steps=MOST_STEPS):
            if ending.has_come(_largest_force(strained), [0]).all():
                break
        ending.warn(float(_largest_force(strained).max()))
    return strained


def relax_positions(
    model: LoadedModel, structures: Sequence[Atoms], force_tolerance_eV_per_A: float
) -> list[Atoms]:
    """Relax the atoms of periodic structures in their cells, all in one batch, with FIRE.

    Returns copies without results. A structure leaves the batch when it has converged, see
    `in_cells`.
    """
    in_precision = in_double(model.model)
    state = fire_init(gather_batch(structures, in_precision), in_precision)
    relaxed = [copy_structure(atoms) for atoms in structures]
    waiting = list(range(len(structures)))
    ending = _Ending(_largest_forces(state), force_tolerance_eV_per_A)
    for step in range(MOST_STEPS + 1):
        largest = _largest_forces(state)
        done = np.flatnonzero(ending.has_come(largest, waiting)).tolist()
        if step == MOST_STEPS and len(done) < len(waiting):
            ending.warn(float(largest.max()))
            done = list(range(len(waiting)))
        if done:
            ended = state.pop(done)
            for row, single in zip(done, ended, strict=True):
                relaxed[waiting[row]].positions = single.positions.detach().cpu().numpy()
            waiting = [index for row, index in enumerate(waiting) if row not in done]
        if not waiting:
            break
        state = fire_step(state, in_precision)
    return relaxed


class _Ending:
    """When relaxations of several structures end, by the largest force of each, in eV/A."""

    def __init__(self, largest: Float[np.ndarray, " structures"], tolerance: float) -> None:
        self.tolerance = tolerance
        self.goal = np.minimum(
            np.maximum(SHARE_LEFT * largest, LEAST_TOLERANCE_EV_PER_A), tolerance
        )
        self.least = largest.copy()
        self.idle_steps = np.zeros(len(largest), dtype=int)

    def has_come(
        self, largest: Float[np.ndarray, " waiting"], structures: Sequence[int]
    ) -> Bool[np.ndarray, " waiting"]:
        """Whether it has come for those of the structures that still relax, after a step."""
        is_less = largest < self.least[structures]
        self.idle_steps[structures] = np.where(is_less, 0, self.idle_steps[structures] + 1)
        self.least[structures] = np.minimum(largest, self.least[structures])
        is_noise = (largest <= self.tolerance) & (self.idle_steps[structures] > PATIENCE)
        return (largest <= self.goal[structures]) | is_noise

    def warn(self, largest: float) -> None:
        """Log that steps have run out, unless forces are within the tolerance."""
        if not largest <= self.tolerance:
            logger.warning(
                "positions not relaxed after %d steps: force %.4f eV/A", MOST_STEPS, largest
            )


def _largest_force(atoms: Atoms) -> Float[np.ndarray, "1"]:
    return np.linalg.norm(atoms.get_forces(), axis=1).max(keepdims=True)


def _largest_forces(state: FireState) -> Float[np.ndarray, " structures"]:
    return reduce_atoms(state.forces.norm(dim=1), state, reduce="amax").cpu().numpy()


def _scaled(atoms: Atoms, cell_A: np.ndarray) -> Atoms:
    strained = copy_structure(atoms)
    strained.set_cell(cell_A, scale_atoms=True)
    return strained
