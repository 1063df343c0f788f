"""How many eigenvalues a regime needs."""

import math
from collections.abc import Sequence

from ase import Atoms

from entrove.fingerprints.batching import naming_structures, to_batches
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.neighbours import find_neighbours

MARGIN = 1.1
"""Allowance for spheres that get denser during dynamics than in any given structure."""


def resolve_length(config: FingerprintConfig, structures: Sequence[Atoms]) -> FingerprintConfig:
    """Replace length="auto" by the size of the largest sphere among the structures, plus 10 %.

    Args:
        config: Settings of the fingerprint; any other length than "auto" is kept.
        structures: The densest structures of the regime (highest pressure, largest compression).
            A sphere that exceeds the length later keeps its largest eigenvalues.

    Raises `StructureError` when there are no structures.
    """
    if config.length != "auto":
        return config
    largest = 0
    for batch in to_batches(structures, max_atoms=4096):
        with naming_structures(batch.structures.tolist()):
            count = find_neighbours(batch.state, config.cutoff_A).count
        largest = max(largest, int(count.max()) + 1)
    length = math.ceil(MARGIN * largest * config.orbitals_per_atom)
    return config.model_copy(update={"length": length})
