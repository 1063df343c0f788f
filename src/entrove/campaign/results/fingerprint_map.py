"""Map of mean fingerprints: the plane of their first two principal components."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from entrove import provenance
from entrove.campaign.results.pictured import describe_structure
from entrove.campaign.results.results import FingerprintMap, MapPoint
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.from_structures import fingerprint
from entrove.fingerprints.lengths import resolve


def draw_map(
    groups: Sequence[tuple[str, int, list[Atoms]]], config: FingerprintConfig
) -> FingerprintMap | None:
    """Project the mean fingerprint of every structure onto the first two principal components.

    `groups` has the name, the round and the structures of each group. Returns None for fewer than
    three structures, which span no plane.
    """
    structures = [atoms for _, _, members in groups for atoms in members]
    if len(structures) < 3:
        return None
    config = resolve(config, structures)
    assert isinstance(config.length, int)
    values = fingerprint(
        structures,
        cutoff_A=config.cutoff_A,
        length=config.length,
        orbitals=config.orbitals,
        radii_A=config.radii_A,
    ).values
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    means = np.stack([part.mean(axis=0) for part in np.split(values, ends)])
    centred = means - means.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    # The sign of a principal component is arbitrary. It is fixed here, so that a report that is
    # written again looks the same.
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    plane = centred @ (directions * signs[:, None])[:2].T
    variance = spread**2
    total = float(variance.sum()) or 1.0
    labels = [
        (group, round_index, atoms) for group, round_index, members in groups for atoms in members
    ]
    points = tuple(
        MapPoint(
            x=float(x),
            y=float(y),
            group=group,
            phase=str(provenance.provenance_of(atoms).get(provenance.PHASE, "")),
            round=round_index,
            description=describe_structure(atoms),
        )
        for (x, y), (group, round_index, atoms) in zip(plane, labels, strict=True)
    )
    return FingerprintMap(points, (float(variance[0]) / total, float(variance[1]) / total))
