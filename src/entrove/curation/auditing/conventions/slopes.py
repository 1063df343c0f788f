"""How large energy differences are against those that forces give.

Forces are derivatives of the energy, so that energy differences which follow from forces must have
the size and sign of those that were labelled. Two sources give them: pairs of frames of one cell
that lie close to each other, dE = -(F_a + F_b)/2 . dr, and a potential fitted to forces alone.
Either gives a range for the slope of labelled differences against those of forces, and a
convention is excluded when 1 is not in its range.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entrove.curation.auditing.conventions.energy_units import (
    ENERGY_CONVENTIONS,
    EnergyConvention,
)
from entrove.curation.auditing.predictions.quick_potential import (
    ENERGY_SCALE_EV_PER_ATOM,
    FOLDS,
    QuickPotential,
    Rows,
)
from entrove.curation.auditing.predictions.sample import Sample
from entrove.formats.conventions import energy_slope, find_frame_pairs

LEAST_CORRELATION = 0.6
"""A potential of forces whose energies agree less than this with the labels says nothing."""

_LEAST_PAIR_CORRELATION = 0.97
_LEAST_FOLLOWING = 0.9
_LEAST_FRAMES = 8
_LARGEST_DISPLACEMENT_A = 0.6
_LEAST_DISPLACEMENT_A = 0.001
"""Frames that are there twice have no energy difference for forces to explain."""

_MOST_PAIRS = 1000
_MARGIN = 1.25
"""Slopes are believed up to this factor: forces are no quadratic function of displacements."""


@dataclass(frozen=True)
class SlopeEvidence:
    """Conventions that energy differences allow, and in words what was compared.

    None for `allowed` where nothing could be compared.
    """

    allowed: frozenset[str] | None
    said: str

    def excludes(self, convention: EnergyConvention) -> bool:
        """Whether energy differences contradict a convention."""
        return self.allowed is not None and convention.name not in self.allowed


NO_SLOPES = SlopeEvidence(None, "")


def compare_slopes(
    sample: Sample,
    members: np.ndarray,
    rows: Rows,
    alone: QuickPotential,
    levels: np.ndarray | None = None,
) -> SlopeEvidence:
    """Compare labelled energy differences with those that forces give, in every convention.

    Args:
        sample: Frames with their labels as given.
        members: Places of the frames to be judged.
        rows: Rows of these frames, from `sample_rows`.
        alone: A potential fitted to the forces of these rows alone.
        levels: A number for each frame of the sample; energies are compared within one number.
    """
    if levels is None:
        levels = np.zeros(len(sample.frames), dtype=int)
    members = members[np.isfinite(sample.energies_eV[members])]
    said: list[str] = []
    ranges = {convention.name: (0.0, np.inf) for convention in ENERGY_CONVENTIONS}
    for what, find in (("close pairs of frames", _of_pairs), ("forces alone", _of_potential)):
        found = find(sample, members, rows, alone, levels)
        if not found:
            continue
        low, high = found["total"]
        said.append(f"energy differences are {low:.3g} to {high:.3g} times those of {what}")
        for name, (least, most) in found.items():
            ranges[name] = max(ranges[name][0], least), min(ranges[name][1], most)
    if not said:
        return NO_SLOPES
    allowed = frozenset(name for name, (low, high) in ranges.items() if low <= 1 <= high)
    return SlopeEvidence(allowed, "; ".join(said))


def _of_pairs(
    sample: Sample,
    members: np.ndarray,
    rows: Rows,
    alone: QuickPotential,
    levels: np.ndarray,
) -> dict[str, tuple[float, float]]:
    """Ranges of slopes by frames of equal cells; empty where there are too few."""
    del rows, alone
    known = np.array([i for i in members if sample.forces[i] is not None], dtype=int)
    if len(known) < _LEAST_FRAMES:
        return {}
    structures = [sample.structures[i] for i in known]
    if any(atoms.cell.rank < 3 for atoms in structures):
        return {}
    pairs = find_frame_pairs(
        np.array([atoms.cell.array for atoms in structures]),
        [atoms.get_scaled_positions(wrap=False) for atoms in structures],
        [atoms.numbers for atoms in structures],
        sample.energies_eV[known],
        [sample.forces[i] for i in known],  # pyright: ignore[reportArgumentType]
        largest_strain=1e-4,
        largest_displacement_A=_LARGEST_DISPLACEMENT_A,
        least_displacement_A=_LEAST_DISPLACEMENT_A,
        most_pairs=_MOST_PAIRS,
    )
    same = levels[known[pairs.first]] == levels[known[pairs.second]]
    first, second, works = pairs.first[same], pairs.second[same], pairs.force_works_eV[same]
    if len(np.unique([first, second])) < _LEAST_FRAMES:
        return {}
    ranges, best = {}, 0.0
    sizes = sample.sizes[known]
    for convention in ENERGY_CONVENTIONS:
        energies = sample.energies_eV[known] * convention.factors(sizes) / convention.forces
        differences = energies[second] - energies[first]
        slope, correlation = energy_slope(differences, works)
        best = max(best, abs(correlation))
        # Differences that do not follow the forces at all exclude a convention, too.
        follows = abs(correlation) >= _LEAST_FOLLOWING
        ranges[convention.name] = _widened(slope, slope) if follows else (0.0, 0.0)
    return ranges if best >= _LEAST_PAIR_CORRELATION else {}


def _of_potential(
    sample: Sample,
    members: np.ndarray,
    rows: Rows,
    alone: QuickPotential,
    levels: np.ndarray,
) -> dict[str, tuple[float, float]]:
    """Ranges of slopes by the energies of a potential of forces, predicted in folds.

    Both sides have errors, so that the slope lies between that of the labels on the predictions
    and the inverse of that of the predictions on the labels.
    """
    chosen = rows.is_energy
    owner = rows.owner[chosen]
    weights = alone.fold_weights[owner % FOLDS]
    predicted = np.full(len(sample.frames), np.nan)
    # A constant per element is what forces do not know; within one composition it cancels.
    predicted[owner] = (rows.features[chosen] * weights).sum(axis=1)
    groups = np.array(
        [f"{sample.structures[i].get_chemical_formula()} {levels[i]}" for i in members]
    )
    sizes = sample.sizes[members]
    ranges = {}
    for convention in ENERGY_CONVENTIONS:
        energies = sample.energies_eV[members] * convention.factors(sizes) / convention.forces
        found = _range(energies / sizes, predicted[members] * ENERGY_SCALE_EV_PER_ATOM, groups)
        if found is None:
            return {}
        ranges[convention.name] = found
    return ranges


def _range(
    labelled: Float[np.ndarray, " frames"],
    predicted: Float[np.ndarray, " frames"],
    groups: np.ndarray,
) -> tuple[float, float] | None:
    x, y = [], []
    for group in np.unique(groups):
        same = groups == group
        if same.sum() < 3:
            continue
        x.append(predicted[same] - np.median(predicted[same]))
        y.append(labelled[same] - np.median(labelled[same]))
    if not x or sum(map(len, x)) < _LEAST_FRAMES:
        return None
    first, second = np.concatenate(x), np.concatenate(y)
    if not np.isfinite(first).all() or not first.any() or not second.any():
        return None
    correlation = float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))
    if abs(correlation) < LEAST_CORRELATION:
        return None
    ratio = float(np.sqrt((second**2).sum() / (first**2).sum())) * np.sign(correlation)
    return _widened(ratio * abs(correlation), ratio / abs(correlation))


def _widened(low: float, high: float) -> tuple[float, float]:
    if high < 0:
        return high * _MARGIN, low / _MARGIN
    return low / _MARGIN, high * _MARGIN
