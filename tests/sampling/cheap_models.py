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
        sigma=ARGON_SIGMA_A, epsilon=epsilon_eV, cutoff=2.2 * ARGON_SIGMA_A, compute_stress=True, dtype=dtype
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


def argon(
    a_A: float = 5.3, *, rattle_A: float = 0.0, skew: float = 0.0, seed: int = 0, symbol: str = "Ar"
) -> Atoms:
    """Cubic fcc cell of 4 atoms, rattled and strained at random."""
    atoms = bulk(symbol, "fcc", a=a_A, cubic=True)
    rng = np.random.default_rng(seed)
    atoms.positions += rattle_A * rng.normal(size=(len(atoms), 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + skew * rng.normal(size=(3, 3))), scale_atoms=True)
    return atoms
