"""NequIP and Allegro for LAMMPS: files that `nequip-compile` writes for their pair styles.

`evaluate` gives the file what the pair style gives it. nequip: positions of the atoms, edges
within the cell and the lattice vectors that they cross. allegro: positions of the atoms and of
their periodic images (LAMMPS' ghost atoms), edges from an atom to an atom or an image; forces on
images are added to their atoms.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from entrove._optional import require
from entrove.errors import ModelError
from entrove.export.agreement import Prediction
from entrove.export.lammps.interface import PairStyle
from entrove.models.nequip.loading import load_nequip, nequip_settings
from entrove.models.nequip.model import NequIPModel

FILE = "potential.nequip.pt2"

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Atom, neighbour, and the lattice vector between the neighbour and its image: (edges,) and
(edges, 3)."""

HOW_TO_BUILD = """\
The pair styles `nequip` and `allegro` are in the repository `pair_nequip_allegro` of NequIP's
developers (github.com/mir-group/pair_nequip_allegro). Its README says how its sources are copied
into those of LAMMPS and built with LibTorch; files that were compiled with AOTInductor, like this
one, need `-DNEQUIP_AOT_COMPILE=ON` and the version of LibTorch that compiled them.

A compiled file belongs to the kind of processor that it was compiled for. Write it on the machine
where LAMMPS will run, for a GPU with `entrove export ... --device cuda`.

Files for ML-IAP are written by NequIP itself: `nequip-prepare-lmp-mliap CHECKPOINT
potential.nequip.lmp.pt`; they need a LAMMPS that is built with ML-IAP and Python, and were not
tried here.
"""


class NequIPForLammps:
    """Writes compiled files for the pair styles nequip and allegro."""

    how_to_build = HOW_TO_BUILD
    what_python_runs = "the compiled file, in Python, with the inputs that its pair style gives it"

    def write(self, model_name: str, checkpoint: Path, folder: Path, device: str) -> PairStyle:
        """Compile `potential.nequip.pt2` with `nequip-compile`, which takes a minute or more."""
        del model_name  # these models have a single fidelity
        require("nequip", extra="nequip")
        name = "allegro" if _is_allegro(checkpoint) else "nequip"
        command = [
            *(sys.executable, "-m", "nequip.scripts.compile"),
            *(str(checkpoint), str(folder / FILE)),
            *("--mode", "aotinductor", "--device", device, "--target", f"pair_{name}"),
        ]
        finished = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        if finished.returncode or not (folder / FILE).is_file():
            last = (finished.stderr or finished.stdout).strip().splitlines()[-1:]
            raise ModelError(
                f"{checkpoint}: nequip-compile failed ({' '.join(last)}); it needs a C++ "
                f"compiler; run it yourself to see all of its output: {' '.join(command)}"
            )
        if name == "allegro":
            return PairStyle("allegro", FILE, "on", "any number of MPI ranks")
        return PairStyle("nequip", FILE, "off", "one MPI rank")

    def evaluate(
        self, folder: Path, style: PairStyle, structures: Sequence[Atoms], device: str
    ) -> list[Prediction]:
        """Evaluate the compiled file as its pair style does."""
        inference = require("nequip.model.inference_models", extra="nequip")
        with nequip_settings():
            module, metadata = inference.load_compiled_model(str(folder / style.file), device)
            types = {name: index for index, name in enumerate(metadata["type_names"])}
            inputs = _inputs_allegro if style.name == "allegro" else _inputs_nequip
            return [
                _evaluate(module, atoms, *inputs(atoms, types, _edges(atoms, metadata)), device)
                for atoms in structures
            ]


def _is_allegro(checkpoint: Path) -> bool:
    model = load_nequip(str(checkpoint), device="cpu").model
    assert isinstance(model, NequIPModel)
    # By name: a packaged model brings classes of its own.
    return any("Allegro" in type(part).__name__ for part in model.network.module.modules())


def _edges(atoms: Atoms, metadata: dict[str, Any]) -> Edges:
    """Pairs within the cutoff of the model, or of the two species where it has several."""
    source, target, shifts, distances = neighbor_list("ijSd", atoms, float(metadata["r_max"]))
    by_species = metadata.get("per_edge_type_cutoff")
    if by_species is not None:
        symbols = list(atoms.symbols)
        cutoffs_A = np.array(
            [by_species[symbols[i]][symbols[j]] for i, j in zip(source, target, strict=True)]
        )
        kept = distances <= cutoffs_A
        source, target, shifts = source[kept], target[kept], shifts[kept]
    return source, target, shifts


def _inputs_nequip(
    atoms: Atoms, types: dict[str, int], edges: Edges
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    source, target, shifts = edges
    inputs = {
        "pos": atoms.positions,
        "edge_index": np.stack([source, target]),
        "atom_types": np.array([types[symbol] for symbol in atoms.symbols]),
        "cell": atoms.cell.array[None],
        "edge_cell_shift": shifts.astype(float),
    }
    return inputs, np.arange(len(atoms))


def _inputs_allegro(
    atoms: Atoms, types: dict[str, int], edges: Edges
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    source, target, shifts = edges
    # Every pair of an atom and a lattice vector that an edge leads to is one image.
    keys = np.column_stack([target, shifts])
    outside = np.flatnonzero(shifts.any(axis=1))
    images, inverse = np.unique(keys[outside], axis=0, return_inverse=True)
    target = target.copy()
    target[outside] = len(atoms) + inverse.reshape(-1)
    owners = np.concatenate([np.arange(len(atoms)), images[:, 0]]).astype(int)
    moved = atoms.positions[images[:, 0]] + images[:, 1:] @ atoms.cell.array
    inputs = {
        "pos": np.concatenate([atoms.positions, moved]),
        "edge_index": np.stack([source, target]),
        "atom_types": np.array([types[symbol] for symbol in atoms.symbols])[owners],
    }
    return inputs, owners


def _evaluate(
    module: Any, atoms: Atoms, inputs: dict[str, np.ndarray], owners: np.ndarray, device: str
) -> Prediction:
    output = module({key: torch.tensor(value, device=device) for key, value in inputs.items()})
    energies, on_all, virial = (
        output[key].detach().cpu().numpy() for key in ("atomic_energy", "forces", "virial")
    )
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, owners, on_all)
    stress = -virial.reshape(3, 3) / atoms.get_volume()
    return Prediction(
        float(energies.reshape(-1)[: len(atoms)].sum()),
        forces,
        ((stress + stress.T) / 2)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    )
