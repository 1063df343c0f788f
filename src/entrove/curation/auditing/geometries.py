"""Geometries far from all others."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from entrove.curation.auditing.findings import Finding, Severity
from entrove.curation.auditing.residual_findings import files_of, named
from entrove.curation.auditing.spool import Spool

_GEOMETRY_DEVIATIONS = 12.0
_GEOMETRIES_COMPARED = 1000
_DISTANCES_AT_A_TIME = 4_000_000


def far_geometries(
    signatures: Float[np.ndarray, "frames width"], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Frames whose fifth-nearest neighbour is far, and by how many typical distances.

    The typical distance is that of a sample. A frame with five neighbours among another sample is
    not far, so that only the others are compared with all.
    """
    if len(signatures) < 20:
        return np.zeros(0, dtype=int), np.zeros(0)
    generator = np.random.default_rng(seed)
    few = generator.permutation(len(signatures))[:_GEOMETRIES_COMPARED]
    typical = float(np.quantile(_fifth_distances(signatures[few], signatures), 0.75))
    limit = _GEOMETRY_DEVIATIONS * max(typical, 1e-9)
    maybe = np.flatnonzero(_fifth_distances(signatures, signatures[few]) > limit)
    distances = _fifth_distances(signatures[maybe], signatures)
    order = np.argsort(-distances)
    order = order[distances[order] > limit]
    return maybe[order], distances[order] / max(typical, 1e-9)


def _fifth_distances(signatures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each signature to the fifth-nearest of the others, itself not counted.

    In sixteen dimensions a tree visits most of its leaves; products of matrices are faster.
    """
    count = min(6, len(others))
    norms = (others**2).sum(axis=1)
    found = [np.zeros(0)]
    step = max(1, _DISTANCES_AT_A_TIME // len(others))
    for start in range(0, len(signatures), step):
        part = signatures[start : start + step]
        squares = norms - 2 * part @ others.T
        nearest = np.partition(squares, count - 1, axis=1)[:, count - 1]
        found.append(np.sqrt(np.maximum(nearest + (part**2).sum(axis=1), 0.0)))
    return np.concatenate(found)


def far_findings(spool: Spool, far: np.ndarray, relative: np.ndarray) -> Iterator[Finding]:
    """The finding of what `far_geometries` returns."""
    if not len(far):
        return
    yield Finding(
        "geometry_outlier",
        Severity.NOTE,
        "geometries far from all others",
        "their fingerprints are up to "
        f"{relative.max():.0f} times as far from the nearest ones as is typical: "
        + "; ".join(str(ref) for ref in named(spool, far[:3])),
        "look at them: rare and valuable, or a broken simulation",
        named(spool, far),
        len(far),
        files_of(spool, far),
    )
