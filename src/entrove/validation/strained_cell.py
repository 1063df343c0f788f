"""Put a crystal into other cells, and relax its atoms there."""

import logging
import os
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE
from torch_sim.optimizers.fire import fire_init, fire_step

from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.sampling.batch import gather_batch, reduce_atoms
from entrove.sampling.precision import in_double
from entrove.structures import copy_structure

logger = logging.getLogger(__name__)

MOST_STEPS = 500

Source = Calculator | LoadedModel
"""What gives energies and forces: an ASE calculator, or a model that takes batches."""


def in_cells(
    atoms: Atoms,
    cells_A: Sequence[np.ndarray],
    source: Source,
    force_tolerance_eV_per_A: float | None,
) -> list[Atoms]:
    """Return copies in the given cells (rows are lattice vectors), each with its results.

    Fractional positions are kept, then relaxed until no force exceeds the tolerance; with None
    they are not relaxed. A model relaxes and evaluates all cells in one batch.
    """
    if isinstance(source, Calculator):
        return [in_cell(atoms, cell, source, force_tolerance_eV_per_A) for cell in cells_A]
    strained = [_scaled(atoms, cell) for cell in cells_A]
    if force_tolerance_eV_per_A is not None:
        strained = relax_positions(source, strained, force_tolerance_eV_per_A)
    return predict(source, strained)


def in_cell(
    atoms: Atoms,
    cell_A: np.ndarray,
    calculator: Calculator,
    force_tolerance_eV_per_A: float | None,
) -> Atoms:
    """Return a copy in the cell `cell_A` with the calculator attached, see `in_cells`."""
    strained = _scaled(atoms, cell_A)
    strained.calc = calculator
    if force_tolerance_eV_per_A is not None:
        optimizer = FIRE(strained, logfile=os.devnull)
        if not optimizer.run(fmax=force_tolerance_eV_per_A, steps=MOST_STEPS):
            _warn(float(np.linalg.norm(strained.get_forces(), axis=1).max()))
    return strained


def relax_positions(
    model: LoadedModel, structures: Sequence[Atoms], force_tolerance_eV_per_A: float
) -> list[Atoms]:
    """Relax the atoms of periodic structures in their cells, all in one batch, with FIRE.

    Returns copies without results. A structure leaves the batch when it has converged.
    """
    in_precision = in_double(model.model)
    state = fire_init(gather_batch(structures, in_precision), in_precision)
    relaxed = [copy_structure(atoms) for atoms in structures]
    waiting = list(range(len(structures)))
    for step in range(MOST_STEPS + 1):
        largest = reduce_atoms(state.forces.norm(dim=1), state, reduce="amax")
        done = torch.nonzero(largest <= force_tolerance_eV_per_A).flatten().tolist()
        if step == MOST_STEPS and len(done) < len(waiting):
            _warn(float(largest.max()))
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


def _scaled(atoms: Atoms, cell_A: np.ndarray) -> Atoms:
    strained = copy_structure(atoms)
    strained.set_cell(cell_A, scale_atoms=True)
    return strained


def _warn(largest_force_eV_per_A: float) -> None:
    logger.warning(
        "positions not relaxed after %d steps: force %.4f eV/A", MOST_STEPS, largest_force_eV_per_A
    )
