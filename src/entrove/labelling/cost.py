"""What a label costs, learnt as labels arrive.

log(seconds) is linear in log(electrons) and log(k-points).

A Gaussian prior (plane-wave DFT of small cells: cost grows with the 1.5th power of electrons and
the 0.7th of k-points) says something sensible before the first label; every label then counts as
one observation. Ref.: Bishop, Pattern Recognition and Machine Learning (2006), eqs. 3.50 and 3.51.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from entrove.labelling.engines.base import Engine

_REFERENCE = math.log(32.0)
_PRIOR_EXPONENTS = (1.5, 0.7)
_PRIOR_SPREAD = (1.5, 0.5, 0.3)
"""Standard deviations of log(reference seconds) and of both exponents."""
_NOISE = 0.2
"""Scatter of log(seconds) between like structures: some need more steps to self-consistency."""


@dataclass(frozen=True)
class CostEstimate:
    """Predicted engine time; two of three lie between seconds / factor and seconds * factor."""

    seconds: float
    factor: float


@dataclass(frozen=True)
class Budget:
    """What labelling some structures will take: labels, core hours, hours on the clock, disk."""

    labels: int
    core_hours: float
    wall_hours: float
    disk_MB: float


class CostModel:
    """Seconds per label of one engine.

    `costs` are the rows of `LabelCache.costs`: atoms, electrons, k-points and engine seconds of
    each label.
    """

    def __init__(self, engine: Engine, costs: Sequence[tuple[int, int, int, float]] = ()):
        self._engine = engine
        mean = np.array([math.log(engine.reference_seconds), *_PRIOR_EXPONENTS])
        precision = np.diag(1.0 / np.square(_PRIOR_SPREAD))
        features = np.array(
            [_features(electrons, kpoints) for _, electrons, kpoints, _ in costs]
        ).reshape(-1, 3)
        targets = np.log([seconds for *_, seconds in costs]) if costs else np.zeros(0)
        posterior = precision + features.T @ features / _NOISE**2
        self._covariance = np.linalg.inv(posterior)
        self._weights = self._covariance @ (precision @ mean + features.T @ targets / _NOISE**2)
        self.observations = len(costs)

    def predict(self, atoms: Atoms) -> CostEstimate:
        """Engine seconds of one label."""
        features = _features(self._engine.electrons(atoms), self._engine.kpoints(atoms))
        spread = math.sqrt(_NOISE**2 + features @ self._covariance @ features)
        return CostEstimate(math.exp(features @ self._weights), math.exp(spread))

    def budget(
        self, structures: Sequence[Atoms], *, workers: int = 1, cores_per_worker: int = 1
    ) -> Budget:
        """What labelling all of `structures` takes with `workers` at the same time."""
        seconds = [self.predict(atoms).seconds for atoms in structures]
        # The last labels leave some workers idle: nothing finishes before its longest label.
        wall = max(sum(seconds) / workers, max(seconds, default=0.0))
        return Budget(
            labels=len(structures),
            core_hours=sum(seconds) * cores_per_worker / 3600,
            wall_hours=wall / 3600,
            disk_MB=len(structures) * self._engine.megabytes_per_label,
        )


def _features(electrons: int, kpoints: int) -> np.ndarray:
    return np.array(
        [1.0, math.log(max(electrons, 1)) - _REFERENCE, math.log(max(kpoints, 1)) - _REFERENCE]
    )
