"""Trajectories of the walkers as ASE `.traj` files, which `ase.io.read` and `ase gui` read."""

from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from torch_sim.integrators.md import MDState

from entrove.files import replacing
from entrove.provenance import KAPPA, STEP, WALKER
from entrove.sampling.walkers.grid import Walker


class TrajectoryRecorder:
    """Collects the frames of a chunk (`on_frame` of `run_chunk`); writes one file per walker.

    Frames carry positions, cell, momenta, and energy (eV) and forces (eV/A) of the model without
    bias, with `entrove_step`, `entrove_walker` and `entrove_kappa_eV` in `info`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._frames: dict[int, list[Atoms]] = {}

    def __call__(self, step: int, walkers: list[Walker], md: MDState) -> None:
        """Keep a copy of every walker."""
        energies, kappas = md.base_energy.tolist(), md.kappa_eV.tolist()
        starts = [0, *md.n_atoms_per_system.cumsum(0).tolist()]
        for row, (walker, atoms) in enumerate(zip(walkers, md.to_atoms(), strict=True)):
            rows = slice(starts[row], starts[row + 1])
            # ASE counts momenta in its own unit of time, which is torch-sim's: sqrt(amu A^2 / eV).
            atoms.set_momenta(md.momenta[rows].cpu().numpy())
            atoms.info |= {
                STEP: step,
                WALKER: walker.index,
                KAPPA: kappas[row],
            }
            forces = md.base_forces[rows].cpu().numpy()
            atoms.calc = SinglePointCalculator(atoms, energy=energies[row], forces=forces)
            self._frames.setdefault(walker.index, []).append(atoms)

    def write_chunk(self, chunk: int) -> list[Path]:
        """Write `walker-0003/chunk-0012.traj` for each walker and forget the frames.

        A file is replaced in one step, so a chunk that is run again after an interruption leaves
        one copy.
        """
        paths = []
        for index, frames in sorted(self._frames.items()):
            folder = self.folder / f"walker-{index:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"chunk-{chunk:04d}.traj"
            with replacing(path) as unfinished:
                write(unfinished, frames, format="traj")
            paths.append(path)
        self._frames = {}
        return paths
