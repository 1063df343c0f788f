"""What a campaign has found so far, in the form that `entrove status` and the report read.

Everything here is data, which `read_results` reads from the campaign folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from ase import Atoms

from entrove.campaign.journal.outcomes import LabelRow, WalkerRow
from entrove.labelling.kpoint_check import KpointComparison
from entrove.training.choice import Choice
from entrove.validation.comparison import Comparison
from entrove.validation.errors_by_kind import ErrorRow
from entrove.validation.suite.result import SuiteResult


@dataclass(frozen=True)
class ModelErrors:
    """Errors of one model on one part of the validation set.

    `round` is the one that tuned the model; 0 is the untuned foundation model.
    """

    round: int
    model: str
    errors: ErrorRow

    @property
    def phase(self) -> str:
        """Phase of this part; `ALL` for the total."""
        return self.errors.phase

    @property
    def kind(self) -> str:
        """Kind of this part: "strain", "shear", "md_300_K", ...; `ALL` for the total."""
        return self.errors.kind

    @property
    def structures(self) -> int:
        """Number of structures in this part."""
        return self.errors.structures


@dataclass(frozen=True)
class StateErrors:
    """Errors of one model on the validation structures of one thermodynamic state.

    Attributes:
        round, model: The round that tuned the model (0: untuned), and its name.
        phase: Phase of the seed.
        pressure_GPa: Pressure in GPa.
        temperature_K: Temperature in K; None for cells at rest, strained or sheared.
        errors: Errors over all structures of the state.
    """

    round: int
    model: str
    phase: str
    pressure_GPa: float
    temperature_K: float | None
    errors: ErrorRow


@dataclass(frozen=True)
class StageTime:
    """What one finished stage took, and its result in one line.

    Attributes:
        round, stage: Which stage it is; round 0 is the preparation.
        seconds: Wall time in s.
        summary: The result.
        core_seconds: Time of all cores that were reserved for it, in s: of a stage that labels,
            time of the engine times its cores, without labels from the cache; of any other, wall
            time times threads. None where the number of cores was not recorded.
    """

    round: int
    stage: str
    seconds: float
    summary: str
    core_seconds: float | None = None


@dataclass(frozen=True)
class Parity:
    """References and predictions of one model on the validation set.

    Attributes:
        round, model: The round that tuned the model (0: untuned), and its name.
        phases, kinds: Phase and kind of each structure, shape (structures,).
        reference_energy_eV_per_atom: Reference energy relative to the mean over all structures, in
            eV/atom, shape (structures,).
        predicted_energy_eV_per_atom: The same plus the error of the prediction, shape
            (structures,).
        reference_forces_eV_per_A, predicted_forces_eV_per_A: Force components in eV/A, structure
            after structure, shape (3 x atoms of all structures,); NaN in the reference where they
            vanish by symmetry.
        reference_stress_GPa, predicted_stress_GPa: Stress components in GPa, 6 or 9 per structure,
            structure after structure.
        energy_is_centred: Whether the mean error of each composition is subtracted from the
            predicted energies, because the zero of energy of the model is not that of the labels.
        atom_counts: Number of atoms of each structure, shape (structures,); None when it is not
            known.
    """

    round: int
    model: str
    phases: np.ndarray
    kinds: np.ndarray
    reference_energy_eV_per_atom: np.ndarray
    predicted_energy_eV_per_atom: np.ndarray
    reference_forces_eV_per_A: np.ndarray
    predicted_forces_eV_per_A: np.ndarray
    reference_stress_GPa: np.ndarray
    predicted_stress_GPa: np.ndarray
    atom_counts: np.ndarray | None = None
    energy_is_centred: bool = False


@dataclass(frozen=True)
class MapPoint:
    """One configuration in the plane of the first two principal components.

    `group` is "seed", "walker" or "selected"; `description` is shown when the pointer is over the
    point.
    """

    x: float
    y: float
    group: str
    phase: str
    round: int
    description: str


@dataclass(frozen=True)
class FingerprintMap:
    """Mean fingerprints in the plane of their first two principal components.

    `explained_variance` has the fraction of the total variance along each of the two.
    """

    points: tuple[MapPoint, ...]
    explained_variance: tuple[float, float]


@dataclass(frozen=True)
class PicturedStructure:
    """A structure that is shown as a picture.

    `round` is the one that picked it, 0 for a relaxed seed; `description` says what it is and
    where it comes from.
    """

    round: int
    phase: str
    description: str
    atoms: Atoms


@dataclass(frozen=True)
class PoolRow:
    """Places that a round reserved for a pool, and candidates that it picked from the pool."""

    round: int
    pool: str
    reserved: int
    picked: int


@dataclass(frozen=True)
class RefusedModel:
    """The last tuned model of a campaign in which none was accepted.

    `round` is the one that tuned it, `weights` the file that `entrove.models.load` takes.
    """

    round: int
    weights: Path


@dataclass(frozen=True)
class CampaignResults:
    """A campaign, finished or not.

    Attributes:
        folder, name: Folder of the campaign, and its name.
        entrove_version: The version that reads it.
        finished, verdict: Whether a stopping condition held, and which one, or how far the
            campaign is.
        rounds_done, rounds_planned: Rounds that are validated, and the largest number of rounds.
        level_of_theory, level_of_theory_hash: The level of theory as a phrase ("GPAW 26.7.0, PBE,
            300 eV, ..."), and its hash.
        foundation_model: The model that is tuned, and the one that explores, if it is another one.
        config_yaml: The resolved configuration.
        errors: Errors of each validated model, by phase and kind. Those of the untuned model have
            its reference energies fitted to the training labels of the model that it is compared
            with; its energy errors are NaN before there are any.
        test: Errors on the test set of the model that is kept and of the untuned one; empty before
            the end, and in campaigns without a test set.
        test_comparison: These two models on the test set.
        comparison: The best tuned model, or the latest one without any, against the untuned one on
            the validation set; None before there is one.
        labels: The outcome of every structure of a round or a held-out set that was sent to the
            engine.
        volumes: The same of the volumes that were labelled for the equation of state.
        stages: Wall time of each finished stage.
        parity: Predictions of the models that are compared: the untuned one, and the best tuned
            one or, while none is best, the latest; empty unless `read_results` was asked for
            figures.
        walkers: Restarts of each walker in each round.
        pools: Places that were reserved for each pool, and picks from it, in each round.
        next_gain_nats: Information that the labels of each round were expected to add together, in
            nats, by round.
        fingerprint_map: The map of fingerprints; None unless `read_results` was asked for figures.
        pictured: Structures to show as pictures; empty unless `read_results` was asked for
            figures.
        best_round: The round of the best accepted model; 0 when no model is accepted.
        learnt: Number of labels that the model of each round was trained on, by round; without
            rounds of versions that did not record it.
        imported: Number of imported labels that are trained on.
        imports_wait: Whether the campaign is finished and its next run trains again, or keeps
            another model, because labels were imported or withdrawn since.
        imported_not_trained_on: Number of other imported labels of this level of theory in the
            campaign's label cache, which may be shared: they are used where it asks for exactly
            their structures.
        states: Errors by phase, pressure and temperature, of the untuned and the compared tuned
            model; empty unless `read_results` was asked for figures.
        gains_nats: What each label of a round was expected to add when it was picked, in nats, in
            the order of the picks; by round.
        labels_per_round: Labels that a further round would ask for.
        suite: What the validation suite found about the model that is kept; None before.
        refused: The last tuned model, where none was accepted; None otherwise.
        choices: How strategy and learning rate of each round were chosen; empty where they are
            given.
        kpoints: What denser k-points would change in the labels; None where that was not computed.
    """

    folder: Path
    name: str
    entrove_version: str
    finished: bool
    verdict: str
    rounds_done: int
    rounds_planned: int
    level_of_theory: str
    level_of_theory_hash: str
    foundation_model: str
    config_yaml: str
    errors: tuple[ModelErrors, ...] = ()
    comparison: Comparison | None = None
    test: tuple[ModelErrors, ...] = ()
    test_comparison: Comparison | None = None
    labels: tuple[LabelRow, ...] = ()
    volumes: tuple[LabelRow, ...] = ()
    stages: tuple[StageTime, ...] = ()
    parity: tuple[Parity, ...] = ()
    walkers: tuple[WalkerRow, ...] = ()
    pools: tuple[PoolRow, ...] = ()
    next_gain_nats: Mapping[int, float] = MappingProxyType({})
    fingerprint_map: FingerprintMap | None = None
    pictured: tuple[PicturedStructure, ...] = ()
    best_round: int = 0
    learnt: Mapping[int, int] = MappingProxyType({})
    imported: int = 0
    imports_wait: bool = False
    imported_not_trained_on: int = 0
    states: tuple[StateErrors, ...] = ()
    gains_nats: Mapping[int, tuple[float, ...]] = MappingProxyType({})
    labels_per_round: int = 0
    suite: SuiteResult | None = None
    refused: RefusedModel | None = None
    choices: Mapping[int, Choice] = MappingProxyType({})
    kpoints: KpointComparison | None = None
