"""Frames that repeat others: duplicates, contradicting labels, leakage between files."""

from collections.abc import Callable, Iterator

import numpy as np

from entrove.curation.auditing.equal_geometries import EQUAL_A, Repeats
from entrove.curation.auditing.findings import MOST_FRAMES_NAMED, Finding, Severity
from entrove.curation.auditing.predictions.frames import FramePredictions
from entrove.curation.auditing.residual_findings import files_of, frame_ref, named
from entrove.curation.auditing.spool import Spool

LABELS_DIFFER_EV_PER_ATOM = 0.003

EQUAL_VOLUMES = 1e-4
"""Relative difference below which cells are not strained against each other."""


def repeat_findings(
    spool: Spool, predicted: FramePredictions, repeats: Repeats, energies_eV: np.ndarray
) -> Iterator[Finding]:
    """Duplicates, contradictions and leakage among pairs of nearly equal geometry."""
    records = spool.records
    against = np.asarray(records["against"])
    a, b = repeats.first, repeats.second
    per_atom = energies_eV / np.maximum(np.asarray(records["atoms"]), 1)
    difference = np.abs(per_atom[a] - per_atom[b])
    equal = repeats.equal
    # Forces times the displacement are what energies of nearly equal geometries may differ by.
    force = np.maximum(
        np.nan_to_num(predicted.force_sizes[a]), np.nan_to_num(predicted.force_sizes[b])
    )
    allowed = LABELS_DIFFER_EV_PER_ATOM + 3 * force * np.minimum(repeats.apart_A, EQUAL_A)
    contradicting = equal & _of_equal_volumes(records, a, b) & (difference > allowed)
    yield from _finding(
        spool,
        repeats,
        contradicting,
        "contradicting_labels",
        Severity.BLOCKER,
        "equal geometries with different labels",
        "keep the label whose settings you can name, and compute the others again: k-points, "
        "cutoff or functional differ",
        lambda k: f"{1000 * difference[k]:.1f} meV/atom apart",
    )
    leaking = against[a] != against[b]
    yield from _finding(
        spool,
        repeats,
        leaking,
        "leakage",
        Severity.BLOCKER,
        "frames of the test set among the others",
        "take them out of one of the two sets: errors on them say nothing",
        lambda k: f"{repeats.apart_A[k]:.1g} A apart",
    )
    rest = ~leaking & ~against[a]
    files = np.asarray(records["file"])
    across = rest & (files[a] != files[b])
    yield from _finding(
        spool,
        repeats,
        across,
        "shared_between_files",
        Severity.WARNING,
        "frames that occur in more than one file",
        "keep each in one file; if one of the files is a test set, errors on it are too small",
        lambda k: f"{repeats.apart_A[k]:.1g} A apart",
    )
    within = rest & (files[a] == files[b])
    apart = np.abs(records["cell"][a] - records["cell"][b]).max(axis=(1, 2), initial=0.0)
    same = (records["atoms"][a] == records["atoms"][b]) & (apart < 1e-4)
    yield from _finding(
        spool,
        repeats,
        within & equal & same & ~contradicting,
        "duplicates",
        Severity.WARNING,
        "frames that repeat a geometry of their file",
        "keep one of each; the others cost training time and give this geometry a larger weight",
        lambda k: _how(spool, int(a[k]), int(b[k])),
    )
    yield from _finding(
        spool,
        repeats,
        within & equal & ~same & ~contradicting,
        "equivalent",
        Severity.NOTE,
        "frames that repeat a geometry of their file in another cell or orientation",
        "their labels say the same; keep one of each unless the repetition is wanted",
        lambda k: _how(spool, int(a[k]), int(b[k])),
    )
    yield from _finding(
        spool,
        repeats,
        within & ~equal,
        "near_duplicates",
        Severity.NOTE,
        "frames that nearly repeat a geometry of their file",
        "nothing has to be done; 'entrove curate' picks those that add something",
        lambda k: f"{repeats.apart_A[k]:.2g} A apart",
    )


def _of_equal_volumes(records: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether frames have equal volumes per atom: energies change with strain without forces."""
    periodic = (records["pbc"][a] & records["pbc"][b]).all(axis=1)
    first, second = (
        np.abs(np.linalg.det(records["cell"][frames])) / np.maximum(records["atoms"][frames], 1)
        for frames in (a, b)
    )
    return ~periodic | (np.abs(first - second) < EQUAL_VOLUMES * np.maximum(first, second))


def _finding(
    spool: Spool,
    repeats: Repeats,
    chosen: np.ndarray,
    kind: str,
    severity: Severity,
    title: str,
    remedy: str,
    describe: Callable[[int], str],
) -> Iterator[Finding]:
    pairs = np.flatnonzero(chosen)
    if not len(pairs):
        return
    later = np.unique(repeats.second[pairs])
    examples = "; ".join(
        f"{frame_ref(spool, int(repeats.second[k]))} repeats "
        f"{frame_ref(spool, int(repeats.first[k]))} ({describe(int(k))})"
        for k in pairs[:3]
    )
    yield Finding(
        kind,
        severity,
        title,
        f"by fingerprints, whatever the order of the atoms, orientation and cell: {examples}",
        remedy,
        named(spool, later[:MOST_FRAMES_NAMED]),
        len(later),
        files_of(spool, later),
    )


def _how(spool: Spool, first: int, second: int) -> str:
    records = spool.records
    one, other = records[first], records[second]
    if one["atoms"] != other["atoms"]:
        return "a supercell"
    if not np.allclose(one["cell"], other["cell"], atol=1e-4):
        return "another orientation or cell"
    (a, b) = spool.structures([first, second])
    if (a.numbers == b.numbers).all() and np.allclose(a.positions, b.positions, atol=5e-3):
        return "the same positions"
    return "moved or with its atoms in another order"
