import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from entrove.errors import ModelError
from entrove.validation.equation_of_state import (
    DEFAULT_SCALES,
    equation_of_state,
    fit_birch_murnaghan,
)


def birch_murnaghan(
    volume: np.ndarray, energy_0: float, volume_0: float, modulus: float, derivative: float
):
    """Birch, Phys. Rev. 71, 809 (1947), in its usual integrated form."""
    x = (volume_0 / volume) ** (2.0 / 3.0)
    return energy_0 + 9.0 * volume_0 * modulus / 16.0 * (
        (x - 1.0) ** 3 * derivative + (x - 1.0) ** 2 * (6.0 - 4.0 * x)
    )


def test_parameters_of_an_exact_curve_come_back():
    volumes = np.linspace(17.0, 24.0, 9)
    fit = fit_birch_murnaghan(volumes, birch_murnaghan(volumes, -5.4, 20.4, 90.0 * GPa, 4.2))
    assert fit.volume_A3_per_atom == pytest.approx(20.4, rel=1e-6)
    assert fit.energy_eV_per_atom == pytest.approx(-5.4, rel=1e-6)
    assert fit.bulk_modulus_GPa == pytest.approx(90.0, rel=1e-5)
    assert fit.bulk_modulus_derivative == pytest.approx(4.2, rel=1e-4)


def test_the_order_of_the_points_does_not_matter():
    volumes = np.linspace(17.0, 24.0, 9)
    energies = birch_murnaghan(volumes, -5.4, 20.4, 90.0 * GPa, 4.2)
    sorted_fit = fit_birch_murnaghan(volumes, energies)
    order = np.random.default_rng(0).permutation(9)
    fit = fit_birch_murnaghan(volumes[order], energies[order])
    assert fit.bulk_modulus_GPa == sorted_fit.bulk_modulus_GPa
    np.testing.assert_array_equal(fit.volumes_A3_per_atom, volumes)
    np.testing.assert_array_equal(fit.energies_eV_per_atom, energies)
    # From the other end, the lowest energy is still at the smallest of these volumes.
    rising = volumes >= 20.5
    with pytest.raises(ModelError, match="lowest energy is at the smallest volume"):
        fit_birch_murnaghan(volumes[rising][::-1], energies[rising][::-1])


def test_equal_volumes_are_one_point():
    """Four parameters need more than four volumes, however often each is given."""
    volumes = np.array([19.0, 20.0, 20.0 + 1e-9, 20.4, 20.4, 22.0])
    energies = birch_murnaghan(volumes, -5.4, 20.4, 90.0 * GPa, 4.2)
    with pytest.raises(ModelError, match="4 different volumes, but four parameters need at least"):
        fit_birch_murnaghan(volumes, energies)
    with pytest.raises(ModelError, match="3 different volumes, but four parameters need at least"):
        equation_of_state(bulk("Cu", a=3.6), EMT(), scales=(0.98, 1.0, 1.0, 1.0, 1.02))


def test_bulk_modulus_of_copper_equals_the_slope_of_the_pressure():
    copper = bulk("Cu", a=3.6)
    fit = equation_of_state(copper, EMT(), scales=np.linspace(0.98, 1.02, 9).tolist())
    side = (4.0 * fit.volume_A3_per_atom) ** (1.0 / 3.0)
    pressures, volumes = [], []
    for scale in (0.999, 1.001):
        cell = bulk("Cu", a=scale * side)
        cell.calc = EMT()
        pressures.append(-cell.get_stress()[:3].mean() / GPa)
        volumes.append(cell.get_volume())
    slope = -np.mean(volumes) * (pressures[1] - pressures[0]) / (volumes[1] - volumes[0])
    # Birch-Murnaghan is a model of EMT's curve over 12 % of volume, not the curve itself.
    assert fit.bulk_modulus_GPa == pytest.approx(slope, rel=0.02)
    # Jacobsen, Stoltze and Norskov, Surf. Sci. 366, 394 (1996): a = 3.59 A for copper.
    assert side == pytest.approx(3.59, abs=0.02)


def test_range_without_a_minimum_is_refused():
    with pytest.raises(ModelError, match="lowest energy is at the largest volume"):
        equation_of_state(bulk("Cu", a=3.2), EMT(), scales=(0.98, 0.99, 1.0, 1.01, 1.02))
    with pytest.raises(ModelError, match="need at least 5"):
        equation_of_state(bulk("Cu"), EMT(), scales=(0.99, 1.0, 1.01))


def test_points_that_no_curve_fits_are_refused():
    """Energies with a jump, on which the least-squares fit does not converge."""
    volumes = 20.0 * np.array(DEFAULT_SCALES) ** 3
    energies = np.array([0.07175, 0.03321, 0.11198, 0.10333, 0.11270, 0.14231, 0.19455])
    with pytest.raises(ModelError, match="no Birch-Murnaghan curve fits these points"):
        fit_birch_murnaghan(volumes, energies)
