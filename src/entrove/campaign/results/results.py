"""What a campaign has found so far, in the form that `entrove status` and the report read.

Everything here is data: it is read from the campaign folder by `read_results` and never changed.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class ErrorRow:
    """Mean absolute errors of one model on one part of the validation set."""

    round: int  # 0 is the untuned foundation model
    model: str
    phase: str  # "all" for the total
    kind: str  # "all" for the total; "strain", "shear", "hot_md", ...
    structures: int
    energy_mae_meV_per_atom: float
    force_mae_meV_per_A: float
    stress_mae_meV_per_A3: float


@dataclass(frozen=True)
class LabelRow:
    """One structure that was sent to the labelling engine."""

    purpose: str  # "training" or "validation"
    round: int
    structure_hash: str
    phase: str
    kind: str
    pool: str
    pressure_GPa: float
    temperature_K: float | None
    gain_nats: float | None  # what the selection expected; None for validation structures
    outcome: str
    cause: str
    engine_seconds: float
    from_cache: bool


@dataclass(frozen=True)
class StageTime:
    """Wall time of one finished stage."""

    round: int
    stage: str
    seconds: float
    summary: str  # one line: what came out


@dataclass(frozen=True)
class Parity:
    """Reference against prediction on the validation set, for one model."""

    round: int
    model: str
    phases: np.ndarray  # (structures,) of str
    kinds: np.ndarray  # (structures,) of str
    reference_energy_eV_per_atom: (
        np.ndarray
    )  # (structures,), relative to the mean of the reference
    predicted_energy_eV_per_atom: np.ndarray  # (structures,), relative to the same mean
    reference_forces_eV_per_A: np.ndarray  # (components,)
    predicted_forces_eV_per_A: np.ndarray
    reference_stress_GPa: (
        np.ndarray
    )  # (components,), 6 or 9 for each structure, structure after structure
    predicted_stress_GPa: np.ndarray
    atom_counts: np.ndarray | None = (
        None  # (structures,) of int: force components follow in this order
    )


@dataclass(frozen=True)
class MapPoint:
    """One configuration in the plane of the first two principal components of its mean fingerprint."""

    x: float
    y: float
    group: str  # "seed", "walker" or "selected"
    phase: str
    round: int
    description: str  # for the hover text


@dataclass(frozen=True)
class FingerprintMap:
    """The map of the fingerprint space: principal components over all candidates."""

    points: tuple[MapPoint, ...]
    explained_variance: tuple[float, float]  # fractions of the total variance


@dataclass(frozen=True)
class WalkerRow:
    """How often a walker was restarted, and why."""

    round: int
    walker: int
    phase: str
    pressure_GPa: float
    temperature_K: float
    strength: str
    restarts: int
    reasons: str
    ended_at_step: int | None = None  # None: it still runs


@dataclass(frozen=True)
class PoolRow:
    """Places of a round that were reserved for a pool, and candidates of it that were picked."""

    round: int
    pool: str
    reserved: int
    picked: int


@dataclass(frozen=True)
class CampaignResults:
    """A whole campaign, finished or not."""

    folder: Path
    name: str
    entrove_version: str
    finished: bool
    verdict: str  # why it stopped, or what it does next
    rounds_done: int
    rounds_planned: int
    level_of_theory: str  # for people: "GPAW 26.7.0, PBE, 300 eV, ..."
    level_of_theory_hash: str
    foundation_model: str
    config_yaml: str
    errors: tuple[ErrorRow, ...] = ()
    labels: tuple[LabelRow, ...] = ()
    stages: tuple[StageTime, ...] = ()
    parity: tuple[Parity, ...] = ()
    walkers: tuple[WalkerRow, ...] = ()
    pools: tuple[PoolRow, ...] = ()
    next_gain_nats: dict[int, float] = field(
        default_factory=dict
    )  # round -> what its labels added
    fingerprint_map: FingerprintMap | None = None
    best_round: int = 0  # of the best accepted model; 0 when none is
