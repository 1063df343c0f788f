"""How many eigenvalues a regime needs."""

import math
from collections.abc import Sequence

from ase import Atoms

from entrove.fingerprints.batching import to_batches
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
    largest = max(
        int(find_neighbours(batch.state, config.cutoff_A).count.max()) + 1
        for batch in to_batches(structures, max_atoms=4096)
    )
    length = math.ceil(MARGIN * largest * config.orbitals_per_atom)
    return config.model_copy(update={"length": length})
