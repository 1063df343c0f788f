"""Check whether MD with a potential stays physical, and whether it conserves energy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch_sim
from ase import Atoms
from ase.data import covalent_radii
from torch_sim.integrators import (
    MDState,
    nve_init,
    nve_step,
    nvt_langevin_init,
    nvt_langevin_step,
)
from torch_sim.models.interface import ModelInterface
from torch_sim.units import MetalUnits

from entrove.sampling.batch import gather_batch
from entrove.sampling.precision import in_double
from entrove.structures import copy_structure
from entrove.units import BOLTZMANN_EV_PER_K

SHORTEST_OVER_RADII = 0.5
"""Two atoms have collapsed when their distance over the sum of covalent radii is below this."""
HOTTEST_OVER_START = 3.0
"""A trajectory heats up when its kinetic energy exceeds this multiple of the initial one."""
FRICTION_PER_FS = 0.01
"""Friction of the Langevin thermostat in 1/fs: its time constant is 100 fs."""
BLOCKS = 10
"""Blocks of a trajectory whose means tell how well a drift is known."""


@dataclass(frozen=True)
class Stability:
    """The result of one trajectory.

    Attributes:
        stable, reason: Whether it stayed physical; if not, why.
        steps: Number of MD steps.
        drift_meV_per_atom_per_ps: Slope of a straight line fitted to the shadow energy; a measure
            of the potential only without a thermostat. NaN with fewer than 7 steps.
        drift_error_meV_per_atom_per_ps: Standard error of the drift, from block averages.
        noise_meV_per_atom: Standard deviation of the total energy around a straight line.
        mean_temperature_K: Mean kinetic temperature in K, of the motion relative to the centre of
            mass, with 3 (N - 1) degrees of freedom.
        shortest_distance_A: Shortest distance between two atoms at the steps that were checked, in
            Angstrom.
        times_ps, energies_meV_per_atom, temperatures_K: The trajectory: time in ps, total energy
            relative to the start in meV/atom, and kinetic temperature in K, each of shape
            (steps + 1,).
        shadow_energies_meV_per_atom: The shadow energy relative to the total energy at the start,
            in meV/atom, shape (steps + 1,); NaN at the first and last step.

    The total energy H is not what velocity Verlet conserves with a step h: it wavers by O(h^2),
    and rises while a crystal that began at its minimum equilibrates. The shadow energy is
    conserved to O(h^4) by forces F that are the gradient of the energy, so that its slope is that
    of the potential:

        H + h^2 (v . V'' v / 12 - F . F/m / 24),

    where V'' v is minus the slope of the forces, by their central difference. Ref: Engle, Skeel &
    Drees, J. Comput. Phys. 206, 432 (2005); Hairer, Lubich & Wanner, Acta Numerica 12, 399 (2003).
    """

    stable: bool
    reason: str
    steps: int
    drift_meV_per_atom_per_ps: float
    drift_error_meV_per_atom_per_ps: float
    noise_meV_per_atom: float
    mean_temperature_K: float
    shortest_distance_A: float
    times_ps: np.ndarray = field(repr=False, compare=False)
    energies_meV_per_atom: np.ndarray = field(repr=False, compare=False)
    temperatures_K: np.ndarray = field(repr=False, compare=False)
    shadow_energies_meV_per_atom: np.ndarray = field(repr=False, compare=False)


def nve_stability(
    structures: Sequence[Atoms],
    model: ModelInterface,
    *,
    temperature_K: float,
    steps: int = 1000,
    timestep_fs: float = 1.0,
    check_every: int = 50,
    seed: int = 0,
) -> list[Stability]:
    """Run structures in one batch in the NVE ensemble, and check each trajectory.

    Args:
        structures: Relaxed crystals, of any size; their atoms have the masses that they carry.
        model: A torch-sim model.
        temperature_K: Mean temperature to aim at, in K. Velocities are drawn at twice this
            temperature, because from a relaxed crystal half of the kinetic energy becomes
            potential energy (equipartition in the harmonic limit).
        steps, timestep_fs: Number of MD steps, and the time step in fs.
        check_every: Distances are checked every so many steps.
        seed: Seed of the velocities.

    Returns one result per structure. A trajectory is unstable when energies or positions are no
    longer finite, two atoms collapse, or the kinetic energy exceeds `HOTTEST_OVER_START` times its
    initial value.
    """
    model = in_double(model)
    timestep = timestep_fs * 1e-3 * MetalUnits.time
    return _run(
        structures,
        model,
        lambda batch: nve_init(batch, model, kT=2.0 * temperature_K * BOLTZMANN_EV_PER_K),
        lambda state: nve_step(state, model, dt=timestep),
        steps=steps,
        timestep_fs=timestep_fs,
        check_every=check_every,
        seed=seed,
    )


def nvt_stability(
    structures: Sequence[Atoms],
    model: ModelInterface,
    *,
    temperature_K: float,
    steps: int = 1000,
    timestep_fs: float = 1.0,
    check_every: int = 50,
    seed: int = 0,
) -> list[Stability]:
    """Run structures in one batch with a Langevin thermostat, and check each trajectory.

    Args:
        structures, model, steps, timestep_fs, check_every, seed: As for `nve_stability`.
        temperature_K: Temperature of the thermostat, and of the first velocities, in K.

    Returns one result per structure. A trajectory is unstable for the same reasons as without a
    thermostat: energies that are not finite, collapse, a kinetic energy above
    `HOTTEST_OVER_START` times the initial one.
    """
    model = in_double(model)
    timestep = timestep_fs * 1e-3 * MetalUnits.time
    friction = FRICTION_PER_FS / (1e-3 * MetalUnits.time)
    energy = temperature_K * BOLTZMANN_EV_PER_K
    return _run(
        structures,
        model,
        lambda batch: nvt_langevin_init(batch, model, kT=energy),
        lambda state: nvt_langevin_step(state, model, dt=timestep, kT=energy, gamma=friction),
        steps=steps,
        timestep_fs=timestep_fs,
        check_every=check_every,
        seed=seed,
    )


def _run(
    structures: Sequence[Atoms],
    model: ModelInterface,
    begin: Callable[[torch_sim.SimState], MDState],
    advance: Callable[[MDState], MDState],
    *,
    steps: int,
    timestep_fs: float,
    check_every: int,
    seed: int,
) -> list[Stability]:
    batch = gather_batch(structures, model)
    batch.rng = seed
    state = begin(batch)
    totals, kinetics, temperatures, distances = [], [], [], []
    shadow = _ShadowCorrections(timestep_fs)
    for step in range(steps + 1):
        if step:
            state = advance(state)
        kinetic = _kinetic_energies(state)
        kinetics.append(kinetic)
        temperatures.append(_temperatures_K(state, kinetic))
        totals.append(state.energy.detach().double().cpu().numpy() + kinetic)
        shadow.add(state)
        if step % check_every == 0 or step == steps:
            distances.append(_shortest_over_radii(state, structures))
    times_ps = np.arange(steps + 1) * timestep_fs * 1e-3
    shadows = np.array(totals) + shadow.corrections_eV()
    return [
        _assess(
            times_ps,
            np.array([total[index] for total in totals]),
            shadows[:, index],
            np.array([kinetic[index] for kinetic in kinetics]),
            np.array([temperature[index] for temperature in temperatures]),
            np.array([distance[index] for distance in distances]),
            len(atoms),
        )
        for index, atoms in enumerate(structures)
    ]


class _ShadowCorrections:
    """Collects, step by step, what is added to total energies for the shadow energies."""

    def __init__(self, timestep_fs: float) -> None:
        self.timestep = timestep_fs * 1e-3 * MetalUnits.time
        self.squares: list[np.ndarray] = []  # F . F/m of each step
        self.ahead: list[np.ndarray] = []  # v . F, the forces being those of the next step
        self.behind: list[np.ndarray] = []  # v . F, the forces being those of the step before
        self.last: tuple[torch.Tensor, torch.Tensor] | None = None

    def add(self, state: MDState) -> None:
        """Take velocities and forces of the next step."""
        masses = state.masses.double()[:, None]
        velocities = state.momenta.detach().double() / masses
        forces = state.forces.detach().double().clone()  # the next step may write into it
        self.squares.append(_sum_over_atoms(state, forces**2 / masses))
        if self.last is not None:
            velocities_before, forces_before = self.last
            self.ahead.append(_sum_over_atoms(state, velocities_before * forces))
            self.behind.append(_sum_over_atoms(state, velocities * forces_before))
        self.last = velocities, forces

    def corrections_eV(self) -> np.ndarray:
        """Return h^2 (v . V'' v / 12 - F . F/m / 24) in eV, shape (steps + 1, systems).

        NaN at the first and the last step, which have forces on one side only.
        """
        squares = np.array(self.squares)
        curvatures = np.full_like(squares, np.nan)
        if len(self.ahead) > 1:
            slopes = np.array(self.ahead[1:]) - np.array(self.behind[:-1])
            curvatures[1:-1] = -slopes / (2.0 * self.timestep)
        return self.timestep**2 * (curvatures / 12.0 - squares / 24.0)


def _sum_over_atoms(state: torch_sim.SimState, vectors: torch.Tensor) -> np.ndarray:
    """Sum all components of (atoms, 3) in each system."""
    sums = torch.zeros(state.n_systems, dtype=torch.float64, device=vectors.device)
    return sums.index_add(0, state.system_idx, vectors.sum(dim=1)).cpu().numpy()


def _kinetic_energies(state: torch_sim.SimState) -> np.ndarray:
    momenta, masses = state.momenta.detach().double(), state.masses.double()
    return _sum_over_atoms(state, momenta**2 / (2.0 * masses[:, None]))


def _temperatures_K(state: torch_sim.SimState, kinetic: np.ndarray) -> np.ndarray:
    """Kinetic temperature of each system, without the motion of its centre of mass.

    That rests without a thermostat, and the Langevin thermostat heats it as every other motion.
    A single atom has its own motion only.
    """
    momenta, masses = state.momenta.detach().double(), state.masses.double()
    total_momenta = torch.zeros(state.n_systems, 3, dtype=torch.float64, device=momenta.device)
    total_momenta.index_add_(0, state.system_idx, momenta)
    total_masses = torch.zeros_like(total_momenta[:, 0])
    total_masses.index_add_(0, state.system_idx, masses)
    of_centre = ((total_momenta**2).sum(dim=1) / (2.0 * total_masses)).cpu().numpy()
    atoms = torch.bincount(state.system_idx, minlength=state.n_systems).cpu().numpy()
    internal = np.where(atoms > 1, kinetic - of_centre, kinetic)
    return internal * 2.0 / (3.0 * np.maximum(1, atoms - 1) * BOLTZMANN_EV_PER_K)


def _shortest_over_radii(
    state: torch_sim.SimState, structures: Sequence[Atoms]
) -> list[tuple[float, float]]:
    """Return for each system its shortest distance in A, and its least distance over radii.

    The latter is the distance of two atoms over the sum of their covalent radii.
    """
    from ase.neighborlist import neighbor_list

    shortest = []
    start = 0
    for atoms in structures:
        now = copy_structure(atoms)
        now.positions = state.positions[start : start + len(atoms)].detach().double().cpu().numpy()
        start += len(atoms)
        if not np.isfinite(now.positions).all():
            shortest.append((float("nan"), float("nan")))
            continue
        first, second, distances = neighbor_list("ijd", now, 4.0)
        if len(distances) == 0:
            shortest.append((float("inf"), float("inf")))
            continue
        radii = covalent_radii[now.numbers]
        shortest.append(
            (float(distances.min()), float((distances / (radii[first] + radii[second])).min()))
        )
    return shortest


def _assess(
    times_ps: np.ndarray,
    total: np.ndarray,
    shadow: np.ndarray,
    kinetic: np.ndarray,
    temperatures: np.ndarray,
    distances: np.ndarray,
    atoms: int,
) -> Stability:
    steps = len(times_ps) - 1
    shortest = (
        float(np.nanmin(distances[:, 0])) if not np.isnan(distances[:, 0]).all() else float("nan")
    )
    reason = ""
    if not np.isfinite(total).all():
        reason = (
            f"energy or positions are not finite after step {int(np.argmin(np.isfinite(total)))}"
        )
    elif np.nanmin(distances[:, 1]) < SHORTEST_OVER_RADII:
        reason = f"two atoms came as close as {shortest:.2f} A"
    elif kinetic.max() > HOTTEST_OVER_START * kinetic[0]:
        reason = f"kinetic energy rose to {kinetic.max() / kinetic[0]:.1f} times its initial value"
    drift = error = noise = float("nan")
    if np.isfinite(total).all() and steps > 1:
        drift, error = fit_drift(times_ps[1:-1], 1000.0 * shadow[1:-1] / atoms)
        slope, offset = np.polyfit(times_ps, total, 1)
        noise = 1000.0 * float(np.std(total - slope * times_ps - offset)) / atoms
    return Stability(
        stable=not reason,
        reason=reason or "stable",
        steps=steps,
        drift_meV_per_atom_per_ps=drift,
        drift_error_meV_per_atom_per_ps=error,
        noise_meV_per_atom=noise,
        mean_temperature_K=float(np.nanmean(temperatures)),
        shortest_distance_A=shortest,
        times_ps=times_ps,
        energies_meV_per_atom=1000.0 * (total - total[0]) / atoms,
        temperatures_K=temperatures,
        shadow_energies_meV_per_atom=1000.0 * (shadow - total[0]) / atoms,
    )


def fit_drift(times_ps: np.ndarray, energies: np.ndarray) -> tuple[float, float]:
    """Fit a straight line to energies, and say how well its slope is known.

    Args:
        times_ps: Times in ps at even distances, shape (points,).
        energies: Energies in any unit, shape (points,).

    Returns the slope and its standard error, in that unit per ps. The line goes through the means
    of `BLOCKS` blocks, or of pairs where there are fewer points; the error is that of their
    scatter around it, since neighbouring points of a trajectory are not independent. NaN with
    fewer than three blocks.
    """
    blocks = min(BLOCKS, len(times_ps) // 2)
    if blocks < 3:
        return float("nan"), float("nan")
    times = np.array([part.mean() for part in np.array_split(times_ps, blocks)])
    means = np.array([part.mean() for part in np.array_split(energies, blocks)])
    slope, offset = np.polyfit(times, means, 1)
    scatter = ((means - slope * times - offset) ** 2).sum() / (blocks - 2)
    return float(slope), float(np.sqrt(scatter / ((times - times.mean()) ** 2).sum()))
