"""Settings of sampling: dynamics, biases, guards, relaxation, and the pools."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from entrove.entropy.config import EntropyKind, Mode
from entrove.execution.settings import SamplingExecution, ThisMachine
from entrove.settings import Settings

Positive = Annotated[float, Field(gt=0)]
Ensemble = Literal["nvt", "npt"]
Barostat = Literal["isotropic", "anisotropic"]


class BiasSettings(Settings):
    """One entropy that walkers are biased by, and its strengths; each strength is a walker."""

    entropy: EntropyKind = Field(
        default="information",
        description="Entropy that biases the walkers; 'none' is plain MD and takes no strength.",
    )
    mode: Mode = Field(
        default="per_atom",
        description=(
            "Fingerprint of every atom (disordered structures), or their mean (ordered phases); "
            "only for 'information' and 'paper'."
        ),
    )
    kappas_eV: tuple[Positive, ...] = Field(
        default=(),
        description="Fixed bias strengths in eV: energy = model energy - kappa * entropy.",
    )
    fractions: tuple[Positive, ...] = Field(
        default=(),
        description=(
            "Adaptive bias strengths: rms bias force over the thermal force scale of the walker "
            "(the rms model force of its own unbiased thermalisation), dimensionless."
        ),
    )

    @model_validator(mode="after")
    def _strengths_fit(self) -> "BiasSettings":
        if self.entropy in ("local", "none") and self.mode != "per_atom":
            why = "compares the atoms of one cell" if self.entropy == "local" else "is no bias"
            raise ValueError(
                f"mode '{self.mode}' has no meaning for entropy '{self.entropy}', which {why}; "
                "remove mode, or choose entropy 'information' or 'paper'"
            )
        given = len(self.kappas_eV) + len(self.fractions)
        if self.entropy == "none" and given:
            raise ValueError(
                "entropy 'none' is unbiased and takes neither kappas_eV nor fractions; remove them"
            )
        if self.entropy != "none" and not given:
            raise ValueError(
                f"entropy '{self.entropy}' needs a strength; "
                "give kappas_eV (fixed, eV) or fractions (adaptive)"
            )
        return self


class AdaptiveSettings(Settings):
    """How an adaptive bias strength follows its fraction of the thermal force scale."""

    relaxation_steps: int = Field(
        default=20,
        ge=1,
        description="Steps over which the running mean of the entropy gradient decays.",
    )
    largest_kappa_eV: Positive = Field(
        default=200.0, description="Upper bound of an adaptive kappa, in eV."
    )
    largest_atom_ratio: Positive = Field(
        default=4.0,
        description=(
            "Largest bias force on one atom over the thermal force scale, and in 'npt' largest "
            "bias stress over the thermal stress that this scale implies; the bias of the whole "
            "walker is scaled down until both hold, so that the net force stays zero."
        ),
    )


class GuardSettings(Settings):
    """Limits of the physical range; a walker that leaves it is restarted, with a reason."""

    shortest_distance: float = Field(
        default=0.6,
        gt=0,
        lt=1,
        description="Shortest distance over the sum of the two covalent radii.",
    )
    largest_force_eV_per_A: Positive = Field(
        default=30.0, description="Largest force of the unbiased model on one atom, in eV/A."
    )
    largest_temperature_ratio: float = Field(
        default=2.0,
        gt=1,
        description=(
            "Largest kinetic temperature over the target temperature, beyond an allowance of six "
            "standard deviations for the natural fluctuation of few atoms."
        ),
    )
    smallest_volume_ratio: float = Field(
        default=0.6,
        gt=0,
        lt=1,
        description="Smallest volume over that of the walker's relaxed phase.",
    )
    largest_volume_ratio: float = Field(
        default=1.7, gt=1, description="Largest volume over that of the walker's relaxed phase."
    )
    distance_every: int = Field(
        default=5,
        ge=1,
        description="Steps between checks of the shortest distance; the other guards check "
        "every step.",
    )
    largest_restarts: int = Field(
        default=10, ge=0, description="Restarts after which a walker is ended."
    )


class RelaxationSettings(Settings):
    """Relaxation of positions and cell at a pressure."""

    force_tolerance_eV_per_A: Positive = Field(
        default=0.02, description="Largest force on one atom at convergence, in eV/A."
    )
    stress_tolerance_GPa: Positive = Field(
        default=0.1, description="Largest deviation of a stress component from -pressure, in GPa."
    )
    largest_steps: int = Field(default=500, ge=1, description="Optimiser steps before giving up.")


class AnchorSettings(Settings):
    """Pool C: relaxed phases, strained and sheared cells, short unbiased MD."""

    volume_strains: tuple[Positive, ...] = Field(
        default=(0.9, 0.94, 0.97, 1.03, 1.06, 1.1),
        description="Volume of isotropically strained cells over that of the relaxed phase.",
    )
    shears: tuple[float, ...] = Field(
        default=(0.03, 0.06),
        description="Engineering shear strains; each is applied to yz, xz and xy.",
    )
    md_steps: int = Field(
        default=100,
        ge=0,
        description="Steps of unbiased NVT MD at each temperature, after the thermalisation.",
    )
    md_snapshots: int = Field(default=2, ge=0, description="Snapshots of each of these MD runs.")


class HoldOutSettings(Settings):
    """Validation and test set: strains and MD unlike the anchors'; never trained on.

    Both are labelled first. The validation set decides which model is kept; the test set is used
    once, at the end, and its errors are those to quote. Each holds every phase and kind.
    """

    interval: float | None = Field(
        default=0.35,
        gt=0,
        le=2,
        description="How well errors are to be known: relative half width of the 95 % interval of "
        "the energy error of all structures. It determines the number of structures of each set: "
        "9 for 0.5, 18 for 0.35, 36 for 0.25, and at least one of every phase and kind. Strains "
        "and shears of smaller amplitude and further MD runs are added as needed. null: exactly "
        "the strains, shears and snapshots below; in the test set 0.9 times the strains and "
        "shears, so that no structure is in both.",
    )
    test: bool = Field(
        default=True,
        description="Set a test set aside, as large as the validation set. Without it the errors "
        "of the validation set, which has chosen the model, are quoted.",
    )
    volume_strains: tuple[Positive, ...] = Field(
        default=(0.92, 1.08),
        description="Volume of isotropically strained cells over that of the relaxed phase, in "
        "the validation set; the test set has 0.9 times the change.",
    )
    shears: tuple[float, ...] = Field(
        default=(0.05,),
        description="Engineering shear strains of the validation set, 0.9 times in the test set.",
    )
    shear_planes: int = Field(
        default=1,
        ge=1,
        le=3,
        description="In how many of the planes yz, xz and xy each shear is applied.",
    )
    temperature_factor: Positive = Field(
        default=1.0,
        description="Temperatures of the MD over the temperatures of the regime.",
    )
    md_steps: int = Field(
        default=200,
        ge=0,
        description="Steps of NVT MD of each phase at each pressure and temperature, after the "
        "thermalisation.",
    )
    md_snapshots: int = Field(
        default=2,
        ge=0,
        description="Snapshots of each of these MD runs; with an interval, the second is only "
        "used where runs are too few.",
    )

    @model_validator(mode="after")
    def _holds_something(self) -> "HoldOutSettings":
        if not (self.volume_strains or self.shears or (self.md_steps and self.md_snapshots)):
            raise ValueError(
                "the validation set would be empty; give volume_strains, shears or md_snapshots "
                "with md_steps"
            )
        return self


class OrderedSettings(Settings):
    """Pool B: relaxations of perturbed seeds and random crystals towards equal environments.

    A cell is kept when it ends at its pressure, with low forces, between the volume ratios of the
    guards, with a space group other than P1, and is no copy.
    """

    perturbed: int = Field(
        default=2, ge=0, description="Perturbed copies of each phase at each pressure."
    )
    rattle_A: Positive = Field(
        default=0.25, description="Standard deviation of atomic displacements, in A."
    )
    strain: Positive = Field(
        default=0.08, description="Standard deviation of the cell's random strain."
    )
    random: int = Field(
        default=2,
        ge=0,
        description=(
            "Random crystals per composition and pressure, with the number of atoms of a phase of "
            "that composition, the phases taking turns."
        ),
    )
    variance_weight_eV: float = Field(
        default=5.0,
        ge=0,
        description="Energy per unit variance of same-species fingerprints, added to the model, "
        "in eV.",
    )
    biased_steps: int = Field(
        default=100, ge=0, description="Relaxation steps under model plus variance."
    )
    largest_force_eV_per_A: Positive = Field(
        default=0.2,
        description="Cells whose largest force stays above this after relaxation are dropped, "
        "eV/A.",
    )
    largest_stress_deviation_GPa: Positive = Field(
        default=1.0,
        description=(
            "Cells with a component of stress + pressure above this after relaxation are dropped: "
            "they are not at their pressure, in GPa."
        ),
    )


class SamplingConfig(Settings):
    """Exploration: the dynamics of the walkers, their biases, guards and pools."""

    ensemble: Ensemble = Field(
        default="nvt", description="'nvt' (fixed cell) or 'npt' (at the pressure)."
    )
    barostat: Barostat = Field(
        default="isotropic",
        description="How the cell may change in 'npt': one scale, or one for each axis.",
    )
    barostat_time_fs: Positive = Field(
        default=300.0,
        description="Period in which the volume oscillates in 'npt', in fs; at least 20 time "
        "steps.",
    )
    timestep_fs: float = Field(default=1.0, gt=0, le=10, description="Time step in fs.")
    friction_per_fs: Positive = Field(default=0.01, description="Langevin friction in 1/fs.")
    thermalise_steps: int = Field(
        default=100,
        ge=0,
        description=(
            "Unbiased steps before any sampling starts, plain MD included, and after a restart "
            "from the relaxed phase."
        ),
    )
    chunk_steps: int = Field(
        default=100, ge=1, description="Steps between admissions to the shared dataset."
    )
    chunks: int = Field(
        default=10, ge=1, description="Chunks in each round of the campaign, at least."
    )
    independent_per_label: float = Field(
        default=1.0,
        ge=0,
        description="Further chunks run until the snapshots of a round are worth this many "
        "independent ones for each of its labels, by the measured correlation of displacements. "
        "0: exactly `chunks`.",
    )
    largest_chunks: int | None = Field(
        default=None,
        ge=1,
        description="Most chunks in each round; null: three times `chunks`.",
    )
    snapshot_every: int = Field(
        default=50,
        ge=1,
        description="Steps between snapshots, and the fewest from a restart to the next.",
    )
    trajectory_every: int | None = Field(
        default=None,
        ge=1,
        description="Steps between stored trajectory frames of every walker; null for none.",
    )
    replicas: int = Field(
        default=1, ge=1, description="Walkers of each kind, with their own noise."
    )
    biases: tuple[BiasSettings, ...] = Field(
        default=(
            BiasSettings(entropy="information", mode="per_atom", fractions=(0.3,)),
            BiasSettings(entropy="none"),
        ),
        min_length=1,
        description="Entropies, modes and strengths of the walkers. Half of them are unbiased: in "
        "learning curves biased walkers have given no better labels than plain MD.",
    )
    adaptive: AdaptiveSettings = Field(
        default=AdaptiveSettings(), description="How adaptive bias strengths follow their target."
    )
    guards: GuardSettings = Field(
        default=GuardSettings(), description="Limits of the physical range."
    )
    relaxation: RelaxationSettings = Field(
        default=RelaxationSettings(), description="Relaxation of each phase at each pressure."
    )
    executor: SamplingExecution = Field(
        default=ThisMachine(),
        description="Where phases are relaxed, walkers run, and the validation suite is computed; "
        "slurm and parsl need files that all machines see.",
    )
    anchors: AnchorSettings = Field(default=AnchorSettings(), description="Pool of anchors.")
    ordered: OrderedSettings = Field(
        default=OrderedSettings(), description="Pool of ordered cells."
    )
    hold_out: HoldOutSettings = Field(default=HoldOutSettings(), description="Validation set.")

    @property
    def problem_of_barostat(self) -> str:
        """Why time steps cannot follow the cell of an NPT run; empty when they can."""
        if self.ensemble != "npt" or self.barostat_time_fs >= 20 * self.timestep_fs:
            return ""
        return (
            f"{self.barostat_time_fs:g} fs are fewer than 20 time steps of {self.timestep_fs:g} "
            "fs, which cannot follow the cell; raise it"
        )

    @property
    def most_chunks(self) -> int:
        """Most chunks in each round."""
        return 3 * self.chunks if self.largest_chunks is None else self.largest_chunks

    @model_validator(mode="after")
    def _chunks_fit(self) -> "SamplingConfig":
        if self.most_chunks < self.chunks:
            raise ValueError(
                f"largest_chunks={self.largest_chunks} is less than chunks={self.chunks}; "
                "raise it, or lower chunks"
            )
        return self

    @model_validator(mode="after")
    def _steps_fit(self) -> "SamplingConfig":
        if self.chunk_steps % self.snapshot_every:
            raise ValueError(
                f"snapshot_every={self.snapshot_every} must divide "
                f"chunk_steps={self.chunk_steps}, so that every chunk ends with a snapshot"
            )
        adaptive = any(bias.fractions for bias in self.biases)
        if adaptive and self.thermalise_steps < 20:
            raise ValueError(
                f"thermalise_steps={self.thermalise_steps} is too short for adaptive strengths "
                "(fractions): the thermal force scale is measured in it; give at least 20"
            )
        return self
