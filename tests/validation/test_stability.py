import numpy as np
import pytest
import torch
from ase.build import bulk
from torch_sim.models.interface import ModelInterface
from torch_sim.models.lennard_jones import LennardJonesModel

from entrove.validation.stability import nve_stability, nvt_stability


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
