"""The six numbers of a stress are the derivatives of the energy that their places say.

Every engine that runs here labels a triclinic cell, and the same cell under each of the six
strains. All shears differ, so that an exchange of two of them shows. What VASP writes is read from
stored outputs, as a matrix, see test_vasp.py.

Three minutes: 16 s of GPAW 26.7, 25 s of Quantum ESPRESSO 6.7, 143 s of CP2K 2023.1.
"""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from espresso_program import needs_espresso
from test_dft_engines import CP2K, ESPRESSO, GPAW, needs_cp2k

from entrove.labelling.engines.base import Computation, Engine

STRAIN = 0.01
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def triclinic_silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.4)
    shear = np.array([[1.02, 0.06, -0.02], [0.0, 0.97, 0.10], [0.0, 0.0, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


def compute(engine: Engine, atoms: Atoms, folder: Path) -> Computation:
    folder.mkdir()
    with contextlib.chdir(folder):
        return engine.compute(atoms, folder, 0)


def energy_derivatives(engine: Engine, atoms: Atoms, folder: Path) -> np.ndarray:
    """Stress by central differences, eV/A^3, in the order of `VOIGT`."""
    derivatives = []
    for number, (i, j) in enumerate(VOIGT):
        ends = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * STRAIN / 2
            strain[j, i] += sign * STRAIN / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            ends.append(compute(engine, strained, folder / f"{number}{sign:+d}").energy_eV)
        derivatives.append((ends[0] - ends[1]) / (2 * STRAIN) / atoms.get_volume())
    return np.array(derivatives)


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(GPAW, marks=pytest.mark.gpaw, id="gpaw"),
        pytest.param(ESPRESSO, marks=needs_espresso, id="espresso"),
        pytest.param(CP2K, marks=needs_cp2k, id="cp2k"),
    ],
)
def test_the_stress_of_an_engine_is_the_derivative_in_its_place(engine: Engine, tmp_path: Path):
    atoms = triclinic_silicon()
    stress = np.array(compute(engine, atoms, tmp_path / "middle").stress_eV_per_A3)
    np.testing.assert_allclose(stress, stress.T, atol=1e-6)
    given = np.array([stress[i, j] for i, j in VOIGT])
    expected = energy_derivatives(engine, atoms, tmp_path)
    # A basis that changes with the cell adds a pressure of its own, to the diagonal alone.
    for values in (given, expected):
        values[:3] -= values[:3].mean()
    for part in (slice(0, 3), slice(3, 6)):
        size = np.abs(expected[part]).max()
        # Third-order terms of a strain of 1 % and coarse grids cost up to 1 %; an exchange of the
        # two most similar components costs 7 %.
        assert np.abs(given[part] - expected[part]).max() < 0.02 * size
        for order in list(itertools.permutations(range(3)))[1:]:
            assert np.abs(given[part][list(order)] - expected[part]).max() > 0.06 * size
        assert np.abs(given[part] + expected[part]).max() > size
