"""Settings of the entropies."""

from typing import Literal

from pydantic import Field

from entrove.settings import Settings

EntropyKind = Literal["information", "paper", "local", "none"]
Mode = Literal["per_atom", "per_config"]


class EntropyConfig(Settings):
    """Which entropy is used, and its parameters."""

    kind: EntropyKind = Field(
        default="information",
        description="information: whitened information gain, never negative; paper: ln det of "
        "the normalised covariance; local: nearest-neighbour entropy of one configuration, "
        "without a dataset; none: no bias.",
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
