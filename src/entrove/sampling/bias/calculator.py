"""The entropy bias as an ASE calculator, for any ASE script."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from torch_sim.io import atoms_to_state

from entrove.entropy.dataset import EntropyDataset
from entrove.entropy.functional import Bias, Entropy
from entrove.entropy.storage import as_json, differences
from entrove.errors import ConfigError, ModelError, StructureError
from entrove.features import FeatureMap
from entrove.sampling.bias.entropy_bias import check_strength
from entrove.sampling.bias.entropy_gradient import entropy_gradient

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class EntropyCalculator(Calculator):
    """E = E_base - kappa S for any ASE calculator and a dataset, or any other entropy.

    Args:
        base: The ASE calculator to bias.
        dataset: An `EntropyDataset`, whose additions take effect at once; a `Bias`, such as
            `dataset.bias()`, which stays as it is; or an entropy without a dataset, such as
            `LocalEntropy`, with `features`.
        kappa_eV: Strength of the bias in eV.
        features: Feature map of an entropy without a dataset.

    Energy in eV, forces in eV/A, stress in eV/A^3 (ASE's sign and Voigt order); all include the
    bias. `results` also holds `base_energy` (eV), `base_forces` (eV/A) and `entropy`
    (dimensionless). Stress is given for cells with a volume that are periodic in some direction,
    when the base has one.

    Base and bias are always computed together, so that no order of requests, with atoms or
    without, returns an unbiased or an outdated value: a change of the atoms, of `kappa_eV`, of the
    dataset, of the base, or of a value in the base's `parameters` causes a new calculation. (A
    base that changes without such a sign, for example by training, needs `reset()` of both.)

    Raises `ConfigError` for a kappa that is negative or not finite, and for features that are
    missing or not those of the dataset.

    Example::

        atoms.calc = EntropyCalculator(EMT(), dataset, kappa_eV=2.0)
        atoms.calc = EntropyCalculator(
            EMT(), LocalEntropy(), kappa_eV=0.1, features=GaussianOverlap()
        )
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "forces", "stress", "base_energy", "base_forces", "entropy",
    ]  # fmt: skip

    def __init__(
        self,
        base: Calculator,
        dataset: EntropyDataset | Bias | Entropy,
        kappa_eV: float = 1.0,
        *,
        features: FeatureMap | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.base = base
        self._given_features = features
        self._last_inputs: _Inputs | None = None
        self.dataset = dataset
        self.kappa_eV = kappa_eV

    @property
    def dataset(self) -> EntropyDataset | Bias | Entropy:
        """What the bias is taken from."""
        return self._dataset

    @dataset.setter
    def dataset(self, value: EntropyDataset | Bias | Entropy) -> None:
        bias_of(value, self._given_features)  # raises where the two cannot be used together
        self._dataset = value
        self.results = {}

    @property
    def kappa_eV(self) -> float:
        """Strength of the bias in eV."""
        return self._kappa_eV

    @kappa_eV.setter
    def kappa_eV(self, value: float) -> None:
        check_strength(value)
        self._kappa_eV = float(value)
        self.results = {}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Name what changed since the last calculation: parts of the atoms, else `bias`."""
        changes = list(super().check_state(atoms, tol=tol))
        return changes if self._is_up_to_date() else [*changes, "bias"]

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a result for these atoms, or for those of the last calculation.

        Raises `StructureError` when no atoms are given and none were before.
        """
        if atoms is None:
            if self.atoms is None:
                raise StructureError(
                    "no structure is known yet; ask an ase.Atoms that has this calculator, or "
                    "pass atoms="
                )
            # ASE checks for changes only when it is given atoms.
            if not self._is_up_to_date():
                self.results = {}
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, forces and stress of base and bias together.

        Raises `StructureError` for atoms that have no features.
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.results = {}
        now = self._present_inputs()
        if (
            self._last_inputs is not None
            and self._last_inputs.base is now.base
            and not self._last_inputs.has_parameters_of(now)
        ):
            self.base.reset()  # not every ASE calculator drops its results when it is set
        energy = _number(self.base.get_potential_energy(self.atoms))
        forces = np.array(self.base.get_forces(self.atoms), dtype=float)
        state = atoms_to_state([self.atoms], device=torch.device("cpu"), dtype=torch.float64)
        slope = entropy_gradient(state, [now.bias])
        entropy = float(slope.entropy[0])
        self.results = {
            "energy": energy - self.kappa_eV * entropy,
            "forces": forces + self.kappa_eV * slope.positions.cpu().numpy(),
            "base_energy": energy,
            "base_forces": forces,
            "entropy": entropy,
        }
        # The bias has no electronic entropy of its own and shifts both energies of the base alike.
        self.results["free_energy"] = self._base_free_energy(self.atoms) - self.kappa_eV * entropy
        base_stress = self._base_stress(self.atoms)
        if base_stress is not None:
            bias = self.kappa_eV / self.atoms.get_volume() * slope.strain[0].cpu().numpy()
            self.results["stress"] = base_stress - np.array([bias[i, j] for i, j in VOIGT])
        self._last_inputs = now

    def _present_inputs(self) -> "_Inputs":
        # A dataset gives the same entropy until it changes.
        return _Inputs(
            self.kappa_eV,
            bias_of(self.dataset, self._given_features),
            self.base,
            dict(getattr(self.base, "parameters", None) or {}),
        )

    def _is_up_to_date(self) -> bool:
        return self._last_inputs is not None and self._last_inputs.equals(self._present_inputs())

    def _base_free_energy(self, atoms: Atoms) -> float:
        try:
            return _number(self.base.get_potential_energy(atoms, force_consistent=True))
        except PropertyNotImplementedError:
            return _number(self.base.get_potential_energy(atoms))

    def _base_stress(self, atoms: Atoms) -> np.ndarray | None:
        if not atoms.pbc.any() or atoms.cell.rank < 3:
            return None
        try:
            return np.array(self.base.get_stress(atoms), dtype=float)
        except PropertyNotImplementedError:
            return None


@dataclass(frozen=True)
class _Inputs:
    """What a result depends on, beside the atoms."""

    kappa_eV: float
    bias: Bias
    base: Calculator
    parameters: Mapping[str, Any]

    def equals(self, other: "_Inputs") -> bool:
        return (
            self.kappa_eV == other.kappa_eV
            and self.bias.entropy is other.bias.entropy
            and self.base is other.base
            and self.has_parameters_of(other)
        )

    def has_parameters_of(self, other: "_Inputs") -> bool:
        return self.parameters.keys() == other.parameters.keys() and all(
            _is_same(value, other.parameters[key]) for key, value in self.parameters.items()
        )


def _is_same(value: Any, other: Any) -> bool:
    # Arrays and objects are replaced when they are set; equal numbers and strings may be other
    # objects.
    return value is other or (isinstance(value, bool | int | float | str) and value == other)


def bias_of(source: EntropyDataset | Bias | Entropy, features: FeatureMap | None) -> Bias:
    """The `Bias` for what a user gave: the one place where features and entropy may not match.

    Raises `ConfigError` when an entropy comes without features, or when features are given beside
    a dataset or a bias that has other ones.
    """
    bias = source.bias() if isinstance(source, EntropyDataset) else source
    if not isinstance(bias, Bias):
        if features is None:
            raise ConfigError(
                "an entropy needs a feature map; pass features=, for example GaussianOverlap()"
            )
        return Bias(features, bias)
    if features is not None and features is not bias.features:
        difference = differences(as_json(bias.features.describe()), as_json(features.describe()))
        if difference:
            raise ConfigError(
                f"the entropy was made with other features ({difference}); "
                "leave features= out, those of the dataset are used"
            )
    return bias


def _number(value: float | None) -> float:
    """Turn what an ASE calculator gives for an energy into a plain float."""
    if value is None:
        raise ModelError("the base calculator gave no energy; check it without the bias first")
    return float(value)
