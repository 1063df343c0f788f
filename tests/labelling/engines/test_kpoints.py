import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from entrove.labelling.engines.kpoints import kpoint_grid


def test_the_spacing_includes_two_pi():
    # 2 pi / 5.43 A = 1.157 1/A: three points are 0.386 apart, four are 0.289 apart.
    assert kpoint_grid(bulk("Si", cubic=True), 0.35) == (4, 4, 4)
    assert kpoint_grid(bulk("Si", cubic=True), 0.39) == (3, 3, 3)


@pytest.mark.parametrize("spacing", [0.15, 0.35, 0.8])
def test_no_spacing_is_exceeded_and_no_point_is_wasted(spacing: float):
    rng = np.random.default_rng(1)
    for _ in range(50):
        atoms = Atoms("Si", cell=rng.normal(0, 2, (3, 3)) + 5 * np.eye(3), pbc=True)
        lengths = 2 * math.pi * np.linalg.norm(np.linalg.inv(atoms.cell.array).T, axis=1)
        grid = np.array(kpoint_grid(atoms, spacing))
        assert (lengths / grid <= spacing * (1 + 1e-5)).all()
        assert ((grid == 1) | (lengths / (grid - 0.999999) > spacing)).all()


def test_a_grid_does_not_jump_by_float_noise_and_vacuum_has_one_point():
    length = 2 * math.pi / 0.35 * 3
    grids = {
        kpoint_grid(Atoms("Si", cell=[length * factor] * 3, pbc=True), 0.35 / 3)
        for factor in (1 - 1e-9, 1, 1 + 1e-9)
    }
    assert len(grids) == 1
    assert kpoint_grid(Atoms("Si", cell=[3, 3, 20], pbc=[True, True, False]), 0.35)[2] == 1
