"""Single labels that predictions contradict."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from entrove.curation.auditing.findings import (
    MOST_FRAMES_NAMED,
    Finding,
    FrameRef,
    Severity,
)
from entrove.curation.auditing.predictions.frames import FramePredictions
from entrove.curation.auditing.predictions.quick_potential import MOST_LEVERAGE
from entrove.curation.auditing.spool import Spool

OUTLIER_DEVIATIONS = 14.0
LEAST_DEVIATIONS, MOST_DEVIATIONS = 10.0, 30.0
"""Limits of what counts as an outlier of the energies, whatever the tail of the errors."""

STRESS_DEVIATIONS = 9.0
LEAST_ENERGY_OUTLIER_EV_PER_ATOM = 0.005
LEAST_FRAMES = 10
LEAST_FRAMES_OF_STRESS = 20
MOST_WORST = 20
FRAMES_OF_USUAL_LEVERAGE = 64
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


def energy_deviations(
    predicted: FramePredictions,
    frames: np.ndarray,
    per_atom_eV: Float[np.ndarray, " frames"],
) -> Deviations:
    """How far energies are from predicted ones; `per_atom_eV` are those of the labels.

    The typical error is that of frames with forces of similar size: no potential fits a melt as
    well as a crystal. A frame that is unlike all others, as the one sheared cell beside snapshots
    of one crystal, is predicted by extrapolation: its error counts relative to the spread of such
    predictions, and it is an outlier only far beyond it, or when all other energies of the set
    span less than the error.
    """
    is_known = np.isfinite(predicted.energy_residuals[frames])
    known, per_atom_eV = frames[is_known], per_atom_eV[is_known]
    if len(known) < LEAST_FRAMES:
        return Deviations.none()
    residuals = np.asarray(predicted.energy_residuals[known])
    leverages = np.asarray(predicted.energy_leverages[known])
    errors = np.abs(residuals - np.median(residuals))
    standardised = errors / np.sqrt(1 + leverages)
    scale = _local_scale(standardised, _difficulty(predicted, known))
    floor = LEAST_ENERGY_OUTLIER_EV_PER_ATOM / OUTLIER_DEVIATIONS
    values = standardised / np.maximum(scale, floor)
    limit = np.full(len(values), _beyond_tail(values))
    alone = leverages > MOST_LEVERAGE
    gross = errors > _span_of_others(per_atom_eV)
    limit[alone] = np.where(gross[alone], LEAST_DEVIATIONS, MOST_DEVIATIONS)
    return Deviations(known, values, values > limit)


def force_deviations(
    predicted: FramePredictions,
    frames: np.ndarray,
    leverages_of: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Deviations:
    """How far forces are from predicted ones.

    Where predictions are poor, with half of the forces off by more than 40 %, only large
    forces of the wrong sign are told.

    Args:
        predicted: What is predicted.
        frames: Frames to judge.
        leverages_of: How far forces of some frames are extrapolated
            (`QuickPotential.force_leverages`). An error that the others leave open counts for
            less: relative to the spread of its prediction, over that of a usual frame.
    """
    sizes = predicted.force_sizes[frames]
    errors = predicted.force_errors[frames]
    known = np.isfinite(errors) & (sizes > 0)
    frames, sizes, errors = frames[known], np.asarray(sizes[known]), np.asarray(errors[known])
    if len(frames) < LEAST_FRAMES:
        return Deviations.none()
    relative = errors / np.maximum(sizes, 0.2 * np.median(sizes))
    scale = _local_scale(errors, _difficulty(predicted, frames))
    values = errors / np.maximum(scale, 1e-3)
    unscaled = values.copy()
    suspects = np.flatnonzero(values > 3)
    if leverages_of is not None and len(suspects):
        # Leverages take time: those of suspects, and of a few frames for the usual one.
        usual = frames[:: max(1, len(frames) // FRAMES_OF_USUAL_LEVERAGE)]
        found = leverages_of(np.concatenate([frames[suspects], usual]))
        open_ = (1 + found[: len(suspects)]) / (1 + np.median(found[len(suspects) :]))
        values[suspects] /= np.sqrt(np.maximum(open_, 1.0))
    # Forces of another structure, or of the wrong sign, are uncorrelated with what they should be.
    cosines = np.nan_to_num(np.asarray(predicted.force_cosines[frames]), nan=1.0)
    # What is predicted well but for its sign is not left open.
    opposite = (cosines < -0.9) & (np.abs(relative - 2) < 0.3)
    counted = np.where(opposite, unscaled, values)
    if np.median(relative) > 0.4:
        against = (cosines < -0.3) & (relative > 1.2) & (sizes > np.median(sizes))
        return Deviations(frames, values, against & (counted > 5.5))
    far = (values > OUTLIER_DEVIATIONS) & (relative > 0.5)
    typical = float(np.median(1 - cosines))
    turned = (1 - cosines > max(0.6, 10 * typical)) & (sizes > 0.25 * np.median(sizes))
    return Deviations(frames, values, far | (turned & (counted > 3)))


def stress_deviations(predicted: FramePredictions, frames: np.ndarray) -> Deviations:
    """How far stresses are from predicted ones.

    Of a frame whose energy is extrapolated the strain derivative is, too: its error counts
    relative to the spread of such predictions.
    """
    residuals = np.asarray(predicted.stress_residuals[frames])
    known = np.isfinite(residuals).all(axis=1)
    frames, residuals = frames[known], residuals[known]
    if len(frames) < LEAST_FRAMES_OF_STRESS:
        return Deviations.none()
    errors = np.abs(residuals - np.median(residuals, axis=0)).max(axis=1)
    leverages = np.asarray(predicted.energy_leverages[frames])
    standardised = errors / np.where(leverages > MOST_LEVERAGE, np.sqrt(1 + leverages), 1.0)
    scale = _local_scale(standardised, _difficulty(predicted, frames))
    values = standardised / np.maximum(scale, 1e-3)
    return Deviations(frames, values, (values > STRESS_DEVIATIONS) & (errors > 0.03))


def outlier_findings(
    spool: Spool,
    predicted: FramePredictions,
    frames: np.ndarray,
    predictor: str,
    energies_eV: Float[np.ndarray, " all_frames"],
    *,
    with_stress: bool,
) -> tuple[list[Finding], dict[int, tuple[float, str]]]:
    """Findings of single labels, and the frames that deviate most, outliers or not.

    `energies_eV` are those of all frames of the spool.

    The second value holds for some frames their deviation and which label it is of.
    """
    found: list[Finding] = []
    worst: dict[int, tuple[float, str]] = {}
    per_atom = energies_eV[frames] / np.asarray(spool.records["atoms"])[frames]
    of_energies = energy_deviations(predicted, frames, per_atom)
    potential = predicted.potential
    of_forces = force_deviations(
        predicted,
        frames,
        None
        if potential is None
        else lambda chosen: potential.force_leverages(
            spool.structures(chosen), predicted.folds[chosen].tolist()
        ),
    )
    kinds = [
        ("energy_outlier", "energies", of_energies, predicted.energy_residuals, "eV/atom"),
        ("force_outlier", "forces", of_forces, predicted.force_errors, "eV/A"),
    ]
    if with_stress:
        kinds.append(
            (
                "stress_outlier",
                "stresses",
                stress_deviations(predicted, frames),
                predicted.stress_residuals,
                "eV/A^3",
            )
        )
    for kind, what, deviations, errors, unit in kinds:
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
                f"compared with {predictor}: {examples}",
                "compute these labels again with the same settings, or remove them",
                named(spool, far),
                len(far),
                files_of(spool, far),
            )
        )
    return found, worst


def unchecked_findings(
    spool: Spool, predicted: FramePredictions, frames: np.ndarray
) -> list[Finding]:
    """Frames whose energies the other frames leave open, so that they cannot contradict them."""
    judged = np.isfinite(predicted.energy_residuals[frames])
    far = frames[judged & (np.asarray(predicted.energy_leverages[frames]) > MOST_LEVERAGE)]
    if not len(far):
        return []
    return [
        Finding(
            "unchecked_labels",
            Severity.NOTE,
            "energies that the other frames cannot check",
            "their geometries are too unlike the others for a potential fitted to these to "
            "predict them; only gross errors of their energies are found",
            "nothing has to be done; --model 7net-0 compares with a model, too",
            named(spool, far),
            len(far),
            files_of(spool, far),
        )
    ]


def _span_of_others(values: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " frames"]:
    """For each value, the largest difference between all others."""
    order = np.sort(values)
    highest = np.where(values == order[-1], order[-2], order[-1])
    return highest - np.where(values == order[0], order[1], order[0])


def _beyond_tail(values: Float[np.ndarray, " frames"]) -> float:
    """Deviations that chance does not reach, given how the largest tenth of them falls off.

    Errors of a fit have a tail that is longer than a normal one; of 100,000 frames some lie far
    out. The tail is taken to be exponential, with the median of what is beyond the ninth decile,
    which a few wrong labels do not change: of n frames, one in exp(4) sets has one beyond.
    """
    ninth = float(np.quantile(values, 0.9))
    decay = float(np.median(values[values >= ninth]) - ninth) / np.log(2)
    reach = ninth + decay * (np.log(max(0.1 * len(values), 1.0)) + 4.0)
    return float(np.clip(reach, LEAST_DEVIATIONS, MOST_DEVIATIONS))


def _difficulty(predicted: FramePredictions, frames: np.ndarray) -> np.ndarray:
    sizes = np.nan_to_num(np.asarray(predicted.force_sizes[frames]))
    distance = np.linalg.norm(np.asarray(predicted.signatures[frames], dtype=float), axis=1)
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
