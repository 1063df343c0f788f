"""Parts of a set that are judged on their own, and what was decided for each."""

from dataclasses import dataclass

import numpy as np

from entrove.curation.auditing.conventions.energy_units import EnergyConvention
from entrove.curation.auditing.predictions.sample import Sample
from entrove.curation.auditing.spool import Spool
from entrove.formats.conventions import StressConvention

LEAST_FRAMES = 6
"""Fewer frames of a file are not judged on their own."""


@dataclass(frozen=True)
class FileConventions:
    """What was decided for one file, or for the part of it that is named.

    `energy` is None where the evidence decides nothing; `energy_scores` say how badly each
    convention explains energies and forces together, 0 for perfectly. `stress` is what explains
    the stress best, and `stress_left` all conventions that the evidence does not exclude.
    """

    file: str
    part: str
    frames: int
    energy: EnergyConvention | None
    energy_scores: dict[str, float]
    stress: StressConvention | None
    stress_left: frozenset[StressConvention]
    stress_evidence: str


def groups_of_files(spool: Spool, sample: Sample) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Files, or all small files together, and the places of their frames in the sample."""
    return _groups(spool.files, sample.files)


def groups_of_sources(spool: Spool, sample: Sample) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Sources, or all small sources together, and the places of their frames in the sample.

    Parts of one file can come from calculations that were read in different ways.
    """
    return _groups(spool.sources, sample.sources)


def _groups(names: list[str], of_sample: np.ndarray) -> list[tuple[tuple[str, ...], np.ndarray]]:
    groups: list[tuple[tuple[str, ...], np.ndarray]] = []
    small: list[int] = []
    for number in np.unique(of_sample):
        members = np.flatnonzero(of_sample == number)
        if len(members) >= LEAST_FRAMES:
            groups.append(((names[int(number)],), members))
        else:
            small.append(int(number))
    if small:
        members = np.flatnonzero(np.isin(of_sample, small))
        groups.append((tuple(names[number] for number in small), members))
    return groups
