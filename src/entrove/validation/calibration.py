"""Is the spread of a committee its error? One factor per quantity, and how well spreads rank.

With deviations e_i of the committee's mean from the labels and spreads s_i, the factor makes the
mean square of predicted errors that of observed ones:

    factor^2 = sum_i e_i^2 / sum_i s_i^2

The most likely factor for normal errors of width factor * s_i, mean_i(e_i^2 / s_i^2), is not used:
the spread of two or three members is near zero by chance for some items, and these then decide.

Members that learn from a part of the labels each are calibrated on the training labels: each label
by the members that have left it out (`calibrate_left_out`).

Ref: Musil et al., J. Chem. Theory Comput. 15, 906 (2019): committees of subsamples, calibrated,
and the most likely factor (eq. 8).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from scipy.stats import rankdata

from entrove import provenance
from entrove.errors import ModelError
from entrove.models.committee import combine
from entrove.structures import content_hash, energy_of, forces_of

BINS = 5

LEAST_MEMBERS = 2
"""Fewest members that have a spread."""


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
        factor = float(np.sqrt(np.sum(errors**2) / np.sum(spreads**2)))
        varies = np.ptp(spreads) > 0 and np.ptp(errors) > 0
        # Spearman's coefficient is Pearson's of the ranks.
        ranks = np.corrcoef(rankdata(spreads), rankdata(errors)) if varies else None
        rank = float("nan") if ranks is None else float(ranks[0, 1])
        return cls(quantity, unit, spreads, errors, factor, rank)

    def with_factor(self, factor: float) -> "Calibration":
        """The same spreads and errors, with a factor that was fitted to others."""
        return replace(self, factor=factor)

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
    return _calibrate(
        labels,
        [energy_of(atoms) for atoms in predicted],
        [forces_of(atoms) for atoms in predicted],
        [float(atoms.info[provenance.ENERGY_SPREAD]) for atoms in predicted],
        [atoms.arrays[provenance.FORCES_SPREAD] for atoms in predicted],
    )


def calibrate_left_out(
    labels: Sequence[Atoms],
    learnt: Sequence[Collection[str]],
    predicted: Sequence[Sequence[Atoms]],
) -> list[Calibration]:
    """Calibrate a committee on training labels, each by the members that have left it out.

    Their mean and spread stand for those of the whole committee: the spread of k members, a root
    mean square with 1/k, is multiplied by sqrt(k (M - 1) / ((k - 1) M)), so that it is on average
    that of M members. Labels that fewer than two members have left out are not used.

    Args:
        labels: Structures with labels.
        learnt: Content hashes of the labels that each of the M members has learnt from.
        predicted: The structures with `predict` of each member, in the order of `learnt`.

    Raises `ModelError` when no label was left out by two members, or these are equal.
    """
    members = len(learnt)
    rows: list[tuple[Atoms, float, np.ndarray, float, np.ndarray]] = []
    for index, label in enumerate(labels):
        name = content_hash(label)
        without = [one[index] for one, known in zip(predicted, learnt, strict=True)
                   if name not in known]  # fmt: skip
        if len(without) < LEAST_MEMBERS:
            continue
        results = combine(
            [
                {
                    "energy": torch.tensor([energy_of(atoms)], dtype=torch.float64),
                    "forces": torch.as_tensor(forces_of(atoms), dtype=torch.float64),
                }
                for atoms in without
            ]
        )
        grow = np.sqrt(len(without) * (members - 1) / ((len(without) - 1) * members))
        rows.append(
            (
                label,
                float(results["energy"][0]),
                results["forces"].numpy(),
                float(grow * results["energy_spread"][0]),
                grow * results["forces_spread"].numpy(),
            )
        )
    if not rows:
        raise ModelError(
            "no training label was left out by two members of the committee; tune it with "
            "member_labels below 1"
        )
    return _calibrate(*zip(*rows, strict=True))


def _calibrate(
    labels: Sequence[Atoms],
    energies_eV: Sequence[float],
    forces_eV_per_A: Sequence[np.ndarray],
    energy_spreads_eV: Sequence[float],
    force_spreads_eV_per_A: Sequence[np.ndarray],
) -> list[Calibration]:
    per_atom = 1000.0 / np.array([len(atoms) for atoms in labels])
    energies = np.array(energies_eV) - [energy_of(label) for label in labels]
    forces = np.concatenate(forces_eV_per_A) - np.concatenate([forces_of(one) for one in labels])
    of_atoms = np.concatenate(force_spreads_eV_per_A)
    return [
        Calibration.of(
            "energy",
            "meV/atom",
            np.array(energy_spreads_eV) * per_atom,
            np.abs(energies) * per_atom,
        ),
        Calibration.of(
            "forces", "meV/A", 1000.0 * of_atoms, 1000.0 * np.linalg.norm(forces, axis=1)
        ),
    ]


def _root_mean_square(values: Float[np.ndarray, " items"]) -> float:
    return float(np.sqrt(np.mean(values**2)))
