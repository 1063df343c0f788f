"""Configuration of labelling: which engine, where it runs, how many attempts, how long each."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from entrove.labelling.consistency import StressCheckSettings
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.registry import AnyEngine
from entrove.labelling.outliers import OutlierLimits
from entrove.labelling.sanity import SanityLimits
from entrove.settings import Settings


class LocalExecution(Settings):
    """Worker processes on this machine."""

    name: Literal["local"] = "local"
    workers: PositiveInt = Field(
        default=2, description="Labels that are computed at the same time."
    )
    cores_per_worker: PositiveInt = Field(
        default=1, description="Threads of each engine process (OMP_NUM_THREADS)."
    )

    @property
    def capacity(self) -> int:
        """Labels that are computed at the same time."""
        return self.workers


class SlurmExecution(Settings):
    """Worker processes inside Slurm jobs, which Parsl submits as they are needed."""

    name: Literal["slurm"] = "slurm"
    partition: str | None = Field(
        default=None, description="Partition to submit to; nothing means the default one."
    )
    account: str | None = Field(default=None, description="Account to charge.")
    walltime: str = Field(
        default="24:00:00",
        description="Time limit of a job, hh:mm:ss.",
        pattern=r"^\d+:\d\d:\d\d$",
    )
    nodes_per_job: PositiveInt = Field(default=1, description="Nodes of each job.")
    min_jobs: NonNegativeInt = Field(
        default=0, description="Jobs that are kept even when there is nothing to do."
    )
    max_jobs: PositiveInt = Field(default=1, description="Jobs that may run at the same time.")
    workers_per_node: PositiveInt = Field(
        default=1, description="Labels computed at the same time on a node."
    )
    cores_per_worker: PositiveInt = Field(
        default=1,
        description="Cores of each worker; also OMP_NUM_THREADS of engines that run inside it.",
    )
    prepare: str = Field(
        default="",
        description="Shell commands before a worker starts, such as "
        "'module load quantum-espresso'.",
    )
    scheduler_options: str = Field(
        default="", description="Lines put into the job script, such as '#SBATCH --qos=long'."
    )
    poll_s: PositiveInt = Field(default=30, description="Seconds between two looks at the queue.")
    lost_after_s: PositiveInt = Field(
        default=120,
        description="A job whose workers do not answer for so many seconds counts as lost; its "
        "labels start again.",
    )
    address: str | None = Field(
        default=None,
        description="IP address of this machine that the nodes can reach; nothing means: find it.",
    )

    @property
    def capacity(self) -> int:
        """Labels that are computed at the same time when all jobs run."""
        return self.max_jobs * self.nodes_per_job * self.workers_per_node

    @property
    def walltime_s(self) -> int:
        """Time limit of a job in s."""
        hours, minutes, seconds = (int(part) for part in self.walltime.split(":"))
        return 3600 * hours + 60 * minutes + seconds


class ParslExecution(Settings):
    """A Parsl configuration of the user's own, for every other scheduler that Parsl knows."""

    name: Literal["parsl"] = "parsl"
    config: str = Field(
        description="Import path 'module:function' that returns a parsl.Config.",
        pattern=r"^[\w.]+:[\w.]+$",
    )
    cores_per_worker: ClassVar[int] = 1
    """The configuration does not say how many, so costs are counted for one core."""
    capacity: ClassVar[int] = 1
    """As `cores_per_worker`; `AttemptExecutor.capacity` has the number once Parsl runs."""


AnyExecution = Annotated[
    LocalExecution | SlurmExecution | ParslExecution, Field(discriminator="name")
]


class LabellingConfig(Settings):
    """How candidates become labels.

    Arguments, all with defaults: `engine` and `executor`; `time_limit_s` of a first attempt (s)
    and `longer_try_factor` after a timeout; `max_attempts` at a structure; `cache`, the SQLite
    file of the labels; `keep_folders`; `sanity` and `outliers`, the limits beyond which a label is
    rejected; `stress_check`, when the first labels contradict themselves.
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

    def resolved_against(self, folder: Path) -> "LabellingConfig":
        """The same settings with relative paths taken from `folder`."""
        return self.model_copy(
            update={
                "engine": self.engine.resolved_against(folder),
                "cache": folder / self.cache if self.cache else None,
            }
        )
