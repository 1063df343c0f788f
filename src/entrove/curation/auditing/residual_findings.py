"""Labels that the witness contradicts: single ones, and groups of another level of theory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from entrove.curation.auditing.findings import (
    MOST_FRAMES_NAMED,
    Finding,
    FrameRef,
    Severity,
)
from entrove.curation.auditing.spool import Spool
from entrove.curation.auditing.witness import Testimony

OUTLIER_DEVIATIONS = 14.0
STRESS_DEVIATIONS = 9.0
LEAST_ENERGY_OUTLIER_EV_PER_ATOM = 0.005
LEAST_LEVEL_GAP_EV_PER_ATOM = 0.003
LEAST_FRAMES = 10
MOST_WORST = 20
_MAD_TO_SIGMA = 1.4826
_BINS = 12


@dataclass(frozen=True)
class Deviations:
    """How many typical errors each of some frames is away, and which of them are outliers."""

    frames: Int[np.ndarray, " frames"]
    values: Float[np.ndarray, " frames"]
    is_outlier: np.ndarray

    @classmethod
    def none(cls) -> "Deviations":
        """Where nothing can be judged."""
        return cls(np.zeros(0, dtype=int), np.zeros(0), np.zeros(0, dtype=bool))


def energy_deviations(heard: Testimony, frames: np.ndarray) -> Deviations:
    """How far energies are from the witness's.

    The typical error is that of frames with forces of similar size: no potential fits a melt as
    well as a crystal.
    """
    known = frames[np.isfinite(heard.energy_residuals[frames])]
    if len(known) < LEAST_FRAMES:
        return Deviations.none()
    residuals = np.asarray(heard.energy_residuals[known])
    residuals = residuals - np.median(residuals)
    scale = _local_scale(np.abs(residuals), _difficulty(heard, known))
    floor = LEAST_ENERGY_OUTLIER_EV_PER_ATOM / OUTLIER_DEVIATIONS
    values = np.abs(residuals) / np.maximum(scale, floor)
    return Deviations(known, values, values > OUTLIER_DEVIATIONS)


def force_deviations(heard: Testimony, frames: np.ndarray) -> Deviations:
    """How far forces are from the witness's.

    Not judged where the witness itself is poor: half of the forces must be within 40 %.
    """
    sizes = heard.force_sizes[frames]
    errors = heard.force_errors[frames]
    known = np.isfinite(errors) & (sizes > 0)
    frames, sizes, errors = frames[known], np.asarray(sizes[known]), np.asarray(errors[known])
    if len(frames) < LEAST_FRAMES:
        return Deviations.none()
    relative = errors / np.maximum(sizes, 0.2 * np.median(sizes))
    if np.median(relative) > 0.4:
        return Deviations.none()
    scale = _local_scale(errors, _difficulty(heard, frames))
    values = errors / np.maximum(scale, 1e-3)
    far = (values > OUTLIER_DEVIATIONS) & (relative > 0.5)
    # Forces of another structure, or of the wrong sign, are uncorrelated with what they should be.
    cosines = np.nan_to_num(np.asarray(heard.force_cosines[frames]), nan=1.0)
    typical = float(np.median(1 - cosines))
    turned = (1 - cosines > max(0.6, 10 * typical)) & (sizes > 0.25 * np.median(sizes))
    return Deviations(frames, values, far | (turned & (values > 3)))


def stress_deviations(heard: Testimony, frames: np.ndarray) -> Deviations:
    """How far stresses are from the witness's."""
    residuals = np.asarray(heard.stress_residuals[frames])
    known = np.isfinite(residuals).all(axis=1)
    frames, residuals = frames[known], residuals[known]
    if len(frames) < 2 * LEAST_FRAMES:
        return Deviations.none()
    errors = np.abs(residuals - np.median(residuals, axis=0)).max(axis=1)
    scale = _local_scale(errors, _difficulty(heard, frames))
    values = errors / np.maximum(scale, 1e-3)
    return Deviations(frames, values, (values > STRESS_DEVIATIONS) & (errors > 0.03))


def outlier_findings(
    spool: Spool, heard: Testimony, frames: np.ndarray, witness: str, *, with_stress: bool
) -> tuple[list[Finding], dict[int, tuple[float, str]]]:
    """Findings of single labels, and the frames that deviate most, outliers or not.

    The second value holds for some frames their deviation and which label it is of.
    """
    found: list[Finding] = []
    worst: dict[int, tuple[float, str]] = {}
    kinds = [
        ("energy_outlier", "energies", energy_deviations, heard.energy_residuals, "eV/atom"),
        ("force_outlier", "forces", force_deviations, heard.force_errors, "eV/A"),
    ]
    if with_stress:
        kinds.append(
            ("stress_outlier", "stresses", stress_deviations, heard.stress_residuals, "eV/A^3")
        )
    for kind, what, judge, errors, unit in kinds:
        deviations = judge(heard, frames)
        order = np.argsort(-deviations.values)
        for place in order[:MOST_WORST].tolist():
            frame, value = int(deviations.frames[place]), float(deviations.values[place])
            if value > worst.get(frame, (0.0, ""))[0]:
                worst[frame] = (value, what)
        order = order[deviations.is_outlier[order]]
        if not len(order):
            continue
        far, values = deviations.frames[order], deviations.values[order]
        examples = "; ".join(
            f"{frame_ref(spool, frame)}: off by {np.abs(errors[frame]).max():.3g} {unit}, "
            f"{value:.0f} times the typical error"
            for frame, value in zip(far[:3].tolist(), values[:3].tolist(), strict=True)
        )
        found.append(
            Finding(
                kind,
                Severity.WARNING,
                f"{what} that disagree with all others",
                f"compared with {witness}: {examples}",
                "compute these labels again with the same settings, or remove them",
                named(spool, far),
                len(far),
                files_of(spool, far),
            )
        )
    return found, worst


def level_findings(
    spool: Spool, frames: np.ndarray, residuals: np.ndarray, witness: str
) -> Iterator[Finding]:
    """Groups of energies that a constant per atom sets apart: levels of theory that were mixed.

    Residuals, in eV/atom, of one level scatter around one value. Two values, with a gap between
    them that is wide against the scatter of each, are two levels (or two sets of pseudopotentials
    or k-points).
    """
    finite = np.isfinite(residuals)
    known, residuals = frames[finite], residuals[finite]
    if len(known) < 20:
        return
    split = split_levels(residuals)
    if split is None:
        return
    threshold, gap, width = split
    upper = residuals > threshold
    smaller = known[upper] if upper.sum() <= (~upper).sum() else known[~upper]
    yield Finding(
        "mixed_levels",
        Severity.BLOCKER,
        "labels of more than one level of theory",
        f"energies less those of {witness} form groups of {upper.sum()} and {(~upper).sum()} "
        f"frames, {1000 * gap:.1f} meV/atom apart, {1000 * width:.1f} wide; "
        f"{_by_source(spool, known, upper)}",
        "keep one level of theory, or compute the smaller group again; a difference that is a "
        "reference energy per element only may be subtracted",
        named(spool, smaller),
        len(smaller),
        files_of(spool, smaller),
    )


def split_levels(residuals: Float[np.ndarray, " frames"]) -> tuple[float, float, float] | None:
    """Find two separate groups: the threshold, the distance of their medians, their width.

    The two sides of the best threshold (least sum of absolute deviations) count as groups when
    each has at least 4 % of the frames and five frames, their medians lie at least seven widths
    apart, and hardly any frame lies between.
    """
    values = np.sort(residuals)
    if values[-1] - values[0] < LEAST_LEVEL_GAP_EV_PER_ATOM:
        return None
    least = max(5, int(np.ceil(0.04 * len(values))))
    if len(values) < 2 * least:
        return None
    total, count = np.cumsum(values), len(values)
    splits = np.arange(least, count - least + 1)
    below, above = total[splits - 1] / splits, (total[-1] - total[splits - 1]) / (count - splits)
    between = splits * (count - splits) * (above - below) ** 2
    place = int(splits[np.argmax(between)])
    low, high = values[:place], values[place:]
    gap = float(np.median(high) - np.median(low))
    width = max(
        _MAD_TO_SIGMA * float(np.median(np.abs(side - np.median(side)))) for side in (low, high)
    )
    if gap < LEAST_LEVEL_GAP_EV_PER_ATOM or gap < 7 * width:
        return None
    middle = (np.median(low) + np.median(high)) / 2
    inside = np.abs(values - middle) < 0.2 * gap
    if inside.mean() > 0.05:
        return None
    return float(middle), gap, width


def _by_source(spool: Spool, frames: np.ndarray, upper: np.ndarray) -> str:
    """Which sources the two groups come from."""
    sources = np.asarray(spool.records["source"])[frames]
    parts = []
    for number in np.unique(sources)[:8]:
        inside = sources == number
        parts.append(f"{spool.sources[number]}: {upper[inside].sum()} above of {inside.sum()}")
    return ", ".join(parts)


def _difficulty(heard: Testimony, frames: np.ndarray) -> np.ndarray:
    sizes = np.nan_to_num(np.asarray(heard.force_sizes[frames]))
    distance = np.linalg.norm(np.asarray(heard.signatures[frames], dtype=float), axis=1)
    ranks = np.argsort(np.argsort(sizes)) + np.argsort(np.argsort(distance))
    return ranks.astype(float)


def _local_scale(errors: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
    """Robust standard deviation among frames of similar difficulty, never below half of all's."""
    overall = _MAD_TO_SIGMA * float(np.median(errors))
    bins = max(1, min(_BINS, len(errors) // 15))
    order = np.argsort(difficulty, kind="stable")
    scale = np.empty(len(errors))
    for part in np.array_split(order, bins):
        scale[part] = max(_MAD_TO_SIGMA * float(np.median(errors[part])), 0.5 * overall)
    return scale


def frame_ref(spool: Spool, frame: int) -> FrameRef:
    """The frame by file and position."""
    record = spool.records[frame]
    return FrameRef(spool.files[int(record["file"])], int(record["index"]))


def named(spool: Spool, frames: np.ndarray) -> tuple[FrameRef, ...]:
    """The first frames of a list by file and position."""
    return tuple(frame_ref(spool, int(frame)) for frame in frames[:MOST_FRAMES_NAMED])


def files_of(spool: Spool, frames: np.ndarray) -> tuple[str, ...]:
    """Files of the frames."""
    numbers = np.unique(np.asarray(spool.records["file"])[np.asarray(frames, dtype=int)])
    return tuple(spool.files[int(number)] for number in numbers)
