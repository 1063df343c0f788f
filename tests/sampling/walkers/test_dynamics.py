"""Ensemble averages against theory, within three standard errors of independent samples."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from cheap_models import ARGON_EPSILON_EV, IdealGas, argon, lennard_jones

from entrove.sampling.batch import gather_batch
from entrove.sampling.config import SamplingConfig
from entrove.sampling.relax import relax_at_pressure
from entrove.sampling.walkers.dynamics import Dynamics, kinetic_temperature_K
from entrove.units import BOLTZMANN_EV_PER_K, EV_PER_A3_IN_GPA


def start(model, structures, temperatures_K, pressures_GPa, seed=0, **settings):
    state = gather_batch(structures, model)
    state.rng = torch.Generator().manual_seed(seed)
    count = len(structures)
    dynamics = Dynamics(
        temperature_K=torch.as_tensor(temperatures_K, dtype=torch.float64).expand(count),
        pressure_GPa=torch.as_tensor(pressures_GPa, dtype=torch.float64).expand(count),
        **settings,
    )
    return dynamics, dynamics.start(state, model)


def sample(dynamics, state, model, observe, *, samples, apart):
    rows = []
    for _ in range(samples):
        for _ in range(apart):
            state = dynamics.step(state, model)
        rows.append(observe(state))
    return torch.stack(rows)


def assert_mean(values, expected):
    """`values` are independent samples."""
    error = values.std() / math.sqrt(values.numel())
    assert abs(values.mean() - expected) < 3 * error, (
        f"{values.mean():.6g} +- {error:.2g}, not {expected:.6g}"
    )


def assert_variance(values, expected):
    centred = (values - values.mean()).square()
    error = centred.std() / math.sqrt(values.numel())
    assert abs(centred.mean() - expected) < 3 * error, (
        f"{centred.mean():.6g} +- {error:.2g}, not {expected:.6g}"
    )


def test_nvt_temperature_has_the_canonical_mean_and_variance_for_each_system():
    model, atoms, copies = IdealGas(), 5, 300
    gas = Atoms(
        "Ar5", positions=np.random.default_rng(0).random((atoms, 3)) * 9, cell=[9, 9, 9], pbc=True
    )
    temperatures = torch.tensor([100.0, 1000.0]).repeat(copies)
    dynamics, state = start(
        model, [gas] * (2 * copies), temperatures, 0.0, timestep_fs=2.0, friction_per_fs=0.1
    )
    # The kinetic energy forgets with exp(-2 gamma t): 15 steps of 2 fs leave 0.2 %.
    seen = sample(dynamics, state, model, kinetic_temperature_K, samples=10, apart=15)
    for column, target in ((0, 100.0), (1, 1000.0)):
        own = seen[:, column::2].flatten()
        assert_mean(own, target)
        assert_variance(own, 2 * target**2 / (3 * atoms))


def test_nvt_friction_is_a_rate_in_inverse_femtoseconds():
    model, friction, steps = IdealGas(), 0.02, 25
    gas = Atoms("ArXeNe", positions=[[0, 0, 0], [4, 0, 0], [0, 4, 0]], cell=[9, 9, 9], pbc=True)
    dynamics, state = start(
        model, [gas] * 2000, 300.0, 0.0, timestep_fs=2.0, friction_per_fs=friction
    )
    before = state.velocities.clone()
    variance = (before.square().reshape(-1, 3, 3)).mean(dim=(0, 2))
    for _ in range(steps):
        state = dynamics.step(state, model)
    correlation = (before * state.velocities).reshape(-1, 3, 3) / variance[:, None]
    for species in range(3):  # light or heavy, all forget at the same rate
        assert_mean(correlation[:, species].flatten(), math.exp(-friction * 2.0 * steps))


def test_nvt_temperature_of_a_lennard_jones_crystal():
    model = lennard_jones()
    crystals = [argon(5.3)] * 60
    dynamics, state = start(model, crystals, 40.0, 0.0, timestep_fs=4.0, friction_per_fs=0.02)
    for _ in range(150):
        state = dynamics.step(state, model)
    # One mean for each system: samples in time are correlated, systems are not.
    seen = sample(dynamics, state, model, kinetic_temperature_K, samples=40, apart=10)
    assert_mean(seen.mean(dim=0), 40.0)
    assert_mean((seen - 40.0).square().mean(dim=0), 2 * 40.0**2 / (3 * 4))


@pytest.mark.parametrize("symbols", ["Ar6", "ArXeNeArXeNe"])
def test_npt_volume_of_an_ideal_gas_is_gamma_distributed(symbols):
    model, atoms, copies = IdealGas(), 6, 150
    gas = Atoms(
        symbols,
        positions=np.random.default_rng(0).random((atoms, 3)) * 9,
        cell=[9, 9, 9],
        pbc=True,
    )
    kT = 300.0 * BOLTZMANN_EV_PER_K
    pressures = [atoms * kT / volume * EV_PER_A3_IN_GPA for volume in (700.0, 1000.0)]
    dynamics, state = start(
        model,
        [gas] * (2 * copies),
        300.0,
        torch.tensor(pressures, dtype=torch.float64).repeat(copies),
        timestep_fs=4.0,
        friction_per_fs=0.05,
        ensemble="npt",
        barostat_time_fs=100.0,
    )
    for _ in range(200):
        state = dynamics.step(state, model)
    seen = sample(dynamics, state, model, lambda now: torch.det(now.cell), samples=10, apart=80)
    for column, pressure in enumerate(pressures):
        own = seen[:, column::2].flatten()
        scale = kT / (pressure / EV_PER_A3_IN_GPA)
        assert_mean(own, atoms * scale)
        assert_variance(own, atoms * scale**2)


def test_npt_friction_of_the_atoms_is_a_rate_in_inverse_femtoseconds():
    model, friction, steps = IdealGas(), 0.02, 25
    gas = Atoms("Xe3", positions=[[0, 0, 0], [4, 0, 0], [0, 4, 0]], cell=[90, 90, 90], pbc=True)
    # A cell that hardly moves, so that the velocities feel the thermostat alone.
    settings = {
        "timestep_fs": 2.0,
        "friction_per_fs": friction,
        "ensemble": "npt",
        "barostat_time_fs": 1e5,
    }
    dynamics, state = start(model, [gas] * 2000, 300.0, 0.0, **settings)
    before = state.velocities.clone()
    for _ in range(steps):
        state = dynamics.step(state, model)
    correlation = (before * state.velocities).flatten() / before.square().mean()
    # The discrete rate of Gronbech-Jensen and Farago: ((1 - x) / (1 + x))^steps, x = friction dt /
    # 2.
    x = friction * 2.0 / 2
    assert_mean(correlation, ((1 - x) / (1 + x)) ** steps)


CUBIC = argon(5.2)
SKEWED = bulk("Ar", "fcc", a=5.2).repeat((2, 2, 1))


@pytest.mark.parametrize(
    ("barostat", "crystal"),
    [
        pytest.param("isotropic", CUBIC, id="isotropic"),
        pytest.param("anisotropic", CUBIC, id="per axis", marks=pytest.mark.slow),
        pytest.param("anisotropic", SKEWED, id="per axis, skewed"),
    ],
)
def test_npt_pressure_and_volume_fluctuation_of_a_lennard_jones_crystal(barostat, crystal):
    model, kT, copies = lennard_jones(), 30.0 * BOLTZMANN_EV_PER_K, 27
    pressures = torch.tensor([0.1, 0.35, 0.6], dtype=torch.float64)
    dynamics, state = start(
        model,
        [crystal] * (3 * copies),
        30.0,
        pressures.repeat(copies),
        timestep_fs=4.0,
        friction_per_fs=0.02,
        ensemble="npt",
        barostat=barostat,
        barostat_time_fs=300.0,
    )

    def work_and_volume(now):
        """(P_ii - P) V of each axis, with zero mean where that axis is free, and the volume."""
        volume = torch.det(now.cell)[:, None]
        virial = -now.stress.diagonal(dim1=1, dim2=2) * volume
        work = virial + 4 * kT - dynamics.pressure_GPa[:, None] / EV_PER_A3_IN_GPA * volume
        return torch.cat([work, volume], dim=1)

    for _ in range(400):
        state = dynamics.step(state, model)
    seen = sample(dynamics, state, model, work_and_volume, samples=60, apart=10)
    work, volume = seen[..., :3].mean(dim=0), seen[..., 3]
    if barostat == "isotropic":
        work = work.mean(dim=1, keepdim=True)
    for row in range(3):
        for axis in range(work.shape[1]):
            assert_mean(work[row::3, axis], 0.0)
    # -d<V>/dP = var V / kT, from the lowest to the highest pressure, by Simpson's rule.
    mean = volume.mean(dim=0).reshape(copies, 3)
    centred = volume.reshape(-1, copies, 3) - mean.mean(dim=0)
    variance = centred.square().mean(dim=0)
    step = float(pressures[2] - pressures[0]) / EV_PER_A3_IN_GPA
    integral = (variance[:, 0] + 4 * variance[:, 1] + variance[:, 2]) / 6 * step / kT
    assert_mean(mean[:, 0] - mean[:, 2] - integral, 0.0)


@pytest.mark.parametrize("epsilon_eV", [ARGON_EPSILON_EV, 50 * ARGON_EPSILON_EV])
@pytest.mark.parametrize("barostat", ["isotropic", "anisotropic"])
def test_the_volume_oscillates_in_the_time_of_the_barostat(barostat, epsilon_eV):
    """Whatever the stiffness of the crystal and the temperature."""
    model, period_fs, timestep_fs = lennard_jones(epsilon_eV=epsilon_eV), 100.0, 2.0
    copies, periods = 6, 6
    temperatures = torch.tensor([5.0, 20.0], dtype=torch.float64).repeat_interleave(copies)
    dynamics, state = start(
        model,
        [argon(5.2)] * (2 * copies),
        temperatures,
        0.05 * epsilon_eV / ARGON_EPSILON_EV,  # away from its volume, so that it swings
        timestep_fs=timestep_fs,
        friction_per_fs=1e-5,
        ensemble="npt",
        barostat=barostat,
        barostat_time_fs=period_fs,
    )
    steps = round(periods * period_fs / timestep_fs)
    volumes = sample(dynamics, state, model, lambda s: torch.det(s.cell), samples=steps, apart=1)
    for own in volumes.reshape(steps, 2, copies).mean(dim=2).T:
        crossings = int(((own > own.mean()).diff()).sum())
        assert crossings / 2 == pytest.approx(periods, abs=1)


@pytest.mark.slow
def test_a_stiff_and_cold_crystal_has_the_volume_of_its_ensemble():
    """Var V = kT V / B, in a crystal as stiff as diamond at 10 K and with the default settings."""
    model, kT, copies = lennard_jones(epsilon_eV=0.22), 10.0 * BOLTZMANN_EV_PER_K, 40
    relaxed = relax_at_pressure(model, [argon(5.3)], [0.0])[0].atoms
    dynamics, state = start(
        model,
        [relaxed] * copies,
        10.0,
        0.0,
        timestep_fs=SamplingConfig().timestep_fs,
        friction_per_fs=SamplingConfig().friction_per_fs,
        ensemble="npt",
        barostat_time_fs=SamplingConfig().barostat_time_fs,
    )
    for _ in range(600):
        state = dynamics.step(state, model)
    volumes = sample(dynamics, state, model, lambda s: torch.det(s.cell), samples=40, apart=50)
    strains = np.linspace(-0.01, 0.01, 5)
    pressed = [relaxed.copy() for _ in strains]
    for cell, strain in zip(pressed, strains, strict=True):
        cell.set_cell(cell.cell * (1 + strain) ** (1 / 3), scale_atoms=True)
    batch = gather_batch(pressed, model)
    pressures = -model(batch)["stress"].diagonal(dim1=1, dim2=2).mean(dim=1).numpy()
    bulk_modulus = -np.polyfit(np.log1p(strains), pressures, 2)[1]
    expected = kT * relaxed.get_volume() / bulk_modulus
    assert float(volumes.var()) == pytest.approx(expected, rel=0.15)


def test_same_seed_same_trajectory():
    model = lennard_jones()
    ends = []
    for _ in range(2):
        dynamics, state = start(
            model, [argon()] * 2, 50.0, 0.0, seed=3, timestep_fs=2.0, friction_per_fs=0.01
        )
        for _ in range(5):
            state = dynamics.step(state, model)
        ends.append(state.positions)
    assert torch.equal(*ends)
