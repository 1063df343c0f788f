"""Labels whose energy disagrees with a model by far more than the other labels do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int
from pydantic import Field, PositiveFloat, PositiveInt

from entrove.errors import LabelError
from entrove.settings import Settings

_FIT_STEPS = 200
_SMALLEST_RESIDUAL_EV = 1e-4
_MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""


class OutlierLimits(Settings):
    """When an energy is too far from the model's to be believed."""

    min_labels: PositiveInt = Field(
        default=10,
        description="Fewer labels than this are not judged: there is no spread to compare with.",
    )
    deviations: PositiveFloat = Field(
        default=10.0, description="An outlier is this many robust standard deviations away."
    )
    min_distance_eV_per_atom: PositiveFloat = Field(
        default=0.5, description="Nothing closer than this to the model is an outlier, in eV/atom."
    )


@dataclass(frozen=True)
class Outlier:
    """A label whose energy cannot be right; `index` counts the structures that were compared."""

    index: int
    deviation_eV_per_atom: float
    limit_eV_per_atom: float

    @property
    def cause(self) -> str:
        """Why the label is rejected."""
        return (
            f"the energy is {self.deviation_eV_per_atom:+.3g} eV/atom away from the model's, "
            "after the reference energies of the elements; at most "
            f"{self.limit_eV_per_atom:.3g} eV/atom is allowed"
        )


def find_energy_outliers(
    labelled: Sequence[Atoms], predicted: Sequence[Atoms], limits: OutlierLimits | None = None
) -> list[Outlier]:
    """Labels whose energy does not fit the prediction up to one shift per chemical element.

    Both lists carry energies, of the same structures in the same order. Levels of theory differ by
    a reference energy per element, so the residuals E_label - E_model are fitted as a sum of
    element shifts, minimising their absolute values (iteratively reweighted least squares): labels
    that are wrong by any amount do not move that fit while they are the minority. The spread is
    the median absolute deviation of what is left, per atom.
    """
    limits = limits or OutlierLimits()
    if len(labelled) != len(predicted):
        raise LabelError(
            f"{len(labelled)} labels but {len(predicted)} predictions; pass the same structures"
        )
    if len(labelled) < limits.min_labels:
        return []
    residuals = np.array(
        [
            label.get_potential_energy() - model.get_potential_energy()
            for label, model in zip(labelled, predicted, strict=True)
        ]
    )
    sizes = np.array([len(atoms) for atoms in labelled])
    deviations = (residuals - _fit_element_shifts(residuals, _composition(labelled))) / sizes
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(deviations - np.median(deviations))))
    limit = max(limits.min_distance_eV_per_atom, limits.deviations * sigma)
    return [
        Outlier(int(index), float(deviations[index]), limit)
        for index in np.flatnonzero(np.abs(deviations) > limit)
    ]


def _composition(structures: Sequence[Atoms]) -> Int[np.ndarray, "structures elements"]:
    elements = sorted({int(number) for atoms in structures for number in atoms.numbers})
    return np.array(
        [[int((atoms.numbers == number).sum()) for number in elements] for atoms in structures]
    )


def _fit_element_shifts(
    residuals: Float[np.ndarray, " structures"],
    composition: Int[np.ndarray, "structures elements"],
) -> Float[np.ndarray, " structures"]:
    # Per atom, or the largest cells would decide alone.
    sizes = composition.sum(axis=1)
    rows, targets = composition / sizes[:, None], residuals / sizes
    weights = np.ones_like(targets)
    shifts = np.zeros(composition.shape[1])
    for _ in range(_FIT_STEPS):
        root = np.sqrt(weights)
        updated = np.linalg.lstsq(rows * root[:, None], targets * root, rcond=None)[0]
        weights = 1.0 / np.maximum(np.abs(targets - rows @ updated), _SMALLEST_RESIDUAL_EV)
        if np.allclose(updated, shifts, rtol=0.0, atol=1e-9):
            break
        shifts = updated
    return composition @ shifts
