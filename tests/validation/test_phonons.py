"""Phonons need phonopy, which is an extra: without it, only the error message is tested."""

import importlib.util

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from entrove.errors import EntroveError
from entrove.validation.phonons import phonons

INSTALLED = importlib.util.find_spec("phonopy") is not None
needs_phonopy = pytest.mark.skipif(not INSTALLED, reason="phonopy is not installed")


@pytest.mark.skipif(INSTALLED, reason="phonopy is installed")
def test_missing_phonopy_is_named_with_its_remedy():
    with pytest.raises(
        EntroveError, match=r"'phonopy' is not installed; .* pip install 'entrove\[phonons\]'"
    ):
        phonons(bulk("Cu"), EMT())


@needs_phonopy
def test_copper_is_stable_and_has_the_right_highest_mode():
    result = phonons(bulk("Cu", a=3.61), EMT(), supercell=(3, 3, 3), mesh=(6, 6, 6))
    assert result.is_stable
    assert result.frequencies_THz.shape[1] == 3
    assert result.weights.sum() == 6**3
    # Measured: 7.3 THz, longitudinal at L (Svensson, Brockhouse and Rowe, Phys. Rev. 155, 619
    # (1967)); EMT is softer.
    assert 6.0 < result.highest_THz < 8.5


@needs_phonopy
def test_primitive_and_conventional_cell_agree():
    """The highest mode is that of the crystal: forces have decayed in both supercells (5 A)."""
    primitive = phonons(bulk("Cu", a=3.61), EMT(), supercell=(4, 4, 4), mesh=(4, 4, 4))
    conventional = phonons(
        bulk("Cu", a=3.61, cubic=True), EMT(), supercell=(2, 2, 2), mesh=(4, 4, 4)
    )
    assert conventional.frequencies_THz.shape[1] == 12
    # The meshes have different q-points, but both sample L, where the highest mode is.
    assert conventional.highest_THz == pytest.approx(primitive.highest_THz, rel=0.01)


@needs_phonopy
def test_simple_cubic_copper_is_unstable():
    result = phonons(bulk("Cu", "sc", a=2.4), EMT(), supercell=(3, 3, 3), mesh=(6, 6, 6))
    assert not result.is_stable
    assert result.lowest_THz < -0.5


@needs_phonopy
def test_four_times_the_masses_have_half_the_frequencies():
    light, heavy = bulk("Cu", a=3.61), bulk("Cu", a=3.61)
    heavy.set_masses(4 * light.get_masses())
    found, halved = (
        phonons(atoms, EMT(), mesh=(3, 3, 3), points_per_line=3) for atoms in (light, heavy)
    )
    # Acoustic modes at the zone centre are zero within rounding.
    np.testing.assert_allclose(2 * halved.frequencies_THz, found.frequencies_THz, atol=1e-5)
    for line, other in zip(halved.bands, found.bands, strict=True):
        np.testing.assert_allclose(2 * line.frequencies_THz, other.frequencies_THz, atol=1e-5)


@needs_phonopy
def test_isotopes_of_an_element_break_the_symmetry_of_the_mesh():
    """Points are left out for their symmetry only, so that the order of atoms changes nothing."""
    atoms = bulk("Cu", a=3.61, cubic=True)
    atoms.set_masses([63.0, 63.0, 65.0, 130.0])
    found = phonons(atoms, EMT(), supercell=(2, 2, 2), mesh=(3, 3, 3))
    assert len(found.weights) > 4  # of the 27 points, cubic symmetry leaves four
    permuted = atoms[[3, 0, 1, 2]]
    other = phonons(permuted, EMT(), supercell=(2, 2, 2), mesh=(3, 3, 3))

    def mean_square(result):
        return np.average((result.frequencies_THz**2).sum(axis=1), weights=result.weights)

    assert mean_square(other) == pytest.approx(mean_square(found), rel=1e-6)
