"""Real, cheap models for the laws of sampling."""

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.models.lennard_jones import LennardJonesModel
from torch_sim.state import SimState

ARGON_SIGMA_A = 3.405
ARGON_EPSILON_EV = 0.0104


def lennard_jones(
    *, epsilon_eV: float = ARGON_EPSILON_EV, dtype: torch.dtype = torch.float64
) -> LennardJonesModel:
    """Argon. The well may be made deeper, for stiffer and hotter crystals."""
    return LennardJonesModel(
        sigma=ARGON_SIGMA_A,
        epsilon=epsilon_eV,
        cutoff=2.2 * ARGON_SIGMA_A,
        compute_stress=True,
        dtype=dtype,
    )


class IdealGas(ModelInterface):
    """Atoms that do not see each other: every ensemble average is known in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self._device = torch.device("cpu")
        self._dtype = torch.float64
        self._compute_stress = True
        self._compute_forces = True

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        return {
            "energy": torch.zeros(state.n_systems, dtype=self.dtype),
            "forces": torch.zeros_like(state.positions),
            "stress": torch.zeros_like(state.cell),
        }


class Springs(ModelInterface):
    """Silicon atoms on a simple cubic lattice, each held to its own site: every average is known.

    Frequencies spread evenly over those of silicon, 4 to 16 THz. Without stress.
    """

    SPACING_A = 4.0

    def __init__(self, edge: int) -> None:
        super().__init__()
        self._device = torch.device("cpu")
        self._dtype = torch.float64
        self._compute_stress = False
        self._compute_forces = True
        self.edge = edge
        grid = np.indices((edge, edge, edge)).reshape(3, -1).T
        self.atoms = Atoms(f"Si{edge**3}", positions=grid * self.SPACING_A, pbc=True)
        self.atoms.set_cell([edge * self.SPACING_A] * 3)
        self.sites_A = torch.as_tensor(self.atoms.positions)
        angular_per_fs = 2 * np.pi * 1e-3 * torch.linspace(4, 16, edge**3, dtype=torch.float64)
        # 1 amu A^2/fs^2 = 103.643 eV.
        self.stiffness_eV_per_A2 = 28.085 * 103.643 * angular_per_fs.square()

    def displacements(self, positions: Tensor) -> Tensor:
        """Displacements from the sites, (systems, atoms, 3), also of wrapped positions."""
        apart = positions.reshape(-1, *self.sites_A.shape) - self.sites_A
        length = self.edge * self.SPACING_A
        return apart - length * (apart / length).round()

    def forward(self, state: SimState, **kwargs: object) -> dict[str, Tensor]:
        apart = self.displacements(state.positions)
        stiffness = self.stiffness_eV_per_A2[:, None]
        return {
            "energy": (stiffness * apart.square()).sum(dim=(1, 2)) / 2,
            "forces": (-stiffness * apart).reshape(-1, 3),
        }


def argon(
    a_A: float = 5.3,
    *,
    rattle_A: float = 0.0,
    skew: float = 0.0,
    seed: int = 0,
    symbol: str = "Ar",
) -> Atoms:
    """Cubic fcc cell of 4 atoms, rattled and strained at random."""
    atoms = bulk(symbol, "fcc", a=a_A, cubic=True)
    rng = np.random.default_rng(seed)
    atoms.positions += rattle_A * rng.normal(size=(len(atoms), 3))
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + skew * rng.normal(size=(3, 3))), scale_atoms=True
    )
    return atoms
