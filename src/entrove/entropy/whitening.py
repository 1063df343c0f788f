"""Frozen mean and scale of the features of each species, from an unbiased reference run.

Whitened features are z = (x - mean) / scale. Mean and scale are taken once, before the dataset
grows, and recorded: were they to follow the dataset, old gains would change with every addition,
and the gain would be neither monotone nor submodular.

How features that hardly vary are treated. The scale of feature k is sqrt(variance_k + floor^2),
where floor is `scale_floor` times the root mean square over the features of their standard
deviations. A plain 1/std would amplify the rounding noise of a feature that is constant in the
reference run to unit size, and the gain would follow that noise. With the floor, a feature whose
spread is below the floor is shrunk in proportion: it stays far below the ridge until it moves by
about the floor, and contributes smoothly beyond that. The sum in quadrature, instead of a maximum,
keeps the scale a smooth function of the reference run.

Features that are padding (zero in the whole reference run, since no sphere was full) are the
extreme case: mean 0, scale = floor. They stay exactly 0, and add exactly nothing, until a denser
configuration fills them. Then they contribute no more than the smallest genuine features do: the
standard deviations of the eigenvalues of rattled silicon span a factor of 300, from 3e-2 to 1e-4
with 7e-3 root mean square, so the default floor of 1 % (7e-5) lies just below the smallest genuine
feature, and 70 times above the rounding of float32 fingerprints.

If the reference run has next to no spread (a perfect crystal, or a relaxed one with the noise of
its optimiser), there is no scale to learn: `DEGENERATE_SPREAD` of the root mean square feature is
taken for all features, with a warning.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.errors import SelectionError
from entrove.features import LEAST_SPREAD

logger = logging.getLogger(__name__)

DEGENERATE_SPREAD = 0.05
"""Scale relative to the root mean square feature, where the reference run shows no spread."""


@dataclass(frozen=True)
class Scaling:
    """Mean and scale of the features of one species."""

    mean: Float[Tensor, " features"]
    scale: Float[Tensor, " features"]

    @classmethod
    def of(cls, moments: Moments, scale_floor: float, label: str) -> "Scaling":
        """Mean and floored scale of these rows; `label` names the species in warnings."""
        variance = moments.variance()
        spread = variance.mean().sqrt()
        magnitude = (moments.outer.diagonal().mean() / max(moments.count, 1)).sqrt()
        if float(spread) <= LEAST_SPREAD * float(magnitude):
            logger.warning(
                "The reference structures show one environment only for %s (spread %.1g of the "
                "features); all features get the scale %.3g. Calibrate on a short unbiased run "
                "instead.",
                label,
                float(spread / magnitude) if magnitude > 0 else 0.0,
                DEGENERATE_SPREAD * float(magnitude) or 1.0,
            )
            # All-zero features (an isolated atom under some feature map) have no size either.
            uniform = (
                DEGENERATE_SPREAD * magnitude if magnitude > 0 else torch.ones_like(magnitude)
            )
            return cls(moments.mean(), uniform.expand_as(variance).clone())
        return cls(moments.mean(), (variance + (scale_floor * spread) ** 2).sqrt())

    def apply(self, rows: Float[Tensor, "rows features"]) -> Float[Tensor, "rows features"]:
        """z = (x - mean) / scale."""
        return (rows - self.mean.to(rows.device)) / self.scale.to(rows.device)

    def equals(self, other: "Scaling") -> bool:
        """Whether both are the same numbers."""
        return torch.equal(self.mean, other.mean) and torch.equal(self.scale, other.scale)


class Whitening:
    """The scaling of every calibrated species. Immutable: extending it returns a new one."""

    def __init__(self, by_species: Mapping[int, Scaling] | None = None) -> None:
        self._by_species = dict(sorted((by_species or {}).items()))

    @classmethod
    def of(cls, moments: SpeciesMoments, scale_floor: float) -> "Whitening":
        """Scalings of all species in `moments`, which hold rows that are not whitened."""
        return cls(
            {n: Scaling.of(moments[n], scale_floor, species_label(n)) for n in moments.species}
        )

    def __contains__(self, number: int) -> bool:
        return number in self._by_species

    def __getitem__(self, number: int) -> Scaling:
        """Scaling of a species; raises `SelectionError` when it was never calibrated."""
        if number not in self._by_species:
            raise SelectionError(self.describe_missing(number))
        return self._by_species[number]

    def describe_missing(self, number: int) -> str:
        """Why there is no scaling for a species, which are known, and what to do: for messages."""
        known = ", ".join(species_label(n) for n in self._by_species) or "none"
        return (
            f"{species_label(number)} has no calibration (calibrated: {known}); "
            "call calibrate() with structures of an unbiased run that contain it"
        )

    @property
    def species(self) -> tuple[int, ...]:
        """Calibrated atomic numbers, in order."""
        return tuple(self._by_species)

    def extended(self, other: "Whitening") -> "Whitening":
        """Add the species that only `other` knows; those known already stay as they are."""
        return Whitening({**other._by_species, **self._by_species})

    def learn(self, raw: SpeciesMoments, scale_floor: float) -> "Whitening":
        """Add the species that are unknown so far, from statistics of raw rows."""
        new = {number: raw[number] for number in raw.species if number not in self}
        return self.extended(Whitening.of(SpeciesMoments(new), scale_floor))

    def agrees_with(self, other: "Whitening") -> bool:
        """Whether both give the same numbers for every species that both know."""
        common = set(self.species) & set(other.species)
        return all(self[number].equals(other[number]) for number in common)


def species_label(number: int) -> str:
    """Chemical symbol, or a name for the block that all species share."""
    return chemical_symbols[number] if number else "the shared block of all species"
