"""Settings of the entropies."""

from typing import Literal

from pydantic import Field

from entrove.settings import Settings

EntropyKind = Literal["information", "paper", "local", "none"]
SelectingKind = EntropyKind | Literal["labels"]
Mode = Literal["per_atom", "per_config"]
LabelKind = Literal["energy", "forces", "stress"]


class LabelsConfig(Settings):
    """Rows of labels: what a label brings, and how well each of its numbers can be fitted.

    Features are whitened and the weights of the model have a unit prior in eV, so that a noise
    level is relative to what the model can express: half of it counts as twice the data.
    """

    labels: tuple[LabelKind, ...] = Field(
        default=("energy", "forces", "stress"),
        min_length=1,
        description="What a label brings. A structure that is not periodic in three dimensions "
        "has no stress.",
    )
    energy_noise_eV_per_atom: float = Field(
        default=0.01, gt=0, description="sigma_E, noise of an energy, in eV/atom."
    )
    force_noise_eV_per_A: float = Field(
        default=0.1, gt=0, description="sigma_F, noise of a force component, in eV/A."
    )
    stress_noise_eV_per_A3: float = Field(
        default=0.01, gt=0, description="sigma_S, noise of a stress component, in eV/A^3."
    )
    signal_to_noise: float | None = Field(
        default=1.0,
        gt=0,
        description="How uncertain the model is before any label of the campaign: the mean square "
        "of what the candidates' labels may change, over that of their noise. A foundation model "
        "errs by about the noise; features of any unit and number are scaled to that. null: "
        "weights of whitened features have unit variance.",
    )
    noise_doubles_at_eV_per_atom: float | None = Field(
        default=0.3,
        gt=0,
        description="E_0 in sigma (1 + dE / E_0), in eV/atom: no model fits everything, and what "
        "lies dE above the ground state must not outweigh what lies near it. null: the noise is "
        "the same everywhere.",
    )
    directions: int | None = Field(
        default=30,
        ge=1,
        description="Most directions in which forces and stresses of a structure are taken; more "
        "become a random sketch of so many, so that 30 are all of 8 atoms. null: all of them, "
        "3 (n - 1) + 6.",
    )
    step_A: float = Field(
        default=1e-3,
        gt=0,
        le=0.1,
        description="How far atoms move for a derivative of the features, in A. A network in "
        "single precision needs 1e-3.",
    )


class EntropyConfig(Settings):
    """Which entropy is used, and its parameters."""

    kind: SelectingKind = Field(
        default="labels",
        description="labels: what energy, forces and stress of a label teach the model that is "
        "tuned; snapshots are admitted by information. information: whitened information gain of "
        "atomic features, never negative; paper: ln det of the normalised covariance. local "
        "(nearest-neighbour entropy of one configuration) and none can bias, but not select.",
    )
    mode: Mode = Field(
        default="per_atom",
        description="What a row is: the features of every atom (per_atom, for disordered "
        "structures) or their mean over a configuration (per_config, for ordered phases). Each "
        "mode has its own statistics.",
    )
    epsilon: float = Field(
        default=1e-3,
        gt=0,
        description="paper: added to the diagonal of the covariance, in squared feature units.",
    )
    ridge: float = Field(
        default=0.1,
        gt=0,
        description="information: lambda in M = lambda 1 + sum x x^T, in squared whitened units. "
        "Rows closer than sqrt(lambda) reference standard deviations count as one, and the bias "
        "of an empty dataset is softer the larger it is; from about ten structures on it matters "
        "little.",
    )
    scale_floor: float = Field(
        default=1e-2,
        gt=0,
        lt=1,
        description="information: no feature is divided by less than this fraction of the "
        "typical standard deviation of its species, so that noise in a feature that hardly "
        "varies is not amplified.",
    )
    species_blocks: bool = Field(
        default=True,
        description="true: one covariance per species of the centre atom; false: all atoms share "
        "one.",
    )
    distance_floor: float = Field(
        default=1e-2,
        gt=0,
        description="local: d0 in d -> sqrt(d^2 + d0^2), in feature units; the force stays below "
        "about 1/d0.",
    )
    neighbour_power: float = Field(
        default=8.0,
        ge=1,
        description="local: p of the soft minimum (sum_j d_ij^-p)^(-1/p) over neighbours; larger "
        "is sharper.",
    )
    labels: LabelsConfig = Field(
        default=LabelsConfig(), description="labels: noise levels of what a label brings."
    )
