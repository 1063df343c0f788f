"""What a campaign has found so far, in the form that `entrove status` and the report read.

Everything here is data: it is read from the campaign folder by `read_results` and never changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from entrove.campaign.journal.outcomes import LabelRow, WalkerRow
from entrove.validation.errors_by_kind import ErrorRow


@dataclass(frozen=True)
class ModelErrors:
    """Errors of one model on one part of the validation set."""

    round: int  # 0 is the untuned foundation model
    model: str
    errors: ErrorRow

    @property
    def phase(self) -> str:
        """Phase of this part; `ALL` for the total."""
        return self.errors.phase

    @property
    def kind(self) -> str:
        """Kind of this part: "strain", "shear", "hot_md", ...; `ALL` for the total."""
        return self.errors.kind

    @property
    def structures(self) -> int:
        """Number of structures in this part."""
        return self.errors.structures


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
    centred_energy_eV_per_atom: np.ndarray  # (structures,), see `centre_by_composition`
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
    errors: tuple[ModelErrors, ...] = ()
    labels: tuple[LabelRow, ...] = ()
    stages: tuple[StageTime, ...] = ()
    parity: tuple[Parity, ...] = ()
    walkers: tuple[WalkerRow, ...] = ()
    pools: tuple[PoolRow, ...] = ()
    next_gain_nats: Mapping[int, float] = MappingProxyType({})  # by round: what its labels added
    fingerprint_map: FingerprintMap | None = None
    best_round: int = 0  # of the best accepted model; 0 when none is
