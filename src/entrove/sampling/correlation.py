"""How many of a walker's snapshots are independent of each other.

Snapshots k of a walker have displacements u_k, the 3N coordinates without the motion of the centre
of mass. How far they are from those j snapshots later,

    gamma_j = <|u_(k+j) - u_k|^2> / 2,

rises to a plateau c, which gives the correlation rho_j = 1 - gamma_j / c. n snapshots are worth
n / g independent ones, with the statistical inefficiency

    g = 1 + 2 sum_(j=1..J) (1 - j/n) rho_j.

J is the last lag below the plateau, and the plateau is the mean of gamma over all pairs further
apart than J. Differences need no mean: the mean of a short run follows its snapshots, so that
correlations of deviations from it are too small (for an autoregressive series of 20 snapshots with
rho_1 = 0.8, g would be 3.5 instead of 7.0). Between mean square deviation v from that mean and
plateau, c (1 - g/n) = v holds exactly.

A walker that was restarted has several runs: only pairs within one run are compared.

Refs: Mueller-Krumbhaar & Binder, J. Stat. Phys. 8, 1 (1973); Chodera et al., J. Chem. Theory
Comput. 3, 26 (2007), g; Matheron, Econ. Geol. 58, 1246 (1963), gamma.
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

    Snapshots of a walker with fewer than `FEWEST` are worth as much, each, as those of the others
    in the mean.

    Returns None when no walker has as many as `FEWEST` snapshots.
    """
    walkers: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.walker is not None and candidate.step is not None:
            walkers[candidate.walker].append(candidate)
    for snapshots in walkers.values():
        snapshots.sort(key=_step)
    gaps = [
        _step(after) - _step(before)
        for snapshots in walkers.values()
        for before, after in itertools.pairwise(snapshots)
    ]
    spacing = min((gap for gap in gaps if gap), default=1)
    long = [snapshots for snapshots in walkers.values() if len(snapshots) >= FEWEST]
    if not long:
        return None
    found = sum(
        _worth([_displacements([one.atoms for one in run]) for run in _runs(snapshots, spacing)])
        for snapshots in long
    )
    estimated = sum(len(snapshots) for snapshots in long)
    others = sum(len(snapshots) for snapshots in walkers.values()) - estimated
    return float(found + others * min(found / estimated, 1.0))


def statistical_inefficiency(series: Float[np.ndarray, "snapshots coordinates"]) -> float:
    """Return g >= 1, by how much the variance of a mean is larger than of independent samples.

    What does not vary at all has g of the number of snapshots: it is worth one.
    """
    return _inefficiency(len(series), _correlations([series]))


def _step(candidate: Candidate) -> int:
    return candidate.step or 0


def _runs(snapshots: Sequence[Candidate], spacing: int) -> list[list[Candidate]]:
    """Split the snapshots of a walker where it was restarted.

    After a restart the next snapshot is `spacing` steps later at the earliest, so that at least
    one is missing.
    """
    runs = [[snapshots[0]]]
    for before, after in itertools.pairwise(snapshots):
        if _step(after) - _step(before) >= 2 * spacing:
            runs.append([])
        runs[-1].append(after)
    return runs


def _worth(runs: Sequence[Float[np.ndarray, "_ coordinates"]]) -> float:
    """Independent snapshots of all runs of a walker."""
    correlations = _correlations(runs)
    return sum(len(run) / _inefficiency(len(run), correlations) for run in runs)


def _inefficiency(snapshots: int, correlations: Sequence[float]) -> float:
    """Return g of a run from rho_1, rho_2, ...; those that are not listed are zero."""
    lags = enumerate(correlations[: snapshots - 1], start=1)
    return 1.0 + 2 * sum((1 - lag / snapshots) * correlation for lag, correlation in lags)


def _correlations(runs: Sequence[Float[np.ndarray, "_ coordinates"]]) -> list[float]:
    """Return rho_1 to rho_J of all runs together; all ones for what does not vary."""
    longest = max(len(run) for run in runs)
    varying = [run - run.mean(0) for run in runs]
    # Over all pairs of a run, the sum of |u_k - u_i|^2 / 2 is this times the number of snapshots.
    squares = sum(len(run) * float(np.square(run).sum()) / 2 for run in varying)
    size = sum(len(run) * float(np.square(run).sum()) / 2 for run in runs)
    if squares <= 1e-20 * max(size, 1e-12):
        return [1.0] * (longest - 1)
    pairs = sum(len(run) * (len(run) - 1) // 2 for run in runs)
    gammas: list[float] = []
    for lag in range(1, longest - 1):
        moves = [run[lag:] - run[:-lag] for run in runs if len(run) > lag]
        of_lag = sum(float(np.square(move).sum()) for move in moves) / 2
        count = sum(len(move) for move in moves)
        if of_lag * pairs >= squares * count:  # not below the mean of this and all longer lags
            break
        gammas.append(of_lag / count)
        squares, pairs = squares - of_lag, pairs - count
    plateau = squares / pairs if pairs else 1.0
    return [1 - gamma / plateau for gamma in gammas]


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
