"""A script that runs the potential in ASE or torch-sim, and the numbers that it must give."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from entrove.errors import ModelError
from entrove.export.agreement import (
    Check,
    Prediction,
    compare_predictions,
    predict_one_by_one,
)
from entrove.export.source import Source, example_for_md
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.models.registry import framework_named, load
from entrove.models.verify import rounding_of_energy
from entrove.structures import copy_structure, energy_of, forces_of, stress_of, write_structures

STRUCTURE = "structure.xyz"

ASE = '''\
"""{title} in ASE: energy, forces and stress of a structure, then molecular dynamics.

Needs: pip install 'entrove[{extra}]'
"""

from pathlib import Path

import numpy as np
from ase import units
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

import entrove

here = Path(__file__).resolve().parent
atoms = read(here / "{structure}")
atoms.calc = entrove.load_model(here / "model", device="cpu")  # or "cuda"

energy = atoms.get_potential_energy()  # eV
forces = atoms.get_forces()            # eV/Angstrom
print(f"energy {{energy:.6f}} eV, largest force {{np.abs(forces).max():.6f}} eV/Angstrom")
# What the bundle gave when this file was written; rounding differs between machines.
assert abs(energy - ({energy!r})) < {energy_tolerance!r}
assert abs(np.abs(forces).max() - ({force!r})) < {force_tolerance!r}

# Molecular dynamics; steps and temperature are yours to choose.
MaxwellBoltzmannDistribution(atoms, temperature_K={temperature!r}, rng=np.random.default_rng(1))
dynamics = Langevin(
    atoms,
    timestep=1.0 * units.fs,
    temperature_K={temperature!r},
    friction=0.01 / units.fs,
    rng=np.random.default_rng(2),
)
dynamics.run(10)
print(f"after 10 fs: {{atoms.get_temperature():.0f}} K")
'''

TORCH_SIM = '''\
"""{title} in torch-sim: a batch of structures at once, then molecular dynamics of the batch.

Needs: pip install 'entrove[{extra}]'
"""

from pathlib import Path

import torch_sim
from ase.io import read

import entrove

here = Path(__file__).resolve().parent
model = entrove.load_model(here / "model", kind="torchsim", device="cpu")  # or "cuda"
atoms = read(here / "{structure}")
state = torch_sim.initialize_state([atoms, atoms], model.device, model.dtype)

results = model(state)  # energy (systems,) in eV, forces (atoms, 3), stress (systems, 3, 3)
energies = results["energy"].tolist()
force = float(results["forces"].abs().max())
print(f"energies {{energies}} eV, largest force {{force:.6f}} eV/Angstrom")
# What the bundle gave when this file was written; rounding differs between machines.
assert all(abs(energy - ({energy!r})) < {energy_tolerance!r} for energy in energies)
assert abs(force - ({force!r})) < {force_tolerance!r}

# Molecular dynamics; steps and temperature are yours to choose.
final = torch_sim.integrate(
    system=[atoms, atoms],
    model=model,
    integrator=torch_sim.Integrator.nvt_langevin,
    n_steps=10,
    temperature={temperature!r},
    timestep=0.001,  # ps
)
print(f"after 10 steps: {{final.energy.tolist()}} eV")
'''

TEXTS = {"ase": ASE, "torch-sim": TORCH_SIM}


def write_script(
    source: Source,
    folder: Path,
    examples: Sequence[Atoms],
    structures: Sequence[Atoms],
    *,
    to: str,
    device: str,
) -> list[Check]:
    """Write a structure and a script for "ase" or "torch-sim", run it, and compare the two ways.

    Args:
        source: The bundle; a copy of it is at `folder / "model"` already.
        folder: The folder of the export.
        examples: Structures for the script, which runs the first one that can move.
        structures: Structures on which batches are compared with single evaluation.
        to: A key of `TEXTS`.
        device: "auto", "cpu" or "cuda": where the numbers are computed.

    Returns what was run.

    Raises `ModelError` when the script fails, or the numbers differ.
    """
    example = example_for_md([*examples, *structures])
    if example is None:
        raise ModelError(
            f"{source.folder}: neither the bundle nor its campaign has a structure to run, of "
            "several atoms or periodic; give some with --structures"
        )
    # At rest in a crystal all forces vanish, and nothing would be compared.
    example.rattle(0.05, seed=1)
    loaded = load(source.model_name, device=device)
    calculator = loaded.calculator()
    write_structures(folder / STRUCTURE, [example])
    script = folder / f"run_{to.replace('-', '_')}.py"
    script.write_text(_text(source, to, example, calculator), encoding="utf-8")
    _run(script)
    return [
        Check(script.name, note="it ended without an error, and gave the numbers in it"),
        _compare_batches(source, loaded, calculator, structures),
    ]


def _text(source: Source, to: str, example: Atoms, calculator: BaseCalculator) -> str:
    energy_eV, largest_force = _numbers(example, calculator)
    return TEXTS[to].format(
        title=source.name,
        extra=framework_named(source.bundle.framework).extra,
        structure=STRUCTURE,
        energy=round(energy_eV, 6),
        energy_tolerance=len(example)
        * (1e-4 + rounding_of_energy(energy_eV, energy_eV, len(example))),
        force=round(largest_force, 6),
        force_tolerance=1e-2,
        temperature=min(source.bundle.regime.temperatures_K, default=300.0),
    )


def _compare_batches(
    source: Source, loaded: LoadedModel, calculator: BaseCalculator, structures: Sequence[Atoms]
) -> Check:
    what = "batches of torch-sim against the framework's own ASE calculator, one by one"
    periodic = [atoms for atoms in structures if atoms.pbc.all()]
    if not periodic:
        reason = "no structure that is periodic in all directions; give some with --structures"
        return Check(what, note=reason, run=False)
    single = predict_one_by_one(calculator, periodic)
    batched = [_prediction(atoms) for atoms in predict(loaded, periodic)]
    agreement = compare_predictions(single, batched)
    if problems := agreement.problems():
        raise ModelError(
            f"{source.folder}: torch-sim and ASE give different results: "
            f"{'; '.join(problems)}; nothing was written. Please report this"
        )
    return Check(what, agreement)


def _numbers(atoms: Atoms, calculator: BaseCalculator) -> tuple[float, float]:
    work = copy_structure(atoms)
    work.calc = calculator
    return float(work.get_potential_energy()), float(np.abs(work.get_forces()).max())


def _prediction(atoms: Atoms) -> Prediction:
    return Prediction(energy_of(atoms), forces_of(atoms), stress_of(atoms))


def _run(script: Path) -> None:
    finished = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    if finished.returncode:
        last = finished.stderr.strip().splitlines()[-1:]
        raise ModelError(
            f"{script.name} fails on this machine: {' '.join(last)}; nothing was written"
        )
