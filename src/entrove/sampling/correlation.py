"""How many of a walker's snapshots are independent of each other.

Snapshots k of a walker have displacements u_k, the 3N coordinates minus their means over the run
and minus the motion of the centre of mass. Their correlation j snapshots apart is

    rho_j = <u_k . u_(k+j)> / <u_k . u_k>,

and n snapshots are worth n / g independent ones, with the statistical inefficiency

    g = 1 + 2 sum_(j>=1) (1 - j/n) rho_j,

summed up to the first rho_j that is not positive.

Refs: Mueller-Krumbhaar & Binder, J. Stat. Phys. 8, 1 (1973); Chodera et al., J. Chem. Theory
Comput. 3, 26 (2007).
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from entrove.sampling.candidates import Candidate

FEWEST = 4
"""With fewer snapshots than this no correlation is estimated."""


def independent_snapshots(candidates: Sequence[Candidate]) -> float | None:
    """Return how many independent snapshots those of the walkers are worth together.

    Args:
        candidates: Snapshots; those of a walker are ordered by their step. Others are ignored.

    Returns None when no walker has as many as `FEWEST` snapshots.
    """
    runs: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.walker is not None and candidate.step is not None:
            runs[candidate.walker].append(candidate)
    found = [
        len(run) / statistical_inefficiency(_displacements([one.atoms for one in run]))
        for run in (sorted(run, key=lambda one: one.step or 0) for run in runs.values())
        if len(run) >= FEWEST
    ]
    return float(sum(found)) if found else None


def statistical_inefficiency(series: Float[np.ndarray, "snapshots coordinates"]) -> float:
    """Return g >= 1, by how much the variance of a mean is larger than of independent samples.

    What does not vary at all has g of the number of snapshots: it is worth one.
    """
    snapshots = len(series)
    varying = series - series.mean(0)
    variance = np.square(varying).sum() / snapshots
    if variance <= 1e-20 * max(np.square(series).sum() / snapshots, 1e-12):
        return float(snapshots)
    inefficiency = 1.0
    for apart in range(1, snapshots):
        products = (varying[:-apart] * varying[apart:]).sum(1)
        correlation = products.mean() / variance
        if correlation <= 0:
            break
        inefficiency += 2 * (1 - apart / snapshots) * correlation
    return float(min(inefficiency, snapshots))


def _displacements(run: Sequence[Atoms]) -> Float[np.ndarray, "snapshots coordinates"]:
    """Coordinates in A that are continuous across periodic boundaries, without common motion."""
    coordinates = [run[0].get_positions()]
    for before, after in itertools.pairwise(run):
        moved = after.cell.scaled_positions(after.get_positions()) - before.cell.scaled_positions(
            before.get_positions()
        )
        moved -= np.round(moved) * np.asarray(after.pbc)
        moved -= moved.mean(0)
        coordinates.append(coordinates[-1] + after.cell.cartesian_positions(moved))
    return np.array(coordinates).reshape(len(run), -1)
