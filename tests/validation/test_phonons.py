"""Phonons need phonopy, which is an extra: without it, only the error message is tested."""

import importlib.util

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
