"""What a few frames tell: gaps that no geometry explains, and what could not be looked for."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from entrove.curation.auditing.conventions.parts import LEAST_FRAMES as LEAST_FRAMES_OF_UNITS
from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.levels import LEAST_FRAMES_OF_TWO_ZEROS, level_finding
from entrove.curation.auditing.predictions.frames import FramePredictions
from entrove.curation.auditing.predictions.sample import Sample
from entrove.curation.auditing.residual_findings import (
    LEAST_FRAMES,
    LEAST_FRAMES_OF_STRESS,
    files_of,
    frame_ref,
    named,
)
from entrove.curation.auditing.spool import Spool

LEAST_GROSS_GAP_EV_PER_ATOM = 15.0
"""No crystal is bound by 9 eV/atom (Kittel, Introduction to Solid State Physics, table 3.1)."""

LEAST_FRAMES_OF_GAP = 4

_REACH_OF_FORCES_A = 1.0
"""Forces times this are more than they gain by on the way to a minimum: repulsion is steep."""


def gross_groups(
    per_atom_eV: Float[np.ndarray, " frames"],
    formulas: np.ndarray,
    force_sizes: Float[np.ndarray, " frames"],
) -> np.ndarray:
    """Frames above a gap in the energies of their composition that no geometry explains.

    Args:
        per_atom_eV: Energies per atom; those that are missing are not numbers.
        formulas: Reduced composition of each frame, by name or number.
        force_sizes: Root mean square forces in eV/A, zero or not a number where there are none.

    Frames with large forces may be as far above the others as these forces reach.
    """
    upper = np.zeros(len(per_atom_eV), dtype=bool)
    forces = np.nan_to_num(force_sizes)
    for formula in np.unique(formulas):
        members = np.flatnonzero((formulas == formula) & np.isfinite(per_atom_eV))
        if len(members) < LEAST_FRAMES_OF_GAP:
            continue
        order = members[np.argsort(per_atom_eV[members])]
        gaps = np.diff(per_atom_eV[order])
        place = int(np.argmax(gaps))
        reach = _REACH_OF_FORCES_A * float(forces[members].max())
        if gaps[place] > max(LEAST_GROSS_GAP_EV_PER_ATOM, reach):
            upper[order[place + 1 :]] = True
    return upper


def gross_groups_of_sample(sample: Sample) -> np.ndarray:
    """Which frames of the sample are above a gap of their composition."""
    sizes = [
        np.nan if forces is None else np.sqrt((forces**2).sum(axis=1).mean())
        for forces in sample.forces
    ]
    formulas = [atoms.get_chemical_formula(empirical=True) for atoms in sample.structures]
    return gross_groups(sample.energies_eV / sample.sizes, np.array(formulas), np.array(sizes))


def gross_findings(
    spool: Spool, predicted: FramePredictions, frames: np.ndarray, energies_eV: np.ndarray
) -> Iterator[Finding]:
    """The finding of energies beyond a gap: another level of theory, or one wrong label.

    `energies_eV` are those of all frames of the spool.
    """
    records = spool.records
    per_atom = energies_eV[frames] / np.asarray(records["atoms"])[frames]
    formulas = np.asarray(records["formula"])[frames]
    upper = gross_groups(per_atom, formulas, np.asarray(predicted.force_sizes[frames]))
    smaller = []
    for formula in np.unique(formulas[upper]):
        same = (formulas == formula) & np.isfinite(per_atom)
        above, below = frames[same & upper], frames[same & ~upper]
        smaller.append(above if len(above) <= len(below) else below)
    if not smaller:
        return
    chosen = np.sort(np.concatenate(smaller))
    examples = ", ".join(
        f"{frame_ref(spool, frame)}: {energies_eV[frame] / records['atoms'][frame]:.6g} eV/atom"
        for frame in chosen[:3].tolist()
    )
    median = float(np.median(per_atom[np.isfinite(per_atom)]))
    evidence = (
        f"{examples}; the median of the set is {median:.6g} eV/atom, and neither binding energies "
        "nor the forces explain the gap"
    )
    if len(chosen) > 1:
        yield level_finding(spool, chosen, evidence)
        return
    yield Finding(
        "energy_outlier",
        Severity.WARNING,
        "energies that disagree with all others",
        evidence,
        "compute these labels again with the same settings, or remove them",
        named(spool, chosen),
        len(chosen),
        files_of(spool, chosen),
    )


def too_few_findings(spool: Spool, frames: np.ndarray) -> Iterator[Finding]:
    """What was not looked for, because too few frames have the labels for it."""
    records = spool.records
    energies = int(np.isfinite(np.asarray(records["energy"])[frames]).sum())
    forces = int(np.asarray(records["has_forces"])[frames].sum())
    stresses = int(np.isfinite(np.asarray(records["stress"])[frames]).all(axis=1).sum())
    skipped = [
        f"{what} ({count} {labels}, of at least {least})"
        for what, labels, count, least in (
            ("units of energies and forces", "energies", energies, LEAST_FRAMES_OF_UNITS),
            ("single wrong energies", "energies", energies, LEAST_FRAMES),
            ("single wrong forces", "forces", forces, LEAST_FRAMES),
            ("single wrong stresses", "stresses", stresses, LEAST_FRAMES_OF_STRESS),
            ("levels of theory", "energies", energies, LEAST_FRAMES_OF_TWO_ZEROS),
        )
        if 0 < count < least
    ]
    if not skipped:
        return
    gap = (
        f"; only energies more than {LEAST_GROSS_GAP_EV_PER_ATOM:g} eV/atom off are found in "
        f"{LEAST_FRAMES_OF_GAP} frames of one composition or more"
    )
    yield Finding(
        "too_few_frames",
        Severity.NOTE,
        "too few frames for a part of the audit",
        f"not looked for: {', '.join(skipped)}{gap}",
        "nothing has to be done; together with other frames of the same settings they can be "
        "judged",
        count=len(frames),
        files=files_of(spool, frames),
    )
