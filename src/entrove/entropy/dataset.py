"""The dataset as an entropy sees it: what has been added, and what a new structure would add."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from pydantic import ValidationError

from entrove.entropy.config import EntropyConfig, EntropyKind, Mode
from entrove.entropy.covariance import CovarianceEntropy, dataset_entropy
from entrove.entropy.featurise import BATCH_ATOMS, FeatureBatch, evaluate_in_batches, fingerprints_from
from entrove.entropy.functional import GainFunctional
from entrove.entropy.information import InformationGain, total_information
from entrove.entropy.moments import Moments, SpeciesMoments
from entrove.entropy.rows import SpeciesRows, split_rows
from entrove.entropy.storage import as_json, differences, read_archive, write_archive
from entrove.entropy.whitening import Scaling, Whitening, species_label
from entrove.errors import SelectionError
from entrove.fingerprints.features import FeatureMap
from entrove.fingerprints.gom import GaussianOverlap
from entrove.structures import content_hash

logger = logging.getLogger(__name__)


class EntropyDataset:
    """Statistics of the features of a growing dataset, with gains, removal, merge and a file.

    entropy "information" (default): whitened information gain, never negative, in nats. "paper":
    ln det of the normalised covariance, see `entrove.entropy.covariance`. The other settings are those
    of `EntropyConfig`; `SelectionError` says which of them cannot be used. `mode` is "per_atom" or
    "per_config"; `features` turns atoms into features, by default Gaussian-overlap fingerprints.
    Structures themselves are not kept, only their content hashes.

    Information gain needs `calibrate` with structures of an unbiased run, before anything is added.
    """

    def __init__(
        self,
        entropy: EntropyKind = "information",
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
                f"entropy={entropy!r} knows no dataset; allowed here are 'information' and 'paper' "
                "(use entrove.entropy.local.LocalEntropy for the bias of one configuration)"
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
            raise SelectionError(f"an entropy dataset cannot be made with these settings: {error}") from error
        self.features: FeatureMap = features if features is not None else GaussianOverlap()
        self.batch_atoms = batch_atoms
        self._moments = SpeciesMoments()
        self._whitening = Whitening()
        self._members: Counter[str] = Counter()
        self._functional: GainFunctional | None = None

    @classmethod
    def from_config(cls, config: EntropyConfig, features: FeatureMap | None = None) -> "EntropyDataset":
        """Make an empty dataset; raises `SelectionError` for kinds that know no dataset."""
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

    def calibrate(self, structures: Iterable[Atoms]) -> None:
        """Take mean and scale of the features of each species from an unbiased reference run.

        Does nothing for "paper", which uses raw features. Raises `SelectionError` when the dataset
        has members already: their rows were whitened with the earlier calibration.
        """
        if self._members:
            raise SelectionError(
                f"the dataset has {len(self)} structures already and its calibration is frozen; "
                "calibrate before the first add()"
            )
        if self.config.kind == "information":
            self._whitening = Whitening()
            self.calibrate_on_moments(self._raw_moments(self._evaluate(structures)))

    def calibrate_on_moments(self, raw: SpeciesMoments) -> None:
        """Calibrate every species that has no calibration yet, from statistics of raw rows."""
        if not raw.species:
            raise SelectionError("there is no structure to calibrate on; give structures of an unbiased run")
        self._whitening = self._whitening.extended(Whitening.of(raw, self.config.scale_floor))
        self._functional = None

    def add(self, structures: Iterable[Atoms]) -> None:
        """Add structures, streamed. All are added, or none if one of them cannot be used.

        For "information", species without a calibration are calibrated on what is added, with a
        warning. A structure that is added twice counts twice.
        """
        batches = self._evaluate(structures)
        if self.config.kind == "information" and not self._whitening.species:
            # All batches are needed before the first can be whitened; calibrate() avoids that.
            batches = list(batches)
        whitening, added, members = self._whitening, SpeciesMoments(), Counter[str]()
        try:
            if isinstance(batches, list) and batches:
                self._calibrate_missing(batches)
            for batch in batches:
                self._calibrate_missing([batch])
                added = added + self._moments_of(batch)
                members.update(content_hash(atoms) for atoms in batch.structures)
        except BaseException:
            self._whitening = whitening
            raise
        self._moments = self._moments + added
        self._members += members
        self._functional = None

    def remove(self, structures: Iterable[Atoms]) -> None:
        """Take structures out again. All are taken out, or none.

        Raises `SelectionError` for a structure that is not in the dataset.
        """
        removed, members = SpeciesMoments(), Counter[str]()
        for batch in self._evaluate(structures):
            removed = removed + self._moments_of(batch)
            for atoms in batch.structures:
                members[content_hash(atoms)] += 1
                if members[content_hash(atoms)] > self._members[content_hash(atoms)]:
                    raise SelectionError(
                        f"{atoms.get_chemical_formula()} (hash {content_hash(atoms)}) is not in the "
                        "dataset, or not as often as it was to be removed; remove only what was added"
                    )
        self._moments = self._moments - removed
        self._members -= members
        self._functional = None

    def merge(self, other: "EntropyDataset") -> None:
        """Add everything that `other` holds, without evaluating a single feature.

        Raises `SelectionError` when settings, feature map or calibration differ.
        """
        difference = differences(self._header(), other._header())
        if difference:
            raise SelectionError(f"datasets of different definitions cannot be merged ({difference})")
        if not self._whitening.agrees_with(other._whitening):
            raise SelectionError(
                "datasets with different calibrations cannot be merged; calibrate both on the same structures"
            )
        self._whitening = self._whitening.extended(other._whitening)
        self._moments = self._moments + other._moments
        self._members += other._members
        self._functional = None

    def gain(self, structures: Iterable[Atoms]) -> np.ndarray:
        """What each structure, on its own, would add to the dataset, in nats.

        Raises `SelectionError` for a species without calibration ("information").
        """
        functional = self.functional()
        gains = [functional.gains(*batch.arguments).numpy() for batch in self._evaluate(structures)]
        return np.concatenate(gains) if gains else np.zeros(0)

    def functional(self) -> GainFunctional:
        """A frozen snapshot for the bias: later additions do not change it."""
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
        """Entropy of the whole dataset.

        "information": 1/2 sum ln det(M / lambda), the sum of all gains, in nats. "paper": S_glob = sum
        ln det Sigma. Both are 0 for an empty dataset.
        """
        if self.config.kind == "information":
            return total_information(self._moments, self.config.ridge)
        return dataset_entropy(self._moments, self.config.epsilon)

    def copy(self) -> "EntropyDataset":
        """An independent dataset with the same contents and the same feature map."""
        twin = EntropyDataset.from_config(self.config, self.features)
        twin.batch_atoms = self.batch_atoms
        # Moments and whitening are values that are replaced, never changed, so both may hold them.
        twin._moments, twin._whitening, twin._members = self._moments, self._whitening, self._members.copy()
        return twin

    def save(self, path: str | Path) -> None:
        """Write the dataset to one file, in one step."""
        arrays: dict[str, np.ndarray] = {
            "hashes": np.array(list(self._members), dtype="S32"),
            "hash_counts": np.array(list(self._members.values()), dtype=np.int64),
        }
        for number in self._moments.species:
            moments = self._moments[number]
            arrays[f"count_{number}"] = np.array(moments.count)
            arrays[f"total_{number}"] = moments.total.numpy()
            arrays[f"outer_{number}"] = moments.outer.numpy()
        for number in self._whitening.species:
            arrays[f"mean_{number}"] = self._whitening[number].mean.numpy()
            arrays[f"scale_{number}"] = self._whitening[number].scale.numpy()
        header = {
            "species": list(self._moments.species),
            "calibrated": list(self._whitening.species),
            **self._header(),
        }
        write_archive(path, header, arrays)

    @classmethod
    def load(cls, path: str | Path, features: FeatureMap | None = None) -> "EntropyDataset":
        """Read a dataset back.

        `features` must describe itself as the feature map did that the dataset was made with; Gaussian
        overlap fingerprints are rebuilt from the file when it is left out. Raises `SelectionError` when
        features differ, or when the file is damaged or of another schema.
        """
        header, arrays = read_archive(path)
        if features is None:
            features = fingerprints_from(header["features"])
        dataset = cls.from_config(EntropyConfig.model_validate(header["config"]), features)
        difference = differences(header["features"], as_json(dataset.features.describe()))
        if difference:
            raise SelectionError(
                f"{path}: the dataset was made with other features ({difference}); "
                "load it with the feature map that it was made with"
            )

        def tensor(name: str) -> torch.Tensor:
            return torch.from_numpy(arrays[name])

        dataset._moments = SpeciesMoments(
            {
                n: Moments(int(arrays[f"count_{n}"]), tensor(f"total_{n}"), tensor(f"outer_{n}"))
                for n in header["species"]
            }
        )
        dataset._whitening = Whitening(
            {n: Scaling(tensor(f"mean_{n}"), tensor(f"scale_{n}")) for n in header["calibrated"]}
        )
        hashes = [digest.decode() for digest in arrays["hashes"].tolist()]
        dataset._members = Counter(dict(zip(hashes, arrays["hash_counts"].tolist(), strict=True)))
        return dataset

    def rows(self, batch: FeatureBatch) -> list[SpeciesRows]:
        """Rows of a batch as the statistics count them: whitened for "information"."""
        blocks = self.raw_rows(batch)
        if self.config.kind == "paper":
            return blocks
        return [replace(block, values=self._whitening[block.number].apply(block.values)) for block in blocks]

    def raw_rows(self, batch: FeatureBatch) -> list[SpeciesRows]:
        """Rows of a batch before whitening."""
        return split_rows(*batch.arguments, self.config.mode, species_blocks=self.config.species_blocks)

    def _header(self) -> dict[str, object]:
        return {"config": self.config.model_dump(), "features": as_json(self.features.describe())}

    def _evaluate(self, structures: Iterable[Atoms]) -> Iterable[FeatureBatch]:
        return evaluate_in_batches(self.features, structures, self.batch_atoms)

    def _moments_of(self, batch: FeatureBatch) -> SpeciesMoments:
        return SpeciesMoments.of(self.rows(batch))

    def _raw_moments(self, batches: Iterable[FeatureBatch]) -> SpeciesMoments:
        return sum((SpeciesMoments.of(self.raw_rows(batch)) for batch in batches), SpeciesMoments())

    def _calibrate_missing(self, batches: list[FeatureBatch]) -> None:
        if self.config.kind == "paper":
            return
        seen = {block.number for batch in batches for block in self.raw_rows(batch)}
        missing = sorted(seen - set(self._whitening.species))
        if missing:
            logger.warning(
                "No calibration for %s: taking mean and scale from the structures that are added now. "
                "Call calibrate() with structures of an unbiased run first.",
                ", ".join(species_label(number) for number in missing),
            )
            self.calibrate_on_moments(self._raw_moments(batches))
