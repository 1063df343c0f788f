"""Fingerprints of a list of structures as arrays, and their gradients: `entrove.fingerprint`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from entrove.errors import ConfigError
from entrove.features import Features
from entrove.fingerprints.batching import Batch, naming_structures, to_batches
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve_length


@dataclass(frozen=True)
class StructureGradient:
    """dL/dr in u/Angstrom and dL/d(symmetric strain) in u, for an L in any unit u."""

    positions: Float[np.ndarray, "atoms 3"]
    strain: Float[np.ndarray, "structures 3 3"]


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of all atoms of a list of structures, in the order of the list."""

    values: Float[np.ndarray, "atoms features"]
    n_structures: int
    _parts: Sequence[tuple[Batch, Features]] = field(repr=False)

    def pull_back(self, gradient: Float[np.ndarray, "atoms features"]) -> StructureGradient:
        """Turn g = dL/dvalues into dL/dr and dL/d(symmetric strain) of every structure.

        Args:
            gradient: (atoms, features), in u per unit of a feature, for an L in any unit u.

        Raises `ConfigError` when `gradient` does not have the shape of `values`.
        """
        gradient = np.asarray(gradient)
        if gradient.shape != self.values.shape:
            raise ConfigError(
                f"gradient has shape {gradient.shape} but values have {self.values.shape}; "
                "give one number per atom and feature"
            )
        positions = np.zeros((len(self.values), 3))
        strain = np.zeros((self.n_structures, 3, 3))
        for batch, features in self._parts:
            part = features.pull_back(torch.as_tensor(gradient[batch.atoms]).to(features.values))
            positions[batch.atoms] = part.positions.cpu().numpy()
            strain[batch.structures] = part.strain.cpu().numpy()
        return StructureGradient(positions, strain)


def fingerprint(
    structures: Sequence[Atoms],
    cutoff_A: float = 5.0,
    length: int | str = 50,
    orbitals: str = "s",
    radii_A: Mapping[str, float] | None = None,
    *,
    dtype: str = "float64",
    device: str = "cpu",
) -> Fingerprints:
    """Gaussian-overlap fingerprints of every atom of every structure.

    Args:
        structures: One structure or a list; their periodicity may differ.
        cutoff_A: Radius of an atom's sphere in Angstrom.
        length: Number of eigenvalues per atom, padded with zeros; "auto" fits the densest
            structure.
        orbitals: "s" or "sp" (s, p_x, p_y, p_z).
        radii_A: Gaussian width by chemical symbol in Angstrom, for the elements whose default, a
            covalent radius (`entrove.fingerprints.radii`), is to be replaced.
        dtype: "float64" or "float32" (values good to about 1e-6, gradients to 3e-3).
        device: Any torch device.

    Returns `Fingerprints`: `values` (atoms, length) with one row per atom in the order of the
    list, the largest eigenvalue first, and `pull_back` for gradients.

    Raises `StructureError` for an empty list or structure, two atoms at one place, or a flat cell;
    `ConfigError` for an argument that is out of range or an element without a width.

    Ref: Sadeghi et al., J. Chem. Phys. 139, 184118 (2013); Zhu et al., J. Chem. Phys. 144, 034203
    (2016).

    >>> from ase.build import bulk
    >>> fingerprint([bulk("Si")]).values.shape
    (2, 50)
    """
    structures = [structures] if isinstance(structures, Atoms) else list(structures)
    try:
        config = FingerprintConfig.model_validate(
            {
                "cutoff_A": cutoff_A,
                "length": length,
                "orbitals": orbitals,
                "radii_A": None if radii_A is None else dict(radii_A),
                "dtype": dtype,
            }
        )
    except ValueError as error:
        raise ConfigError(f"fingerprint: {error}") from error
    features = GaussianOverlap(resolve_length(config, structures), device=device)
    parts = []
    for batch in to_batches(structures, device=device, dtype=features.dtype):
        with naming_structures(batch.structures.tolist()):
            parts.append((batch, features.evaluate(batch.state)))
    values = np.zeros((sum(len(atoms) for atoms in structures), features.length), dtype=dtype)
    for batch, evaluated in parts:
        values[batch.atoms] = evaluated.values.cpu().numpy()
    return Fingerprints(values, len(structures), parts)
