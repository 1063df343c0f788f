"""Frames that repeat others: duplicates, contradicting labels, leakage between files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from entrove.curation.auditing.findings import MOST_FRAMES_NAMED, Finding, Severity
from entrove.curation.auditing.predictions.frames import FramePredictions
from entrove.curation.auditing.predictions.sample import Sample
from entrove.curation.auditing.predictions.whitening import Whitening
from entrove.curation.auditing.residual_findings import files_of, frame_ref, named
from entrove.curation.auditing.spool import Spool

EQUAL_A = 0.002
"""Displacements below which two geometries are the same."""

NEAR_A = 0.01
"""Displacements below which two geometries are nearly the same."""

LABELS_DIFFER_EV_PER_ATOM = 0.003
_NEIGHBOURS = 6


@dataclass(frozen=True)
class Repeats:
    """Pairs of frames of nearly equal geometry, and the displacement in A that sets them apart."""

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    apart_A: Float[np.ndarray, " pairs"]


def displacement_scale(whiten: Whitening, sample: Sample, seed: int) -> float:
    """How far a signature moves when every atom is displaced at random by about 0.01 A."""
    generator = np.random.default_rng(seed)
    structures = sample.structures[:60]
    moved = [atoms.copy() for atoms in structures]
    for atoms in moved:
        atoms.positions += generator.normal(scale=0.01 / np.sqrt(3), size=atoms.positions.shape)
    apart = np.linalg.norm(whiten.of_structures(moved) - whiten.of_structures(structures), axis=1)
    return float(np.quantile(apart, 0.25)) if len(apart) else 0.0


def find_repeats(
    spool: Spool, predicted: FramePredictions, frames: np.ndarray, scale: float
) -> Repeats:
    """Find frames whose geometries are nearly equal, by their nearest neighbours.

    Signatures do not depend on rotation, translation, order of the atoms or choice of the cell, so
    supercells are found, too. They are compared within reduced compositions.
    """
    first, second, apart = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
    formulas = np.asarray(spool.records["formula"])[frames]
    for formula in np.unique(formulas) if scale > 0 else []:
        members = frames[formulas == formula]
        if len(members) < 2:
            continue
        signatures = np.asarray(predicted.signatures[members], dtype=float)
        tree = KDTree(signatures)
        count = min(_NEIGHBOURS, len(members))
        limit = scale * NEAR_A / 0.01
        lengths, near = tree.query(signatures, k=count, distance_upper_bound=limit)
        row, _ = np.nonzero(np.isfinite(lengths))
        other, length = near[np.isfinite(lengths)], lengths[np.isfinite(lengths)]
        keep = row < other
        # Two that are mutually near are found twice, two of which one has many nearer ones once.
        keep |= (row > other) & ~_found_from(row, other)
        first.append(members[np.minimum(row, other)[keep]])
        second.append(members[np.maximum(row, other)[keep]])
        apart.append(length[keep] * 0.01 / scale)
    repeats = Repeats(np.concatenate(first), np.concatenate(second), np.concatenate(apart))
    order = np.lexsort((repeats.second, repeats.first))
    return Repeats(repeats.first[order], repeats.second[order], repeats.apart_A[order])


def repeat_findings(
    spool: Spool, predicted: FramePredictions, repeats: Repeats, energies_eV: np.ndarray
) -> Iterator[Finding]:
    """Duplicates, contradictions and leakage among pairs of nearly equal geometry."""
    records = spool.records
    against = np.asarray(records["against"])
    a, b = repeats.first, repeats.second
    per_atom = energies_eV / np.maximum(np.asarray(records["atoms"]), 1)
    difference = np.abs(per_atom[a] - per_atom[b])
    equal = repeats.apart_A < EQUAL_A
    # Forces times the displacement are what energies of nearly equal geometries may differ by.
    force = np.maximum(
        np.nan_to_num(predicted.force_sizes[a]), np.nan_to_num(predicted.force_sizes[b])
    )
    allowed = LABELS_DIFFER_EV_PER_ATOM + 3 * force * np.minimum(repeats.apart_A, EQUAL_A)
    contradicting = equal & (difference > allowed)
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


def _found_from(row: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether each pair also occurs with its members exchanged."""
    size = int(max(row.max(initial=0), other.max(initial=0))) + 1
    return np.isin(other * size + row, row * size + other)
