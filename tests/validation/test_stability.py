import numpy as np
import pytest
import torch
from ase.build import bulk
from torch_sim.models.interface import ModelInterface
from torch_sim.models.lennard_jones import LennardJonesModel

from entrove.models.ase import SerialModel
from entrove.units import BOLTZMANN_EV_PER_K
from entrove.validation.stability import fit_drift, nve_stability, nvt_stability
from spring_crystal import Springs, spring_crystal


@pytest.fixture
def crystals():
    """Two argon crystals of different size near the minimum of their potential."""
    return [
        bulk("Ar", "fcc", a=5.26, cubic=True).repeat(2),
        bulk("Ar", "fcc", a=5.26, cubic=True).repeat((2, 2, 1)),
    ]


def argon(cutoff_A: float = 8.0) -> LennardJonesModel:
    return LennardJonesModel(sigma=3.405, epsilon=0.0104, cutoff=cutoff_A, dtype=torch.float64)


class PumpedModel(ModelInterface):
    """Forces that are not the gradient of the energy, so that the energy is not conserved."""

    def __init__(self, factor: float):
        super().__init__()
        self.inner = argon()
        self._device, self._dtype = self.inner.device, self.inner.dtype
        self._compute_forces = self._compute_stress = True
        self._memory_scales_with = "n_atoms"
        self.factor = factor

    def forward(self, state, **kwargs):
        results = dict(self.inner(state))
        results["forces"] = self.factor * results["forces"]
        return results


def test_lennard_jones_crystal_conserves_energy(crystals):
    reports = nve_stability(crystals, argon(), temperature_K=20.0, steps=200, timestep_fs=8.0)
    for report in reports:
        assert report.stable
        assert report.steps == 200
        # Velocity Verlet itself has no drift; the potential jumps by 0.2 meV at its cutoff of 8 A.
        assert abs(report.drift_meV_per_atom_per_ps) < 0.1
        assert report.noise_meV_per_atom < 0.1
        # Equipartition: half of the initial 40 K becomes potential energy. The tolerance is for
        # the fluctuation of 16 and 32 atoms.
        assert report.mean_temperature_K == pytest.approx(20.0, rel=0.25)
        assert 3.2 < report.shortest_distance_A < 3.72


def test_a_crystal_has_the_temperature_of_its_thermostat():
    """Of few atoms, too: the thermostat also moves the centre of mass, a quarter of 4 atoms."""
    cells = [bulk("Ar", "fcc", a=5.26, cubic=True)] * 32
    reports = nvt_stability(cells, argon(6.0), temperature_K=10.0, steps=500, timestep_fs=10.0)
    means = [report.temperatures_K[100:].mean() for report in reports]
    # Four standard errors of the mean over 32 cells are 4 %.
    assert np.mean(means) == pytest.approx(10.0, rel=0.06)


def test_noise_falls_with_the_square_of_the_timestep(crystals):
    """The energy error of velocity Verlet is of second order: a quarter for half the step."""
    coarse, fine = (
        nve_stability(crystals[:1], argon(), temperature_K=20.0, steps=steps, timestep_fs=dt)[0]
        # Long steps: below 16 fs all noise comes from the jump of the potential at its cutoff.
        for steps, dt in ((25, 64.0), (50, 32.0))
    )
    assert coarse.noise_meV_per_atom / fine.noise_meV_per_atom == pytest.approx(4.0, rel=0.25)


def test_four_times_the_masses_move_the_same_in_steps_of_twice_the_length(crystals):
    """Newton's equations hold in time over the square root of the mass."""
    heavy = [atoms.copy() for atoms in crystals]
    for atoms in heavy:
        atoms.set_masses(4 * atoms.get_masses())
    found, other = (
        nve_stability(cells, argon(), temperature_K=20.0, steps=20, timestep_fs=dt)
        for cells, dt in ((crystals, 8.0), (heavy, 16.0))
    )
    for one, two in zip(found, other, strict=True):
        np.testing.assert_allclose(two.energies_meV_per_atom, one.energies_meV_per_atom, atol=1e-9)
        np.testing.assert_allclose(two.temperatures_K, one.temperatures_K, rtol=1e-9)


@pytest.mark.parametrize("stiffness", [43.0, 30.0], ids=["48 THz", "40 THz"])
def test_a_stiff_crystal_that_equilibrates_does_not_drift(stiffness):
    """Its total energy rises by (2 pi f dt)^2 / 8, or 1 %, of the energy of its modes at first.

    In a straight line over 0.2 ps that is up to 2.9 meV/atom/ps, without an error of the forces.
    """
    model = SerialModel(Springs(stiffness))
    for seed in range(1, 7):
        (report,) = nve_stability(
            [spring_crystal()], model, temperature_K=4000.0, steps=200, seed=seed
        )
        # What the shadow energy leaves is of order (2 pi f dt)^4 / 24, or 4e-4, of 500 meV/atom.
        assert abs(report.drift_meV_per_atom_per_ps) < 0.3
        assert report.drift_error_meV_per_atom_per_ps < 0.2
        assert np.isnan(report.shadow_energies_meV_per_atom[[0, -1]]).all()
        shadow, total = report.shadow_energies_meV_per_atom[1:-1], report.energies_meV_per_atom
        assert np.std(shadow) < 0.1 * np.std(total)


@pytest.mark.parametrize("pumping_per_ps", [0.02, -0.02])
def test_work_that_is_no_change_of_energy_is_the_drift(pumping_per_ps):
    """At 1000 K, 3 k T g = 5 meV/atom/ps for a force along the movement with a rate g."""
    model = SerialModel(Springs(43.0, pumping_per_ps=pumping_per_ps))
    (report,) = nve_stability([spring_crystal()], model, temperature_K=1000.0, steps=200)
    kinetic_meV = 1.5 * 31 / 32 * 1000.0 * BOLTZMANN_EV_PER_K * report.mean_temperature_K
    known = 2.0 * pumping_per_ps * kinetic_meV
    assert abs(known) == pytest.approx(5.0, rel=0.3)
    # The kinetic energy is not the same all along, as it begins at twice its mean.
    assert report.drift_meV_per_atom_per_ps == pytest.approx(known, rel=0.1)
    assert report.drift_error_meV_per_atom_per_ps < 0.5


def test_the_error_of_a_drift_is_its_scatter():
    """Of 400 trajectories with correlated noise around one line."""
    random, times = np.random.default_rng(0), np.arange(199) * 1e-3
    # A moving mean over 3 points: less than the 20 points of a block.
    noise = random.normal(size=(400, 201))
    noise = np.lib.stride_tricks.sliding_window_view(noise, 3, axis=1).mean(axis=2)
    slopes, errors = np.array([fit_drift(times, 7.0 * times + row) for row in noise]).T
    assert slopes.mean() == pytest.approx(7.0, abs=4.0 * slopes.std() / 20.0)
    assert np.sqrt((errors**2).mean()) == pytest.approx(slopes.std(), rel=0.15)
    assert np.isnan(fit_drift(times[:5], times[:5])).all()


def test_equal_seeds_give_equal_trajectories(crystals):
    first, again, other = (
        nve_stability(crystals[:1], argon(), temperature_K=20.0, steps=20, seed=seed)[0]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_missing_repulsion_is_called_unstable(crystals):
    """With the sign of the forces inverted, atoms collapse."""
    report = nve_stability(
        crystals[:1], PumpedModel(-1.0), temperature_K=100.0, steps=200, timestep_fs=20.0
    )[0]
    assert not report.stable
    assert (
        "came as close as" in report.reason
        or "not finite" in report.reason
        or "kinetic energy" in report.reason
    )


def test_heating_is_called_unstable(crystals):
    compressed = crystals[0].copy()
    compressed.set_cell(0.9 * compressed.cell.array, scale_atoms=True)
    compressed.rattle(0.3, seed=0)
    report = nve_stability(
        [compressed], argon(), temperature_K=5.0, steps=60, timestep_fs=2.0, check_every=5
    )[0]
    assert not report.stable
    assert "kinetic energy rose to" in report.reason
    assert np.isfinite(report.drift_meV_per_atom_per_ps)
