"""`LabelRowMap`: structures to the rows of the labels that they have, or would get."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from jaxtyping import Float, Int
from torch import Tensor

from entrove.entropy.batches import BATCH_ATOMS, FeatureBatch, evaluate_in_batches
from entrove.entropy.config import LabelsConfig
from entrove.entropy.labels.derivatives import derivatives, sum_over_species
from entrove.entropy.labels.directions import Directions, NoiseOfRows, directions_of
from entrove.entropy.labels.remembered import RememberedDerivatives
from entrove.entropy.moments import SpeciesMoments
from entrove.entropy.rows import SHARED, split_rows
from entrove.entropy.typed_torch import distinct, qr, row_norms
from entrove.entropy.whitening import Whitening
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.fingerprints.batching import naming_structures, to_state
from entrove.structures import StructureSource

ExcessEnergy = Callable[[Sequence[Atoms]], Sequence[float]]
"""Energies above the ground state in eV/atom, of a few structures at once."""


@dataclass(frozen=True, eq=False)
class LabelRows:
    """Rows of the labels of some structures, one structure after the other.

    A structure with more labels than features has the triangular factor of its rows instead, which
    has the same R^T R, and one with more than so many directions a sketch of them.

    Attributes:
        values: The rows.
        count: Rows of each structure.
        labels: Labels of each structure, which its rows stand for: one energy, 3 (n - 1) forces
            without their sum, and six stresses.
    """

    values: Float[Tensor, "rows width"]
    count: Int[Tensor, " structures"]
    labels: Int[Tensor, " structures"]

    @classmethod
    def join(cls, parts: Iterable["LabelRows"], width: int) -> "LabelRows":
        """All parts, one after the other; none give no rows of `width` entries."""
        parts = list(parts)
        if not parts:
            none = torch.zeros(0, dtype=torch.int64)
            return cls(torch.zeros(0, width, dtype=torch.float64), none, none)
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat([part.count for part in parts]),
            torch.cat([part.labels for part in parts]),
        )

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.count)

    def of(self, structure: int) -> Float[Tensor, "rows width"]:
        """Rows of one structure."""
        first = int(self.count[:structure].sum())
        return self.values[first : first + int(self.count[structure])]

    def padded(self) -> Float[Tensor, "structures slots width"]:
        """Rows by structure, filled up with zeros, which change no objective."""
        slots = max(int(self.count.max()), 1) if len(self) else 1
        owner = torch.repeat_interleave(self.count)
        slot = torch.arange(len(self.values)) - (self.count.cumsum(0) - self.count)[owner]
        padded = self.values.new_zeros(len(self), slots, self.values.shape[1])
        padded[owner, slot] = self.values
        return padded

    def scaled(self, factor: float) -> "LabelRows":
        """All rows times a factor."""
        return replace(self, values=self.values * factor)

    def mean_square(self) -> float:
        """Mean over labels of their predicted variance over that of their noise.

        Neither a sketch nor a triangular factor changes the sum of the squares, so that it is
        divided by the number of labels, not of rows.
        """
        squares = row_norms(self.values).to(torch.float64).square()
        return float(squares.sum()) / max(int(self.labels.sum()), 1)

    def gram(self) -> Float[Tensor, "width width"]:
        """Sum of R^T R over the structures."""
        return self.values.mT @ self.values


class LabelRowMap:
    """Computes rows of labels: features of one map, whitened per species, and noise levels.

    Args:
        features: Turns atoms into features: those of the model that learns, best of all.
        whitening: Mean and scale of the features of each species, see `calibrated`. Structures
            with another species are refused.
        config: Noise levels, how noise grows with energy, and how many directions are taken.
        excess: Energies above the ground state in eV/atom; without it the noise does not grow.
        batch_atoms: Atoms whose features are evaluated at once.
    """

    def __init__(
        self,
        features: FeatureMap,
        whitening: Whitening,
        config: LabelsConfig | None = None,
        *,
        excess: ExcessEnergy | None = None,
        batch_atoms: int = BATCH_ATOMS,
    ) -> None:
        self.features = features
        self.whitening = whitening
        self.config = config or LabelsConfig()
        self._excess = excess
        self._batch_atoms = batch_atoms
        self._mean = torch.cat([whitening[n].mean for n in whitening.species])
        self._scale = torch.cat([whitening[n].scale for n in whitening.species])

    @classmethod
    def calibrated(
        cls,
        features: FeatureMap,
        reference: StructureSource,
        config: LabelsConfig | None = None,
        *,
        scale_floor: float = 1e-2,
        excess: ExcessEnergy | None = None,
        batch_atoms: int = BATCH_ATOMS,
    ) -> "LabelRowMap":
        """Take mean and scale of the features of each species from structures.

        Args:
            features: Turns atoms into features: those of the model that learns, best of all.
            reference: The structures, with every species that is to come.
            config: Noise levels, how noise grows with energy, and how many directions are taken.
            scale_floor: Keeps the scale of features that hardly vary from vanishing, see
                `entrove.entropy.whitening`.
            excess: Energies above the ground state in eV/atom; without it the noise does not grow.
            batch_atoms: Atoms whose features are evaluated at once.

        Raises `SelectionError` when there is no structure.
        """
        moments = sum(
            (
                SpeciesMoments.of(
                    split_rows(batch, "per_atom", species_blocks=not is_of_structure(features))
                )
                for batch in evaluate_in_batches(features, reference, batch_atoms)
            ),
            SpeciesMoments(),
        )
        if not moments.species:
            raise SelectionError("there is no structure to calibrate the features on; give some")
        whitening = Whitening.of(moments, scale_floor)
        return cls(features, whitening, config, excess=excess, batch_atoms=batch_atoms)

    @property
    def width(self) -> int:
        """Entries of a row: features of all species side by side."""
        return len(self._mean)

    def of(self, structures: StructureSource, *, labelled: bool = False) -> LabelRows:
        """Rows of all structures together; arguments and errors are those of `stream`.

        `stream` keeps only one batch in memory.
        """
        return LabelRows.join(self.stream(structures, labelled=labelled), self.width)

    def stream(
        self, structures: StructureSource, *, labelled: bool = False
    ) -> Iterator[LabelRows]:
        """Rows of the labels, batch by batch.

        Args:
            structures: A list, a stream or a file.
            labelled: Count only the labels that the structures carry, instead of those that they
                would get.

        Raises `SelectionError` for a species that was not calibrated, for energies or rows that
        are not finite, and for a labelled structure whose calculator has no results;
        `StructureError` for a structure without atoms or with bad positions.
        """
        for batch in evaluate_in_batches(self.features, structures, self._batch_atoms):
            yield self._rows(batch, labelled)

    def _rows(self, batch: FeatureBatch, labelled: bool) -> LabelRows:
        species = self.whitening.species
        if species == (SHARED,):
            batch = replace(batch, numbers=torch.full_like(batch.numbers, SHARED))
        for number in distinct(batch.numbers):
            self.whitening[number]  # raises for a species without calibration
        config = self.config
        atoms_of = torch.stack(
            [
                torch.bincount(batch.system_idx[batch.numbers == number], minlength=len(batch))
                for number in species
            ],
            dim=1,
        )
        means = atoms_of.repeat_interleave(self.features.length, dim=1) * self._mean
        sums = sum_over_species(batch, species)
        energy = (sums - means) / self._scale
        energy = energy / atoms_of.sum(1, keepdim=True) / config.energy_noise_eV_per_atom
        labels = [_labels(atoms, config, labelled) for atoms in batch.structures]
        for index, atoms in enumerate(batch.structures):
            if labelled and _is_uncomputed(atoms):
                raise SelectionError(
                    f"{batch.name(index)} counts as labelled, but its calculator has computed "
                    "nothing yet; compute its labels, or remove the calculator"
                )
        directions = [
            directions_of(atoms, noise, config.directions)
            for atoms, (_, noise) in zip(batch.structures, labels, strict=True)
        ]
        with naming_structures(range(batch.first, batch.first + len(batch))):
            slopes = self._slopes(batch, directions, sums)
        shrink = self._confidence(batch)
        rows: list[Tensor] = []
        for index, (has_energy, _) in enumerate(labels):
            of_one = slopes[index] / self._scale
            if has_energy:
                of_one = torch.cat([energy[index : index + 1], of_one])
            rows.append(_thin(of_one * shrink[index]))
            if not bool(rows[-1].isfinite().all()):
                raise SelectionError(
                    f"the rows of {batch.name(index)} are not finite; look for atoms on top of "
                    "each other"
                )
        return LabelRows(
            torch.cat(rows),
            torch.tensor([len(of_one) for of_one in rows]),
            torch.tensor(
                [
                    has_energy + of_one.labels
                    for (has_energy, _), of_one in zip(labels, directions, strict=True)
                ]
            ),
        )

    def _slopes(
        self,
        batch: FeatureBatch,
        directions: Sequence[Directions],
        sums: Float[Tensor, "systems width"],
    ) -> list[Float[Tensor, "directions width"]]:
        features, species, step = self.features, self.whitening.species, self.config.step_A
        if isinstance(features, RememberedDerivatives):
            return features.derivatives(
                batch.structures, directions, species, sums=sums, step_A=step
            )
        state = to_state(batch.structures)
        return derivatives(features, state, directions, species, sums=sums, step_A=step)

    def _confidence(self, batch: FeatureBatch) -> Float[Tensor, " structures"]:
        """1 / (1 + dE / E_0) of every structure: what its rows are multiplied by."""
        growth = self.config.noise_doubles_at_eV_per_atom
        if self._excess is None or growth is None:
            return torch.ones(len(batch), dtype=torch.float64)
        excess = np.asarray(self._excess(batch.structures), dtype=float)
        if not np.isfinite(excess).all():
            index = int(np.flatnonzero(~np.isfinite(excess))[0])
            raise SelectionError(
                f"the energy of {batch.name(index)} is not finite; remove the structure"
            )
        return torch.as_tensor(1.0 / (1.0 + np.maximum(excess, 0.0) / growth))


def is_of_structure(features: FeatureMap) -> bool:
    """Whether X_c is not a sum over atoms, so that species share one block.

    Such a map has an attribute `per_structure`, and gives X_c / n for each of n atoms.
    """
    return bool(getattr(features, "per_structure", False))


def _labels(atoms: Atoms, config: LabelsConfig, labelled: bool) -> tuple[bool, NoiseOfRows]:
    """Whether there is an energy, and the noise of forces and stress where there are any."""
    wanted: set[str] = set(config.labels)
    calculator = cast("Any", atoms).calc
    if labelled and calculator is not None:
        wanted &= set(calculator.results)
    return "energy" in wanted, NoiseOfRows(
        config.force_noise_eV_per_A if "forces" in wanted else None,
        config.stress_noise_eV_per_A3 if "stress" in wanted else None,
    )


def _is_uncomputed(atoms: Atoms) -> bool:
    calculator: object = cast("Any", atoms).calc
    if calculator is None or isinstance(calculator, SinglePointCalculator):
        return False
    return not getattr(calculator, "results", None)


def _thin(rows: Float[Tensor, "rows width"]) -> Float[Tensor, "kept width"]:
    return qr(rows)[1] if len(rows) > rows.shape[1] else rows


def excess_energies(
    energies_eV_per_atom: Sequence[float], structures: Sequence[Atoms]
) -> Float[np.ndarray, " structures"]:
    """Energies above the lowest one of the same reduced composition, in eV/atom."""
    energies = np.asarray(energies_eV_per_atom, dtype=float)
    kinds = [atoms.symbols.formula.reduce()[0].format("hill") for atoms in structures]
    lowest: dict[str, float] = {}
    for kind, energy in zip(kinds, energies.tolist(), strict=True):
        lowest[kind] = min(energy, lowest.get(kind, energy))
    return energies - np.array([lowest[kind] for kind in kinds])
