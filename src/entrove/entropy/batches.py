"""Structures, one at a time from a list, a stream or a file, to batches of per-atom features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from ase import Atoms

from entrove.errors import StructureError
from entrove.features import AtomFeatures, FeatureMap
from entrove.fingerprints.batching import naming_structures, to_state
from entrove.formats.reading import iterate_structures
from entrove.structures import StructureSource

BATCH_ATOMS = 2048
"""Atoms whose features are evaluated at once, by default."""


@dataclass(frozen=True, eq=False)
class FeatureBatch(AtomFeatures):
    """Features of the atoms of a few structures, which are the systems, and these structures.

    `first` is the position of the first of them in the list or stream that they came from.
    """

    structures: list[Atoms]
    first: int

    def __len__(self) -> int:
        """Number of structures."""
        return self.n_systems

    def name(self, system: int) -> str:
        """Position and formula of a structure, for messages."""
        return (
            f"structure {self.first + system} ({self.structures[system].get_chemical_formula()})"
        )


def evaluate_in_batches(
    features: FeatureMap, structures: StructureSource, batch_atoms: int = BATCH_ATOMS
) -> Iterator[FeatureBatch]:
    """Evaluate features batch by batch, so that a pool never has to fit in memory.

    A batch ends before `batch_atoms` would be exceeded, and where the periodicity changes (a batch
    has one periodicity for all its systems). Raises `StructureError` for a structure without atoms
    or with features that are not finite.
    """
    first = 0
    for batch in _cut(iterate_structures(structures), batch_atoms):
        with naming_structures(range(first, first + len(batch))):
            evaluated = _evaluate(features, batch, first)
        yield evaluated
        first += len(batch)


def _cut(structures: Iterable[Atoms], batch_atoms: int) -> Iterator[list[Atoms]]:
    batch: list[Atoms] = []
    atoms_in_batch = 0
    for index, atoms in enumerate(structures):
        if len(atoms) == 0:
            raise StructureError("{structure} has no atoms; remove it from the list", index)
        other_kind = batch and bool((batch[0].pbc != atoms.pbc).any())
        if batch and (other_kind or atoms_in_batch + len(atoms) > batch_atoms):
            yield batch
            batch, atoms_in_batch = [], 0
        batch.append(atoms)
        atoms_in_batch += len(atoms)
    if batch:
        yield batch


def _evaluate(features: FeatureMap, structures: list[Atoms], first: int) -> FeatureBatch:
    sizes = torch.tensor([len(atoms) for atoms in structures])
    numbers = torch.cat(
        [torch.as_tensor(atoms.numbers, dtype=torch.int64) for atoms in structures]
    )
    system_idx = torch.repeat_interleave(torch.arange(len(structures)), sizes)
    values = features.evaluate(to_state(structures), pull_back=False).values.detach().to("cpu")
    batch = FeatureBatch(values, numbers, system_idx, len(structures), structures, first)
    finite = torch.isfinite(values).all(1)
    if not bool(finite.all()):
        system = int(system_idx[~finite][0])
        raise StructureError(
            f"the features of {{structure}} ({structures[system].get_chemical_formula()}) are not "
            "finite; look for NaN positions or atoms on top of each other",
            system,
        )
    return batch
