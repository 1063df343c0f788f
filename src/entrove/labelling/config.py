"""Configuration of labelling: which engine, where it runs, how many attempts, how long each."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from entrove.execution.settings import AnyExecution, LocalExecution
from entrove.labelling.consistency import StressCheckSettings
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.registry import AnyEngine
from entrove.labelling.kpoint_check import KpointCheckSettings
from entrove.labelling.outliers import OutlierLimits
from entrove.labelling.sanity import SanityLimits
from entrove.settings import Settings


class LabellingConfig(Settings):
    """How candidates become labels.

    Arguments, all with defaults: `engine` and `executor`; `time_limit_s` of a first attempt (s)
    and `longer_try_factor` after a timeout; `max_attempts` at a structure; `cache`, the SQLite
    file of the labels; `keep_folders`; `sanity` and `outliers`, the limits beyond which a label is
    rejected; `stress_check`, when the first labels contradict themselves; `kpoint_check`, when
    denser k-points would change them.
    """

    engine: AnyEngine = Field(default_factory=Gpaw, description="What computes the labels.")
    executor: AnyExecution = Field(
        default_factory=LocalExecution, description="Where engines run."
    )
    time_limit_s: PositiveFloat = Field(
        default=3600.0, description="Time limit of a first attempt in s."
    )
    longer_try_factor: float = Field(
        default=3.0,
        ge=1.0,
        description="An attempt that timed out is repeated once with this many times the limit.",
    )
    max_attempts: PositiveInt = Field(
        default=3,
        description="Attempts at a structure before it is quarantined; the longer try after a "
        "first timeout is made in any case.",
    )
    cache: Path | None = Field(
        default=None,
        description="SQLite file that remembers every label; give several campaigns one file and "
        "they share labels. Nothing means: inside the campaign folder.",
    )
    keep_folders: Literal["all", "failed"] = Field(
        default="all", description="Whether the engine's files of good labels are kept too."
    )
    sanity: SanityLimits = Field(
        default_factory=SanityLimits, description="What no label may exceed."
    )
    outliers: OutlierLimits = Field(
        default_factory=OutlierLimits, description="How far from the model's an energy may be."
    )
    stress_check: StressCheckSettings = Field(
        default_factory=StressCheckSettings,
        description="Two volumes of each phase are labelled first, and their stress is compared "
        "with the derivative of their energies.",
    )
    kpoint_check: KpointCheckSettings = Field(
        default_factory=KpointCheckSettings,
        description="Before the other labels a hot snapshot of each phase is also computed with "
        "denser k-points, which no label is taken from.",
    )

    @property
    def longest_attempt_s(self) -> float:
        """Time limit in s of the longest attempt, the one after a timeout."""
        return self.time_limit_s * self.longer_try_factor

    def resolved_against(self, folder: Path) -> "LabellingConfig":
        """The same settings with relative paths taken from `folder`."""
        return self.model_copy(
            update={
                "engine": self.engine.resolved_against(folder),
                "cache": folder / self.cache if self.cache else None,
            }
        )
