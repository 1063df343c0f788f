"""The growing dataset: statistics of what was added, and what a new structure would add."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from pydantic import ValidationError

from entrove.entropy.batches import BATCH_ATOMS, FeatureBatch, evaluate_in_batches
from entrove.entropy.config import EntropyConfig, Mode, SelectingKind
from entrove.entropy.covariance import CovarianceEntropy, total_gain
from entrove.entropy.functional import Bias, GainFunctional
from entrove.entropy.information import InformationGain, total_information
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.rows import SHARED, SpeciesRows, split_rows
from entrove.entropy.storage import (
    StoredDataset,
    as_json,
    differences,
    fingerprints_from,
    read_dataset,
    write_dataset,
)
from entrove.entropy.typed_torch import distinct, eigvalsh
from entrove.entropy.whitening import Whitening, species_label
from entrove.errors import SelectionError
from entrove.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.structures import StructureSource, content_hash

logger = logging.getLogger(__name__)


class EntropyDataset:
    """Statistics of the features of a growing dataset, with gains, removal, merge and a file.

    Args:
        entropy: "information": whitened information gain, never negative. "paper": ln det of the
            normalised covariance, see `entrove.entropy.covariance`. Both in nats.
        mode: "per_atom" (a row is the features of an atom) or "per_config" (their mean over the
            atoms of one species in a configuration).
        features: Turns atoms into features; Gaussian overlap fingerprints by default.
        epsilon, ridge, scale_floor, species_blocks: See `EntropyConfig`.
        batch_atoms: Atoms whose features are evaluated at once.

    "information" needs `calibrate` with structures of an unbiased run, before anything is added.
    Structures themselves are not kept, only their content hashes. Raises `SelectionError` when a
    setting is out of range, or for an entropy without a dataset ("local").
    """

    def __init__(
        self,
        entropy: SelectingKind = "information",
        mode: Mode = "per_atom",
        *,
        features: FeatureMap | None = None,
        epsilon: float = 1e-3,
        ridge: float = 0.1,
        scale_floor: float = 1e-2,
        species_blocks: bool = True,
        batch_atoms: int = BATCH_ATOMS,
    ) -> None:
        if entropy not in ("information", "paper"):
            raise SelectionError(
                f"entropy={entropy!r} has no dataset; allowed here are 'information' and "
                "'paper' (use entrove.entropy.local.LocalEntropy for the bias of one "
                "configuration)"
            )
        try:
            self.config = EntropyConfig(
                kind=entropy,
                mode=mode,
                epsilon=epsilon,
                ridge=ridge,
                scale_floor=scale_floor,
                species_blocks=species_blocks,
            )
        except ValidationError as error:
            raise SelectionError(
                f"an entropy dataset cannot be made with these settings: {error}"
            ) from error
        self.features: FeatureMap = features if features is not None else GaussianOverlap()
        self.batch_atoms = batch_atoms
        self._moments = SpeciesMoments()
        self._whitening = Whitening()
        self._members: Counter[str] = Counter()
        self._functional: GainFunctional | None = None

    @classmethod
    def from_config(
        cls, config: EntropyConfig, features: FeatureMap | None = None
    ) -> "EntropyDataset":
        """Make an empty dataset.

        Args:
            config: Kind, mode and regularisation of the entropy.
            features: Turns atoms into features; Gaussian overlap fingerprints when left out.

        Raises `SelectionError` for kinds without a dataset.
        """
        return cls(
            config.kind,
            config.mode,
            features=features,
            epsilon=config.epsilon,
            ridge=config.ridge,
            scale_floor=config.scale_floor,
            species_blocks=config.species_blocks,
        )

    def __len__(self) -> int:
        """Number of structures that were added and not removed."""
        return self._members.total()

    def __contains__(self, atoms: Atoms) -> bool:
        """Whether this structure was added; see `entrove.structures.content_hash`."""
        return content_hash(atoms) in self._members

    @property
    def hashes(self) -> frozenset[str]:
        """Content hashes of the structures in the dataset."""
        return frozenset(self._members)

    @property
    def moments(self) -> SpeciesMoments:
        """Statistics of the rows: whitened for "information", raw for "paper"."""
        return self._moments

    @property
    def whitening(self) -> Whitening:
        """Frozen mean and scale per species; empty for "paper" and before calibration."""
        return self._whitening

    def calibrate(self, structures: StructureSource) -> None:
        """Take mean and scale of the features of each species from an unbiased reference run.

        Does nothing for "paper", which uses raw features. In a dataset with members, or with
        structures that it starts from, only species that are new are calibrated: the rows of the
        others were whitened already. Raises
        `SelectionError`, and changes nothing, when no structure is given, or when every species is
        calibrated already.
        """
        if self.config.kind == "paper":
            return
        raw = self._raw_moments(self._evaluate(structures))
        known = self._whitening if self._moments.species else Whitening()
        if raw.species and all(number in known for number in raw.species):
            raise SelectionError(
                "the dataset has statistics of structures already and its calibration is frozen; "
                "calibrate before the first add(), or on structures with species that are new"
            )
        self._whitening = self._learned(known, raw)
        self._functional = None

    def calibrate_on_moments(self, raw: SpeciesMoments) -> None:
        """Calibrate every species that has no calibration yet, from statistics of raw rows."""
        self._whitening = self._learned(self._whitening, raw)
        self._functional = None

    def add(self, structures: StructureSource) -> None:
        """Add structures, streamed. All are added, or none if one of them cannot be used.

        For "information", species without a calibration are calibrated on all that is added, with
        a warning; structures that contain them are held in memory. A structure that is added twice
        counts twice.
        """
        whitening, added, members = self._whitening, SpeciesMoments(), Counter[str]()
        uncalibrated: list[FeatureBatch] = []
        for batch in self._evaluate(structures):
            if self._uncalibrated(batch):
                uncalibrated.append(batch)
            else:
                added = added + SpeciesMoments.of(self.rows(batch))
            members.update(content_hash(atoms) for atoms in batch.structures)
        if uncalibrated:
            missing = sorted(
                {number for batch in uncalibrated for number in self._uncalibrated(batch)}
            )
            logger.warning(
                "No calibration for %s: taking mean and scale from the structures that are added "
                "now. Call calibrate() with structures of an unbiased run first.",
                ", ".join(species_label(number) for number in missing),
            )
            whitening = self._learned(whitening, self._raw_moments(uncalibrated))
            for batch in uncalibrated:
                added = added + SpeciesMoments.of(_whitened(self.raw_rows(batch), whitening))
        self._whitening, self._moments = whitening, self._moments + added
        self._members += members
        self._functional = None

    def start_from(self, structures: StructureSource) -> None:
        """Add structures to the statistics alone, as `add` does: they are no members.

        A selection may pick them, and they cannot be removed.
        """
        members = self._members.copy()
        self.add(structures)
        self._members = members

    def remove(self, structures: StructureSource) -> None:
        """Take structures out again, exactly as they were added. All are taken out, or none.

        The rows of these structures are subtracted, so their coordinates must be those that were
        added to the last bit: a file of eight decimals in between leaves the difference in the
        statistics. Raises `SelectionError` for a structure that is not in the dataset, or whose
        rows cannot be those that were added.
        """
        removed, members = SpeciesMoments(), Counter[str]()
        for batch in self._evaluate(structures):
            removed = removed + SpeciesMoments.of(self.rows(batch))
            for atoms in batch.structures:
                members[content_hash(atoms)] += 1
                if members[content_hash(atoms)] > self._members[content_hash(atoms)]:
                    raise SelectionError(
                        f"{atoms.get_chemical_formula()} (hash {content_hash(atoms)}) is not in "
                        "the dataset, or not as often as it was to be removed; remove only what "
                        "was added"
                    )
        rest = self._moments - removed
        for number in removed.species:
            if number in rest:
                self._check_possible(number, rest[number], self._moments[number])
        self._moments = rest
        self._members -= members
        self._functional = None

    def merge(self, other: "EntropyDataset") -> None:
        """Add everything that `other` holds, without evaluating a single feature.

        Raises `SelectionError` when settings, feature map or calibration differ.
        """
        difference = differences(self._header(), other._header())
        if difference:
            raise SelectionError(
                f"datasets of different definitions cannot be merged ({difference})"
            )
        if not self._whitening.agrees_with(other._whitening):
            raise SelectionError(
                "datasets with different calibrations cannot be merged; calibrate both on the "
                "same structures"
            )
        self._whitening = self._whitening.extended(other._whitening)
        self._moments = self._moments + other._moments
        self._members += other._members
        self._functional = None

    def gain(self, structures: StructureSource) -> np.ndarray:
        """What each structure, on its own, would add to the dataset, in nats.

        Raises `SelectionError` for a species without calibration ("information").
        """
        functional = self._frozen()
        gains: list[np.ndarray] = []
        for batch in self._evaluate(structures):
            self._refuse_uncalibrated(batch)
            gains.append(functional.gains(batch).numpy())
        return np.concatenate(gains) if gains else np.zeros(0)

    def bias(self) -> Bias:
        """The dataset's features and its entropy as it is now, to bias walkers with.

        Later additions do not change it. `bias().entropy` is a function of `AtomFeatures`, with
        `value_and_gradient` and `gains`.
        """
        return Bias(self.features, self._frozen())

    def _frozen(self) -> GainFunctional:
        """The entropy with the present statistics; made once and kept until they change."""
        if self._functional is None:
            config = self.config
            self._functional = (
                InformationGain(
                    self._moments,
                    self._whitening,
                    ridge=config.ridge,
                    mode=config.mode,
                    species_blocks=config.species_blocks,
                )
                if config.kind == "information"
                else CovarianceEntropy(
                    self._moments,
                    epsilon=config.epsilon,
                    mode=config.mode,
                    species_blocks=config.species_blocks,
                )
            )
        return self._functional

    def entropy(self) -> float:
        """Entropy above that of an empty dataset, in nats: the sum of the gains as it grew.

        "information": 1/2 sum ln det(M / lambda). "paper": sum ln det(Sigma / eps), which is
        S_glob less features x ln eps for every species.
        """
        if self.config.kind == "information":
            return total_information(self._moments, self.config.ridge)
        return total_gain(self._moments, self.config.epsilon)

    def copy(self) -> "EntropyDataset":
        """An independent dataset with the same contents and the same feature map."""
        twin = EntropyDataset.from_config(self.config, self.features)
        twin.batch_atoms = self.batch_atoms
        # Moments and whitening are values that are replaced, never changed, so both may hold them.
        twin._moments, twin._whitening, twin._members = (
            self._moments,
            self._whitening,
            self._members.copy(),
        )
        return twin

    def save(self, path: str | Path) -> None:
        """Write the dataset to one file, replacing `path` in one step."""
        write_dataset(
            path,
            StoredDataset(
                self.config,
                as_json(self.features.describe()),
                self._moments,
                self._whitening,
                self._members,
            ),
        )

    @classmethod
    def load(cls, path: str | Path, features: FeatureMap | None = None) -> "EntropyDataset":
        """Read a dataset back.

        Args:
            path: The file that `save` wrote.
            features: A feature map with the description of the one that the dataset was made with;
                when it is left out, Gaussian overlap fingerprints are rebuilt from the file.

        Raises `SelectionError` when features differ, or when the file is damaged or of another
        schema.
        """
        stored = read_dataset(path)
        if features is None:
            features = fingerprints_from(stored.features)
        difference = differences(stored.features, as_json(features.describe()))
        if difference:
            raise SelectionError(
                f"{path}: the dataset was made with other features ({difference}); "
                "load it with the feature map that it was made with"
            )
        dataset = cls.from_config(stored.config, features)
        dataset._moments, dataset._whitening = stored.moments, stored.whitening
        dataset._members = stored.members
        return dataset

    def rows(self, batch: FeatureBatch) -> list[SpeciesRows]:
        """Rows of a batch as the statistics count them: whitened for "information".

        Raises `SelectionError` for a species without calibration.
        """
        if self.config.kind == "paper":
            return self.raw_rows(batch)
        self._refuse_uncalibrated(batch)
        return _whitened(self.raw_rows(batch), self._whitening)

    def raw_rows(self, batch: FeatureBatch) -> list[SpeciesRows]:
        """Rows of a batch before whitening."""
        return split_rows(batch, self.config.mode, species_blocks=self.config.species_blocks)

    def _header(self) -> dict[str, object]:
        return {"config": self.config.model_dump(), "features": as_json(self.features.describe())}

    def _evaluate(self, structures: StructureSource) -> Iterable[FeatureBatch]:
        return evaluate_in_batches(self.features, structures, self.batch_atoms)

    def _raw_moments(self, batches: Iterable[FeatureBatch]) -> SpeciesMoments:
        return sum(
            (SpeciesMoments.of(self.raw_rows(batch)) for batch in batches), SpeciesMoments()
        )

    def _learned(self, known: Whitening, raw: SpeciesMoments) -> Whitening:
        if not raw.species:
            raise SelectionError(
                "there is no structure to calibrate on; give structures of an unbiased run"
            )
        return known.learn(raw, self.config.scale_floor)

    def _uncalibrated(self, batch: FeatureBatch) -> set[int]:
        """Species (or the shared block) of a batch that would have to be whitened, and cannot."""
        if self.config.kind == "paper":
            return set()
        numbers = set(distinct(batch.numbers)) if self.config.species_blocks else {SHARED}
        return {number for number in numbers if number not in self._whitening}

    def _refuse_uncalibrated(self, batch: FeatureBatch) -> None:
        missing = self._uncalibrated(batch)
        if not missing:
            return
        number = min(missing)
        owner = batch.system_idx[batch.numbers == number] if number != SHARED else batch.system_idx
        reason = self._whitening.describe_missing(number)
        raise SelectionError(f"{batch.name(int(owner[0]))}: {reason}, or leave it out")

    def _check_possible(self, number: int, rest: Moments, before: Moments) -> None:
        """Raise `SelectionError` for statistics that no set of rows can have."""
        is_paper = self.config.kind == "paper"
        least = float(eigvalsh(rest.scatter() if is_paper else rest.outer)[0])
        allowed = self.config.epsilon * rest.count if is_paper else self.config.ridge
        # Sums of squares are rounded in proportion to themselves. Positions of eight decimals may
        # shift an eigenvalue by a few per cent of the regularisation, which is below any gain.
        rounding = 100 * torch.finfo(torch.float64).eps * float(before.outer.trace())
        if least < -(0.1 * allowed + rounding):
            raise SelectionError(
                f"the rows of {species_label(number)} that were to be removed are not those that "
                f"were added (sum x x^T would get the eigenvalue {least:.2g}); remove the very "
                "structures that were added, not copies that were written to a file and read "
                "back, or add what is to stay to a new dataset"
            )


def _whitened(blocks: list[SpeciesRows], whitening: Whitening) -> list[SpeciesRows]:
    return [replace(block, values=whitening[block.number].apply(block.values)) for block in blocks]
