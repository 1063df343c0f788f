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
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float
from scipy.stats import rankdata

from entrove import provenance
from entrove.errors import ModelError
from entrove.models.committee import combine
from entrove.structures import content_hash, energy_of, forces_of, has_stress, stress_of

BINS = 5

LEAST_MEMBERS = 2
"""Fewest members that have a spread."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Spreads of a committee and errors of its mean, for one quantity.

    Attributes:
        quantity, unit: "energy" in meV/atom of each structure, "forces" in meV/A of each atom, as
            lengths of vectors, or "stress" in meV/A^3 of each structure, as Frobenius norms.
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
    """Compare the spreads of a committee with its errors, for energies, forces and stress.

    Args:
        labels: Structures with labels that no member has learnt from.
        predicted: The same structures with `predict` of the committee.

    Returns no calibration of stress where labels or predictions have none, or all members agree
    on it. Raises `ModelError` when the predictions have no spreads, or all members are equal.
    """
    if not all(provenance.FORCES_SPREAD in atoms.arrays for atoms in predicted):
        raise ModelError("the predictions have no spreads; predict with a committee")
    return _calibrate(
        [
            _Deviation(
                len(label),
                energy_of(atoms) - energy_of(label),
                forces_of(atoms) - forces_of(label),
                _stress_deviation(atoms, label),
                float(atoms.info[provenance.ENERGY_SPREAD]),
                atoms.arrays[provenance.FORCES_SPREAD],
                float(atoms.info.get(provenance.STRESS_SPREAD, 0.0)),
            )
            for label, atoms in zip(labels, predicted, strict=True)
        ]
    )


def predicted_force_rmse(forces: Calibration, predicted: Sequence[Atoms]) -> float:
    """Root mean square error of force components that calibrated spreads predict, in meV/A.

    With spreads s_i of the N atoms, lengths of vectors as in `Calibration`, it is
    factor * sqrt(sum_i s_i^2 / (3 N)).

    Args:
        forces: A calibration of forces.
        predicted: Structures with `predict` of the committee that it is for.
    """
    spreads = np.concatenate([atoms.arrays[provenance.FORCES_SPREAD] for atoms in predicted])
    return 1000.0 * forces.factor * _root_mean_square(spreads) / float(np.sqrt(3.0))


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
    found: list[_Deviation] = []
    for index, label in enumerate(labels):
        name = content_hash(label)
        without = [of_member[index] for of_member, known in zip(predicted, learnt, strict=True)
                   if name not in known]  # fmt: skip
        if len(without) < LEAST_MEMBERS:
            continue
        deviation = _deviation_of(without, label)
        grow = np.sqrt(len(without) * (members - 1) / ((len(without) - 1) * members))
        found.append(deviation.with_spreads(float(grow)))
    if not found:
        raise ModelError(
            "no training label was left out by two members of the committee; tune it with "
            "member_labels below 1"
        )
    return _calibrate(found)


@dataclass(frozen=True, eq=False)
class _Deviation:
    """Mean of a committee minus label of one structure, and spreads; in eV and A.

    `stress` is None where label or predictions have none.
    """

    atoms: int
    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    stress: Float[np.ndarray, "3 3"] | None
    energy_spread: float
    force_spreads: Float[np.ndarray, " atoms"]
    stress_spread: float

    def with_spreads(self, factor: float) -> "_Deviation":
        """The same with all spreads multiplied by a factor."""
        return replace(
            self,
            energy_spread=factor * self.energy_spread,
            force_spreads=factor * self.force_spreads,
            stress_spread=factor * self.stress_spread,
        )


def _deviation_of(predicted: Sequence[Atoms], label: Atoms) -> _Deviation:
    """Of the mean of some members, which have predicted one structure each."""
    stresses = [_stress_deviation(atoms, label) for atoms in predicted]
    stressed = all(stress is not None for stress in stresses)
    results = combine(
        [
            {
                "energy": torch.tensor([energy_of(atoms)], dtype=torch.float64),
                "forces": torch.as_tensor(forces_of(atoms), dtype=torch.float64),
            }
            | ({"stress": torch.as_tensor(stress)[None]} if stressed else {})
            for atoms, stress in zip(predicted, stresses, strict=True)
        ]
    )
    return _Deviation(
        len(label),
        float(results["energy"][0]) - energy_of(label),
        results["forces"].numpy() - forces_of(label),
        results["stress"][0].numpy() if stressed else None,
        float(results["energy_spread"][0]),
        results["forces_spread"].numpy(),
        float(results["stress_spread"][0]) if stressed else 0.0,
    )


def _stress_deviation(atoms: Atoms, label: Atoms) -> Float[np.ndarray, "3 3"] | None:
    """Predicted minus labelled stress in eV/A^3; None where one of them is not there."""
    if not (has_stress(atoms) and has_stress(label)):
        return None
    return voigt_6_to_full_3x3_stress(stress_of(atoms) - stress_of(label))


def _calibrate(found: Sequence[_Deviation]) -> list[Calibration]:
    per_atom = 1000.0 / np.array([deviation.atoms for deviation in found])
    forces = np.concatenate([deviation.forces for deviation in found])
    calibrations = [
        Calibration.of(
            "energy",
            "meV/atom",
            np.array([deviation.energy_spread for deviation in found]) * per_atom,
            np.abs([deviation.energy for deviation in found]) * per_atom,
        ),
        Calibration.of(
            "forces",
            "meV/A",
            1000.0 * np.concatenate([deviation.force_spreads for deviation in found]),
            1000.0 * np.linalg.norm(forces, axis=1),
        ),
    ]
    stressed = [
        (deviation.stress_spread, float(np.linalg.norm(deviation.stress)))
        for deviation in found
        if deviation.stress is not None and deviation.stress_spread > 0
    ]
    if stressed:
        spreads, errors = 1000.0 * np.array(stressed).T
        calibrations.append(Calibration.of("stress", "meV/A^3", spreads, errors))
    return calibrations


def _root_mean_square(values: Float[np.ndarray, " items"]) -> float:
    return float(np.sqrt(np.mean(values**2)))
