"""The entropy bias as an ASE calculator, for any ASE script."""

from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from torch_sim.io import atoms_to_state

from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.functional import Entropy
from entrove.errors import ConfigError, ModelError
from entrove.sampling.entropy_gradient import entropy_gradient

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class EntropyCalculator(Calculator):
    """E = E_base - kappa S for any ASE calculator `base` and a dataset.

    Energy in eV, forces in eV/A, stress in eV/A^3 (ASE's sign and Voigt order); all carry the bias.
    Whatever is asked for first, base and bias are computed together, so that no later question can
    get an unbiased or an old value: a change of the atoms, of `kappa_eV` or of the dataset clears
    all results. `results` also holds `base_energy` (eV), `base_forces` (eV/A) and `entropy`.

    Stress is given when the base has one. Raises `ConfigError` for a kappa that is negative or not finite.

    Example::

        atoms.calc = EntropyCalculator(EMT(), dataset, kappa_eV=2.0)
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "forces", "stress", "base_energy", "base_forces", "entropy",
    ]  # fmt: skip

    def __init__(
        self, base: Calculator, dataset: EntropyDataset, kappa_eV: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.base = base
        self.dataset = dataset
        self.kappa_eV = kappa_eV
        self._seen: tuple[float, Entropy] | None = None

    @property
    def kappa_eV(self) -> float:
        """Strength of the bias in eV."""
        return self._kappa_eV

    @kappa_eV.setter
    def kappa_eV(self, value: float) -> None:
        if not (np.isfinite(value) and value >= 0):
            raise ConfigError(
                f"kappa_eV={value} is not allowed; give a finite strength of zero or more, in eV"
            )
        self._kappa_eV = float(value)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Name what changed since the last calculation, the dataset and kappa included."""
        changes = list(super().check_state(atoms, tol=tol))
        # A dataset gives the same functional until it changes.
        if (
            self._seen is None
            or self._seen[0] != self.kappa_eV
            or self._seen[1] is not self.dataset.functional()
        ):
            changes.append("bias")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, forces and stress of base and bias together."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.results = {}
        functional = self.dataset.functional()
        energy = _number(self.base.get_potential_energy(self.atoms))
        forces = np.array(self.base.get_forces(self.atoms), dtype=float)
        state = atoms_to_state([self.atoms], device=torch.device("cpu"), dtype=torch.float64)
        slope = entropy_gradient(state, self.dataset.features, [functional])
        entropy = float(slope.entropy[0])
        self.results = {
            "energy": energy - self.kappa_eV * entropy,
            "forces": forces + self.kappa_eV * slope.positions.cpu().numpy(),
            "base_energy": energy,
            "base_forces": forces,
            "entropy": entropy,
        }
        # The bias has no electronic entropy of its own: it shifts both of the base's energies alike.
        self.results["free_energy"] = self._base_free_energy(self.atoms) - self.kappa_eV * entropy
        base_stress = self._base_stress(self.atoms)
        if base_stress is not None:
            bias = self.kappa_eV / self.atoms.get_volume() * slope.strain[0].cpu().numpy()
            self.results["stress"] = base_stress - np.array([bias[i, j] for i, j in VOIGT])
        self._seen = (self.kappa_eV, functional)

    def _base_free_energy(self, atoms: Atoms) -> float:
        try:
            return _number(self.base.get_potential_energy(atoms, force_consistent=True))
        except PropertyNotImplementedError:
            return _number(self.base.get_potential_energy(atoms))

    def _base_stress(self, atoms: Atoms) -> np.ndarray | None:
        if not atoms.pbc.all():
            return None
        try:
            return np.array(self.base.get_stress(atoms), dtype=float)
        except PropertyNotImplementedError:
            return None


def _number(value: float | None) -> float:
    """Turn what an ASE calculator gives for an energy into a plain float."""
    if value is None:
        raise ModelError("the base calculator gave no energy; check it on its own first")
    return float(value)
