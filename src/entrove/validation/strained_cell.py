"""Put a crystal into another cell, and relax its atoms there."""

import logging
import os

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE

from entrove.structures import copy_structure

logger = logging.getLogger(__name__)

MOST_STEPS = 500


def in_cell(
    atoms: Atoms,
    cell_A: np.ndarray,
    calculator: Calculator,
    force_tolerance_eV_per_A: float | None,
) -> Atoms:
    """Return a copy in the cell `cell_A` (rows are lattice vectors) with the calculator attached.

    Fractional positions are kept, then relaxed until no force exceeds the tolerance; with None
    they are not relaxed.
    """
    strained = copy_structure(atoms)
    strained.set_cell(cell_A, scale_atoms=True)
    strained.calc = calculator
    if force_tolerance_eV_per_A is not None:
        optimizer = FIRE(strained, logfile=os.devnull)
        if not optimizer.run(fmax=force_tolerance_eV_per_A, steps=MOST_STEPS):
            largest = float(np.linalg.norm(strained.get_forces(), axis=1).max())
            logger.warning(
                "positions not relaxed after %d steps: force %.4f eV/A", MOST_STEPS, largest
            )
    return strained
