"""The structures that calibrate the features: an unbiased run, and cells of what it lacks."""

from collections.abc import Sequence

from ase import Atoms


def elements_lacking(thermal: Sequence[Atoms], cells: Sequence[Atoms]) -> list[str]:
    """Return the elements of `cells` of which no thermal structure has an atom, by name."""
    return sorted(_elements(cells) - _elements(thermal))


def with_all_elements(thermal: Sequence[Atoms], cells: Sequence[Atoms]) -> list[Atoms]:
    """Return the thermal structures, and the cells with an element that none of these has.

    Args:
        thermal: Snapshots of an unbiased run. Those of a phase are missing where the guards have
            stopped all its walkers; without any, all cells are returned.
        cells: Relaxed or strained cells, which show no thermal scale.
    """
    lacking = set(elements_lacking(thermal, cells))
    return [*thermal, *(atoms for atoms in cells if lacking & _elements([atoms]))]


def _elements(structures: Sequence[Atoms]) -> set[str]:
    return {str(symbol) for atoms in structures for symbol in atoms.symbols}
