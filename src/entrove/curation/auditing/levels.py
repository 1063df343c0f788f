"""Groups of labels of another level of theory: a constant per atom sets their energies apart."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.predictions.basis import Basis
from entrove.curation.auditing.predictions.quick_potential import (
    ENERGY_SCALE_EV_PER_ATOM,
    FOLDS,
    Rows,
    energies_left_by_forces,
    solve_rows,
)
from entrove.curation.auditing.predictions.sample import Sample
from entrove.curation.auditing.residual_findings import files_of, named
from entrove.curation.auditing.spool import Spool

LEAST_LEVEL_GAP_EV_PER_ATOM = 0.003
LEAST_FRAMES_OF_LEVEL = 5
_LEAST_FRAMES = 20
LEAST_FRAMES_OF_TWO_ZEROS = 30
_MOST_ROUNDS = 6
_MOST_FILES_TRIED = 6
_LEAST_GAP_IN_WIDTHS = 4.5
_LEAST_IMPROVEMENT = 1.7
_MAD_TO_SIGMA = 1.4826


def level_findings(
    spool: Spool,
    frames: np.ndarray,
    residuals: np.ndarray,
    predictor: str,
) -> Iterator[Finding]:
    """Groups of energies that a constant per atom sets apart: levels of theory that were mixed.

    Residuals, in eV/atom, of one level scatter around one value. Two values, with a gap between
    them that is wide against the scatter of each, are two levels (or two sets of pseudopotentials
    or k-points).
    """
    finite = np.isfinite(residuals)
    known, residuals = frames[finite], residuals[finite]
    if len(known) < _LEAST_FRAMES:
        return
    split = split_levels(residuals)
    if split is None:
        return
    threshold, gap, width = split
    upper = residuals > threshold
    smaller = known[upper] if upper.sum() <= (~upper).sum() else known[~upper]
    yield level_finding(
        spool,
        smaller,
        f"energies less those of {predictor} form groups of {upper.sum()} and {(~upper).sum()} "
        f"frames, {1000 * gap:.1f} meV/atom apart, {1000 * width:.1f} wide; "
        f"{_by_source(spool, known, upper)}",
    )


def level_finding(spool: Spool, smaller: np.ndarray, evidence: str) -> Finding:
    """The finding of two levels, of which the smaller group is named."""
    return Finding(
        "mixed_levels",
        Severity.BLOCKER,
        "labels of more than one level of theory",
        evidence,
        "keep one level of theory, or compute the smaller group again; a difference that is a "
        "reference energy per element only may be subtracted",
        named(spool, smaller),
        len(smaller),
        files_of(spool, smaller),
    )


def split_levels(residuals: Float[np.ndarray, " frames"]) -> tuple[float, float, float] | None:
    """Find two separate groups: the threshold, the distance of their medians, their width.

    The two sides of the best threshold (least sum of squared deviations) count as groups when
    each has at least 4 % of the frames and five frames, their medians lie at least seven widths
    apart, and hardly any frame lies between.
    """
    if len(residuals) < 2 * _least_group(len(residuals)):
        return None
    middle, gap, width = _best_split(residuals)
    if gap < LEAST_LEVEL_GAP_EV_PER_ATOM or gap < 7 * width:
        return None
    if (np.abs(residuals - middle) < 0.2 * gap).mean() > 0.05:
        return None
    return middle, gap, width


def _least_group(count: int) -> int:
    return max(LEAST_FRAMES_OF_LEVEL, int(np.ceil(0.04 * count)))


def _best_split(residuals: Float[np.ndarray, " frames"]) -> tuple[float, float, float]:
    """Middle between the two sides of the best threshold, their distance and larger width."""
    values = np.sort(residuals)
    least, total, count = _least_group(len(values)), np.cumsum(values), len(values)
    splits = np.arange(least, count - least + 1)
    below, above = total[splits - 1] / splits, (total[-1] - total[splits - 1]) / (count - splits)
    between = splits * (count - splits) * (above - below) ** 2
    place = int(splits[np.argmax(between)])
    low, high = values[:place], values[place:]
    middle = float(np.median(low) + np.median(high)) / 2
    gap = float(np.median(high) - np.median(low))
    return middle, gap, max(_spread(low), _spread(high))


def _by_source(spool: Spool, frames: np.ndarray, upper: np.ndarray) -> str:
    """Which sources the two groups come from."""
    sources = np.asarray(spool.records["source"])[frames]
    parts = []
    for number in np.unique(sources)[:8]:
        inside = sources == number
        parts.append(f"{spool.sources[number]}: {upper[inside].sum()} above of {inside.sum()}")
    return ", ".join(parts)


@dataclass(frozen=True)
class TwoLevels:
    """The sample in two groups, each with its own zero of energy, in eV/atom.

    `one_level` and `two_levels` are typical errors of fits with one zero and with two.
    """

    upper: np.ndarray
    gap: float
    one_level: float
    two_levels: float


def find_two_levels(
    basis: Basis, sample: Sample, rows: Rows, *, least_frames: int = LEAST_FRAMES_OF_TWO_ZEROS
) -> TwoLevels | None:
    """Find out whether a fit with two zeros of energy explains labels that one with one does not.

    Frames are split by what a fit leaves of their energies, the split is given to the next fit as
    two constants, and so on (expectation maximisation with hard assignments), from fits that
    trust energies as much as forces, from those that forces dominate, and from files. Frames of a
    fit are predicted without themselves. Two levels are found when the groups lie apart by
    several times their widths and the typical error with two zeros is well below that with one.
    With fewer energies than `least_frames` none are looked for.
    """
    single = _energies_left(basis, rows, len(sample.frames))
    soft = energies_left_by_forces(basis, rows, len(sample.frames))
    if single is None or soft is None:
        return None
    known = np.isfinite(single)
    if known.sum() < least_frames:
        return None
    one_level = _spread(single[known])
    found = [
        _refine(basis, rows, start, known, one_level)
        for start in (single, soft, *_by_file(single, sample.files, known))
    ]
    clear = [levels for levels in found if levels is not None]
    return min(clear, key=lambda levels: levels.two_levels, default=None)


def _by_file(left: np.ndarray, files: np.ndarray, known: np.ndarray) -> list[np.ndarray]:
    """Starts that split the sample into one file and the others."""
    numbers, counts = np.unique(files[known], return_counts=True)
    if not 1 < len(numbers) <= _MOST_FILES_TRIED:
        return []
    spread = _spread(left[known])
    split = [np.where(files == number, spread, 0.0) for number in numbers[: len(counts) - 1]]
    return [np.where(known, start, np.nan) for start in split]


def _refine(
    basis: Basis, rows: Rows, start: np.ndarray, known: np.ndarray, one_level: float
) -> TwoLevels | None:
    """Refine a split from what it starts with; None where it ends in no two clear groups."""
    left, upper = start, np.zeros(len(start), dtype=bool)
    threshold = gap = width = np.inf
    for _ in range(_MOST_ROUNDS):
        threshold, gap, width = _best_split(left[known])
        before, upper = upper, np.nan_to_num(left, nan=-np.inf) > threshold
        if (upper == before).all():
            break
        shifts = np.where(upper, gap, 0.0)
        shifted = _energies_left(basis, rows, len(start), shifts)
        if shifted is None:
            return None
        left = shifted + shifts
    middle = np.abs(left[known] - threshold) < 0.2 * gap
    clear = gap > max(LEAST_LEVEL_GAP_EV_PER_ATOM, _LEAST_GAP_IN_WIDTHS * width)
    if clear and middle.mean() < 0.12 and one_level > _LEAST_IMPROVEMENT * width:
        return TwoLevels(upper, gap, one_level, width)
    return None


def sample_level_findings(
    spool: Spool, sample: Sample, levels: TwoLevels | None, predictor: str
) -> Iterator[Finding]:
    """The finding of two levels within the sample."""
    if levels is None:
        return
    upper = levels.upper
    smaller = sample.frames[upper if upper.sum() <= (~upper).sum() else ~upper]
    yield level_finding(
        spool,
        smaller,
        f"{predictor} leaves {1000 * levels.one_level:.0f} meV/atom of the energies with one zero "
        f"of energy, and {1000 * levels.two_levels:.0f} with two that are "
        f"{1000 * levels.gap:.0f} meV/atom apart, of {upper.sum()} and {(~upper).sum()} frames "
        f"that were looked at; {_by_source(spool, sample.frames, upper)}",
    )


def _energies_left(
    basis: Basis, rows: Rows, structures: int, shifts_eV_per_atom: np.ndarray | None = None
) -> Float[np.ndarray, " structures"] | None:
    """Energies less those of a fit, after shifts; not a number where there is no energy."""
    chosen = rows.is_energy
    owner = rows.owner[chosen]
    values = rows.values.copy()
    if shifts_eV_per_atom is not None:
        values[chosen] -= shifts_eV_per_atom[owner] / ENERGY_SCALE_EV_PER_ATOM
    potential = solve_rows(basis, replace(rows, values=values))
    if potential is None:
        return None
    predicted = (rows.features[chosen] * potential.fold_weights[owner % FOLDS]).sum(axis=1)
    left = np.full(structures, np.nan)
    left[owner] = (values[chosen] - predicted) * ENERGY_SCALE_EV_PER_ATOM
    return left


def _spread(values: np.ndarray) -> float:
    return _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
