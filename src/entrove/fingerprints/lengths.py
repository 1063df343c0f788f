"""What a fingerprint takes from the structures at hand: its length, and widths that differ."""

import math
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from ase import Atoms

from entrove.fingerprints.batching import naming_structures, to_batches
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.neighbours import find_neighbours
from entrove.fingerprints.radii import distinct_widths

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


SEEN_OF_A_STREAM = 1000
"""Structures of a stream whose elements are looked at before the first one is used."""


def with_distinct_widths(
    config: FingerprintConfig, structures: Iterable[Atoms]
) -> FingerprintConfig:
    """Move the widths of elements apart that occur together, see `radii.distinct_widths`.

    Args:
        config: Settings of the fingerprint; widths that it gives are kept.
        structures: They have all elements that the fingerprint will meet.
    """
    symbols = {symbol for atoms in structures for symbol in atoms.symbols.species()}
    return config.model_copy(update={"radii_A": distinct_widths(symbols, config.radii_A) or None})


def resolve(config: FingerprintConfig, structures: Sequence[Atoms]) -> FingerprintConfig:
    """Settings of the fingerprint of a system: length, and widths that tell its elements apart.

    Args:
        config: Settings as they were given.
        structures: The densest ones of the regime, with all of its elements.

    Raises `StructureError` when there are no structures and the length is "auto".
    """
    return resolve_length(with_distinct_widths(config, structures), structures)


def look_ahead(structures: Iterable[Atoms]) -> tuple[list[Atoms], Iterable[Atoms]]:
    """Return the first `SEEN_OF_A_STREAM` structures, and all of them, of which none is lost."""
    stream = iter(structures)
    seen = list(islice(stream, SEEN_OF_A_STREAM))
    return seen, chain(seen, stream)
