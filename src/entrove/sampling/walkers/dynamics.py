"""Langevin dynamics of a whole batch, in fs, K and GPa, by torch-sim's integrators.

torch-sim counts time in sqrt(amu A^2 / eV) = 10.18 fs. Its NVT step (BAOAB; Leimkuhler and
Matthews, Proc. R. Soc. A 472, 20160138 (2016)) takes the friction as a rate. Its NPT step
(Gronbech-Jensen and Farago, J. Chem. Phys. 141, 194108 (2014)) takes `alpha`, a rate times a mass,
although its annotation says a rate: we multiply by the mean mass of the system, so that the
friction of an element of mass m is `friction * mean mass / m`, and by the mass of the cell for the
cell's friction.

The NPT step moves the logarithm of the cell length and leaves out the Jacobian of that choice, so
that it samples V^N exp(-(U + P V) / kT) d(ln V): the constant-pressure ensemble without a length
scale (Corti, Phys. Rev. E 64, 016128 (2001)). In it <P_internal V> = P <V> holds exactly, and the
volume of an ideal gas is Gamma(N, kT / P) distributed: mean N kT / P, variance N (kT / P)^2.

The mass of the cell follows from the period that its volume is to have and the stiffness of the
crystal. torch-sim takes the mass (N + 1) kT tau^2, and so the period 2 pi tau sqrt((N + 1) kT /
(9 V B)), a tenth of tau for a stiff crystal and less the colder it is: at 10 K a time step of 1 fs
would not follow it. We give each system the tau of the wanted period.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch_sim.integrators.md import MDState, initialize_momenta
from torch_sim.integrators.npt import (
    NPTLangevinAnisotropicState,
    NPTLangevinIsotropicState,
    npt_langevin_anisotropic_init,
    npt_langevin_anisotropic_step,
    npt_langevin_isotropic_init,
    npt_langevin_isotropic_step,
)
from torch_sim.integrators.nvt import nvt_langevin_init, nvt_langevin_step
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState
from torch_sim.units import MetalUnits

from entrove.sampling.config import Barostat, Ensemble
from entrove.units import BOLTZMANN_EV_PER_K, gpa_to_ev_per_a3

TRIAL_STRAIN = 0.005
"""Relative change of volume from which the stiffness of a cell is computed."""

INTERNAL_TIME_PER_FS = float(MetalUnits.time) * 1e-3
"""torch-sim's time units in one femtosecond."""

HEAT_AT_MINIMUM = 2.0
"""Initial over target temperature of a walker that starts at a minimum of its energy.

By equipartition a harmonic crystal holds as much potential as kinetic energy, 3 N k_B T / 2 each
(Allen and Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), section 2.4). At a minimum it
holds no potential energy: momenta of 2 T bring the energy of both, and half of it passes into the
potential within a fraction of a period. With momenta of T the missing half comes from the
thermostat alone, in the time 1 / friction, and short runs are cold.
"""


@dataclass(frozen=True)
class Dynamics:
    """How a batch moves: one time step for all, temperature and pressure per system."""

    temperature_K: Float[Tensor, " systems"]
    pressure_GPa: Float[Tensor, " systems"]
    timestep_fs: float
    friction_per_fs: float
    ensemble: Ensemble = "nvt"
    barostat: Barostat = "isotropic"
    barostat_time_fs: float = 300.0

    def __getitem__(self, rows: Tensor) -> "Dynamics":
        """Return the dynamics of some of the systems."""
        return replace(
            self, temperature_K=self.temperature_K[rows], pressure_GPa=self.pressure_GPa[rows]
        )

    @property
    def kT_eV(self) -> Float[Tensor, " systems"]:
        """Thermal energy of each system in eV."""
        return self.temperature_K * BOLTZMANN_EV_PER_K

    @property
    def _dt(self) -> float:
        return self.timestep_fs * INTERNAL_TIME_PER_FS

    @property
    def _friction(self) -> float:
        return self.friction_per_fs / INTERNAL_TIME_PER_FS

    @property
    def _pressure_eV_per_A3(self) -> Float[Tensor, " systems"]:
        return self.pressure_GPa * gpa_to_ev_per_a3(1.0)

    def start(
        self, state: SimState, model: ModelInterface, *, at_minimum: bool = False
    ) -> MDState:
        """Evaluate the model, draw Maxwell-Boltzmann momenta from `state.rng`; return an MD state.

        `at_minimum` says that the structures are relaxed: their momenta are hotter, see
        `HEAT_AT_MINIMUM`. The cell of an NPT run starts at rest.
        """
        md = self._init(state, model)
        if at_minimum:
            md.momenta = md.momenta * HEAT_AT_MINIMUM**0.5
        return md

    def _init(self, state: SimState, model: ModelInterface) -> MDState:
        if self.ensemble == "nvt":
            return nvt_langevin_init(state, model, kT=self.kT_eV)
        counts = state.n_atoms_per_system.to(state.dtype)
        total_mass = torch.zeros_like(counts).index_add_(0, state.system_idx, state.masses)
        cell_mass = self._cell_mass(state, model)
        init = (
            npt_langevin_isotropic_init
            if self.barostat == "isotropic"
            else npt_langevin_anisotropic_init
        )
        return init(
            state,
            model,
            kT=self.kT_eV,
            dt=self._dt,
            alpha=self._friction * total_mass / counts,
            cell_alpha=self._friction * cell_mass,
            b_tau=(cell_mass / ((counts + 1) * self.kT_eV)).sqrt(),
        )

    def _cell_mass(self, state: SimState, model: ModelInterface) -> Float[Tensor, " systems"]:
        """Mass of the cell of each system with which its volume oscillates in `barostat_time_fs`.

        With V = V0 exp(3 e), and e the one degree of freedom of an isotropic cell, the energy has
        the curvature 9 V B; with one such logarithm for each axis, a change of all three together
        has 3 V B in each. Atoms move with the cell. No stiffness is below N kT / V, that of a gas.
        """
        volume = torch.det(state.cell).abs()
        pressures = []
        for sign in (1.0, -1.0):
            strained = state.clone()
            scale = (1 + sign * TRIAL_STRAIN) ** (1 / 3)
            strained.positions, strained.cell = scale * state.positions, scale * state.cell
            pressures.append(-model(strained)["stress"].diagonal(dim1=1, dim2=2).mean(dim=1))
        bulk_modulus = (pressures[1] - pressures[0]) / (2 * math.atanh(TRIAL_STRAIN))
        least = state.n_atoms_per_system * self.kT_eV
        # A model that fails on a strained cell gives NaN.
        stiffness = torch.nan_to_num(volume * bulk_modulus, nan=0.0).to(least).maximum(least)
        period = self.barostat_time_fs * INTERNAL_TIME_PER_FS
        modes = 9 if self.barostat == "isotropic" else 3
        return modes * stiffness * (period / (2 * math.pi)) ** 2

    def step(self, state: MDState, model: ModelInterface) -> MDState:
        """Advance every system by one time step; the state is changed in place and returned."""
        if self.ensemble == "nvt":
            return nvt_langevin_step(
                state, model, dt=self._dt, kT=self.kT_eV, gamma=self._friction
            )
        if self.barostat == "isotropic":
            assert isinstance(state, NPTLangevinIsotropicState)
            pressure = self._pressure_eV_per_A3
            return npt_langevin_isotropic_step(
                state, model, dt=self._dt, kT=self.kT_eV, external_pressure=pressure
            )
        assert isinstance(state, NPTLangevinAnisotropicState)
        pressure = self._pressure_eV_per_A3.unsqueeze(-1).expand(-1, 3)
        return npt_langevin_anisotropic_step(
            state, model, dt=self._dt, kT=self.kT_eV, external_pressure=pressure
        )

    def fresh_momenta(
        self, state: MDState, *, at_minimum: bool = False
    ) -> Float[Tensor, "atoms 3"]:
        """Draw Maxwell-Boltzmann momenta for every system from `state.rng`, at rest as a whole.

        They are hotter for systems `at_minimum`, as in `start`.
        """
        kT = self.kT_eV * (HEAT_AT_MINIMUM if at_minimum else 1.0)
        return initialize_momenta(state.positions, state.masses, state.system_idx, kT, state.rng)


def kinetic_temperature_K(state: MDState) -> Float[Tensor, " systems"]:
    """Kinetic temperature, 2 E_kin / (3 N k_B), of each system; all 3 N momenta are thermal."""
    energy = (state.momenta.square().sum(dim=1) / (2 * state.masses)).to(state.dtype)
    total = torch.zeros(state.cell.shape[0], dtype=state.dtype, device=state.device)
    total.index_add_(0, state.system_idx, energy)
    return 2 * total / (3 * state.n_atoms_per_system * BOLTZMANN_EV_PER_K)
