"""Is the spread of a committee its error? One factor per quantity, and how well spreads rank.

With deviations e_i of the committee's mean from the labels and spreads s_i, the factor that makes
the labels most likely under normal errors of width factor * s_i is

    factor^2 = mean_i(e_i^2 / s_i^2)

Ref: Musil et al., J. Chem. Theory Comput. 15, 906 (2019), eq. 8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float
from scipy.stats import rankdata

from entrove import provenance
from entrove.errors import ModelError
from entrove.structures import energy_of, forces_of

BINS = 5


@dataclass(frozen=True, eq=False)
class Calibration:
    """Spreads of a committee and errors of its mean, for one quantity.

    Attributes:
        quantity, unit: "energy" in meV/atom of each structure, or "forces" in meV/A of each atom,
            as lengths of vectors.
        spreads, errors: One of each per structure or atom, not calibrated.
        factor: What a spread has to be multiplied by to be an error.
        rank_correlation: Spearman's between spreads and errors; NaN when one does not vary.
    """

    quantity: str
    unit: str
    spreads: Float[np.ndarray, " items"]
    errors: Float[np.ndarray, " items"]
    factor: float
    rank_correlation: float

    @classmethod
    def of(
        cls,
        quantity: str,
        unit: str,
        spreads: Float[np.ndarray, " items"],
        errors: Float[np.ndarray, " items"],
    ) -> "Calibration":
        """Fit the factor; items on which all members agree exactly are left out.

        Raises `ModelError` when no item has a spread.
        """
        known = spreads > 0
        if not known.any():
            raise ModelError(
                f"all members of the committee predict the same {quantity}; tune them with other "
                "seeds and head_noise"
            )
        spreads, errors = spreads[known], errors[known]
        factor = float(np.sqrt(np.mean((errors / spreads) ** 2)))
        varies = np.ptp(spreads) > 0 and np.ptp(errors) > 0
        # Spearman's coefficient is Pearson's of the ranks.
        ranks = np.corrcoef(rankdata(spreads), rankdata(errors)) if varies else None
        rank = float("nan") if ranks is None else float(ranks[0, 1])
        return cls(quantity, unit, spreads, errors, factor, rank)

    def reliability(self, bins: int = BINS) -> list[tuple[int, float, float]]:
        """Return items, predicted and observed error of each bin of equally many spreads.

        Both errors are root mean squares; the predicted one is that of the calibrated spreads.
        """
        order = np.argsort(self.spreads, kind="stable")
        parts = np.array_split(order, min(bins, len(order)))
        return [
            (
                len(part),
                self.factor * _root_mean_square(self.spreads[part]),
                _root_mean_square(self.errors[part]),
            )
            for part in parts
        ]


def calibrate(labels: Sequence[Atoms], predicted: Sequence[Atoms]) -> list[Calibration]:
    """Compare the spreads of a committee with its errors, for energies and for forces.

    Args:
        labels: Structures with labels that no member has learnt from.
        predicted: The same structures with `predict` of the committee.

    Raises `ModelError` when the predictions have no spreads, or all members are equal.
    """
    if not all(provenance.FORCES_SPREAD in atoms.arrays for atoms in predicted):
        raise ModelError("the predictions have no spreads; predict with a committee")
    per_atom = 1000.0 / np.array([len(atoms) for atoms in labels])
    energies = np.array(
        [energy_of(ours) - energy_of(label) for ours, label in zip(predicted, labels, strict=True)]
    )
    spreads = np.array([atoms.info[provenance.ENERGY_SPREAD] for atoms in predicted])
    forces = np.concatenate(
        [forces_of(ours) - forces_of(label) for ours, label in zip(predicted, labels, strict=True)]
    )
    of_atoms = np.concatenate([atoms.arrays[provenance.FORCES_SPREAD] for atoms in predicted])
    return [
        Calibration.of("energy", "meV/atom", spreads * per_atom, np.abs(energies) * per_atom),
        Calibration.of(
            "forces", "meV/A", 1000.0 * of_atoms, 1000.0 * np.linalg.norm(forces, axis=1)
        ),
    ]


def _root_mean_square(values: Float[np.ndarray, " items"]) -> float:
    return float(np.sqrt(np.mean(values**2)))
