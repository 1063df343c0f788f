"""What spglib finds of known crystals, and what it is kept from."""

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk

from entrove.symmetry import call_spglib, cartesian_rotations, space_group

COLLAPSED = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 0]], cell=[4, 4, 4], pbc=True)
"""Two atoms at one place, for which spglib finds no group."""


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (bulk("Si", "diamond", a=5.43, cubic=True), "Fd-3m (227)"),
        (bulk("NaCl", "rocksalt", a=5.64), "Fm-3m (225)"),
        (
            Atoms(
                "Ar2",
                scaled_positions=[[0, 0, 0], [0.1, 0.3, 0.4]],
                cell=[4, 5, 6, 70, 80, 95],
                pbc=True,
            ),
            "P-1 (2)",
        ),
        (COLLAPSED, None),
    ],
)
def test_space_groups_of_known_crystals(atoms, expected):
    assert space_group(atoms, 0.05) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("spoiled", ["positions", "cell"])
def test_a_cell_that_is_not_finite_has_no_space_group(spoiled, value):
    """spglib crashes on it, and takes Python along."""
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True)
    if spoiled == "positions":
        atoms.positions[1, 2] = value
    else:
        atoms.cell[2, 2] = value
    assert space_group(atoms, 0.05) is None


def test_rotations_of_a_crystal_keep_lengths():
    """The 48 of the cubic group, in Cartesian axes also where the cell is not orthogonal."""
    rotations = cartesian_rotations(bulk("Cu", "fcc", a=3.6), 1e-3)
    assert len(rotations) == 48
    # Products of entries of at most 1: rounding alone.
    np.testing.assert_allclose(rotations @ rotations.mT, [np.eye(3)] * 48, atol=1e-12)


def test_where_spglib_finds_nothing_there_is_none():
    assert call_spglib(spglib.get_symmetry_dataset, COLLAPSED, symprec=1e-3) is None
    assert cartesian_rotations(COLLAPSED, 1e-3).shape == (0, 3, 3)
