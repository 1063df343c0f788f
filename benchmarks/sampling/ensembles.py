"""Temperature, pressure and volume of the ensembles against theory, in standard errors.

Every system of a batch is an independent run, and its mean over time is one block: the standard
error is that of the blocks. Theory: NVT, mean T and variance 2 T^2 / (3 N) of the kinetic
temperature. NPT samples V^N exp(-(U + P V) / kT) d ln V (see `entrove.sampling.walkers.dynamics`):
an ideal gas has the mean volume N kT / P and the variance N (kT / P)^2; for anything <(P_ii - P)
V> = 0 on every axis that is free, and -d<V>/dP = var V / kT, here integrated over pressure by
Simpson's rule.

Run: OMP_NUM_THREADS=1 python benchmarks/sampling/ensembles.py
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from ase import Atoms
from ase.build import bulk
from provenance import write_result
from torch import Tensor
from torch_sim.integrators.md import MDState
from torch_sim.models.interface import ModelInterface

from entrove.sampling.batch import gather_batch
from entrove.sampling.walkers.dynamics import Dynamics, kinetic_temperature_K
from entrove.units import BOLTZMANN_EV_PER_K, EV_PER_A3_IN_GPA

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "sampling"))

from cheap_models import IdealGas, argon, lennard_jones

LARGEST_DEVIATION = 3.0
SEED = 0
LJ_TEMPERATURE_K, LJ_PRESSURES_GPA = 30.0, (0.1, 0.35, 0.6)
GAS_TEMPERATURE_K, GAS_VOLUMES_A3 = 300.0, (700.0, 1000.0)


def run(
    model: ModelInterface,
    structures: list[Atoms],
    temperature_K: float,
    pressures_GPa: Tensor,
    observe: Callable[[MDState], Tensor],
    *,
    first: int,
    samples: int,
    apart: int,
    **settings: object,
) -> Tensor:
    """Observations, (samples, systems, ...), after `first` steps, every `apart` steps."""
    state = gather_batch(structures, model)
    state.rng = torch.Generator().manual_seed(SEED)
    temperatures = torch.full((len(structures),), temperature_K, dtype=torch.float64)
    dynamics = Dynamics(
        temperatures, pressures_GPa, timestep_fs=4.0, friction_per_fs=0.02, **settings
    )
    md = dynamics.start(state, model)
    for _ in range(first):
        md = dynamics.step(md, model)
    rows = []
    for _ in range(samples):
        for _ in range(apart):
            md = dynamics.step(md, model)
        rows.append(observe(md))
    return torch.stack(rows)


def compare(blocks: Tensor, expected: float) -> dict[str, float]:
    """Mean of independent blocks against theory."""
    error = float(blocks.std() / len(blocks) ** 0.5)
    mean = float(blocks.mean())
    return {
        "measured": mean,
        "standard_error": error,
        "theory": expected,
        "deviation_in_standard_errors": (mean - expected) / error,
    }


def squares(seen: Tensor) -> Tensor:
    """Mean squared deviation from the mean of all, of each system."""
    return (seen - seen.mean()).square().mean(dim=0)


def temperatures(
    model: ModelInterface, structure: Atoms, target_K: float, copies: int, samples: int
) -> dict:
    seen = run(
        model,
        [structure] * copies,
        target_K,
        torch.zeros(copies, dtype=torch.float64),
        kinetic_temperature_K,
        first=200,
        samples=samples,
        apart=10,
    )
    variance = 2 * target_K**2 / (3 * len(structure))
    return {
        "mean_K": compare(seen.mean(dim=0), target_K),
        "variance_K2": compare(squares(seen), variance),
    }


def gas_volumes() -> dict:
    """Two pressures in one batch."""
    atoms, copies = 6, 200
    kT = GAS_TEMPERATURE_K * BOLTZMANN_EV_PER_K
    gas = Atoms(
        "Ar6", positions=torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) * 9, pbc=True
    )
    gas.set_cell([9.0, 9.0, 9.0])
    pressures = torch.tensor(
        [atoms * kT / volume for volume in GAS_VOLUMES_A3], dtype=torch.float64
    )
    seen = run(
        IdealGas(),
        [gas] * (2 * copies),
        GAS_TEMPERATURE_K,
        pressures.repeat(copies) * EV_PER_A3_IN_GPA,
        lambda md: torch.det(md.cell),
        first=400,
        samples=100,
        apart=40,
        ensemble="npt",
        barostat_time_fs=100.0,
    )
    found = {}
    for row, pressure in enumerate(pressures.tolist()):
        own, scale = seen[:, row::2], kT / pressure
        found[f"{pressure * EV_PER_A3_IN_GPA:.4f} GPa"] = {
            "mean_volume_A3": compare(own.mean(dim=0), atoms * scale),
            "variance_A6": compare(squares(own), atoms * scale**2),
        }
    return found


def crystal_pressures(barostat: str, crystal: Atoms, copies: int) -> dict:
    kT = LJ_TEMPERATURE_K * BOLTZMANN_EV_PER_K
    pressures = torch.tensor(LJ_PRESSURES_GPA, dtype=torch.float64)
    of_all = pressures.repeat(copies)

    def work_and_volume(md: MDState) -> Tensor:
        volume = torch.det(md.cell)[:, None]
        internal = len(crystal) * kT - md.stress.diagonal(dim1=1, dim2=2) * volume
        return torch.cat([internal - of_all[:, None] / EV_PER_A3_IN_GPA * volume, volume], dim=1)

    seen = run(
        lennard_jones(),
        [crystal] * (3 * copies),
        LJ_TEMPERATURE_K,
        of_all,
        work_and_volume,
        first=400,
        samples=250,
        apart=10,
        ensemble="npt",
        barostat=barostat,
        barostat_time_fs=300.0,
    )
    work = seen[..., :3].mean(dim=0)
    axes = (
        {"xyz": work.mean(dim=1)}
        if barostat == "isotropic"
        else dict(zip("xyz", work.T, strict=True))
    )
    found = {
        f"mean (P_internal - P) V along {axis} at {pressure:g} GPa, eV": compare(
            values[row::3], 0.0
        )
        for row, pressure in enumerate(LJ_PRESSURES_GPA)
        for axis, values in axes.items()
    }
    volume = seen[..., 3].reshape(len(seen), copies, 3)
    mean = volume.mean(dim=0)
    variance = (volume - mean.mean(dim=0)).square().mean(dim=0)
    span = (LJ_PRESSURES_GPA[2] - LJ_PRESSURES_GPA[0]) / EV_PER_A3_IN_GPA
    predicted = (variance[:, 0] + 4 * variance[:, 1] + variance[:, 2]) / 6 * span / kT
    shrinkage = compare(mean[:, 0] - mean[:, 2] - predicted, 0.0)
    return found | {
        "shrinkage from 0.1 to 0.6 GPa less that of the volume fluctuation, A^3": shrinkage
        | {"shrinkage_A3": float((mean[:, 0] - mean[:, 2]).mean())}
    }


def deviations(numbers: dict) -> list[float]:
    """All deviations of a nested result."""
    own = numbers.get("deviation_in_standard_errors")
    below = [
        value
        for group in numbers.values()
        if isinstance(group, dict)
        for value in deviations(group)
    ]
    return below if own is None else [own]


def main() -> None:
    began = time.perf_counter()
    gas = Atoms("Ar5", positions=[[2 * i, i, 0] for i in range(5)], cell=[9, 9, 9], pbc=True)
    cubic, skewed = argon(5.2), bulk("Ar", "fcc", a=5.2).repeat((2, 2, 1))
    numbers = {
        "NVT, ideal gas": temperatures(IdealGas(), gas, 300.0, copies=300, samples=200),
        "NVT, Lennard-Jones": temperatures(
            lennard_jones(), argon(5.3), 40.0, copies=60, samples=150
        ),
        "NPT, ideal gas": gas_volumes(),
        "NPT isotropic, Lennard-Jones": crystal_pressures("isotropic", cubic, copies=40),
        "NPT per axis, Lennard-Jones, skewed cell": crystal_pressures(
            "anisotropic", skewed, copies=40
        ),
    }
    found = deviations(numbers)
    numbers["largest_deviation_in_standard_errors"] = max(map(abs, found))
    numbers["comparisons"] = len(found)
    numbers["within_the_claim"] = max(map(abs, found)) < LARGEST_DEVIATION
    numbers["seconds"] = time.perf_counter() - began
    write_result(
        "ensembles",
        "mean and fluctuation of temperature, pressure and volume are within 3 standard errors "
        "of theory",
        numbers,
        seed=SEED,
        timestep_fs=4.0,
        friction_per_fs=0.02,
    )


if __name__ == "__main__":
    main()
