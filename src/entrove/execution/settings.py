"""The keys `executor` of a configuration: where labels, trainings and explorations run."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from entrove.errors import ConfigError
from entrove.settings import Settings

CORES_VARIABLE = "ENTROVE_CORES"
"""Environment variable in which a worker finds its number of cores."""

PLAIN_CHARACTERS = "/._-+,:=@"
"""What the path of a folder of Slurm jobs may have besides letters and digits."""


class LocalExecution(Settings):
    """Worker processes on this machine."""

    name: Literal["local"] = "local"
    workers: PositiveInt = Field(
        default=2, description="Labels or trainings that are computed at the same time."
    )
    cores_per_worker: PositiveInt = Field(
        default=1, description="Threads of each of them (OMP_NUM_THREADS)."
    )

    @property
    def capacity(self) -> int:
        """Labels or trainings that are computed at the same time."""
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
        default=1, description="Labels or trainings computed at the same time on a node."
    )
    cores_per_worker: PositiveInt = Field(
        default=1,
        description="Cores of each worker; also OMP_NUM_THREADS of what runs inside it.",
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
        "labels start again, and trainings and explorations continue in another one.",
    )
    address: str | None = Field(
        default=None,
        description="IP address of this machine that the nodes can reach; nothing means: find it.",
    )

    @property
    def capacity(self) -> int:
        """Tasks that run at the same time when all jobs run."""
        return self.max_jobs * self.nodes_per_job * self.workers_per_node

    def check_folder(self, folder: Path) -> None:
        """Raise `ConfigError` when jobs cannot run in a folder.

        Its path stands in lines of the job's script that know no quotes (`#SBATCH --output=`).
        """
        for character in str(folder):
            if not character.isalnum() and character not in PLAIN_CHARACTERS:
                named = "a blank" if character.isspace() else f"the character {character}"
                raise ConfigError(
                    f"executor slurm: {folder} has {named} in its path, which sbatch scripts "
                    "cannot have; give the campaign a folder with letters, digits and "
                    f"{PLAIN_CHARACTERS} alone"
                )

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
    """As `cores_per_worker`; `WorkerPool.capacity` has the number once Parsl runs."""


def _local_by_default(local: type[Settings]) -> BeforeValidator:
    """Let a section without a name be that of this machine, unless a key is of another executor.

    A key that no executor has is then named as such, among the keys of this machine.
    """
    of_others = {*SlurmExecution.model_fields, *ParslExecution.model_fields}
    of_others -= {*local.model_fields}

    def add_name(value: Any) -> Any:
        unnamed = isinstance(value, dict) and "name" not in value
        return {"name": "local", **value} if unnamed and of_others.isdisjoint(value) else value

    return BeforeValidator(add_name)


AnyExecution = Annotated[
    LocalExecution | SlurmExecution | ParslExecution,
    Field(discriminator="name"),
    _local_by_default(LocalExecution),
]


class ThisMachine(Settings):
    """The machine that runs the campaign."""

    name: Literal["local"] = "local"


class LocalTrainings(ThisMachine):
    """Processes of the machine that runs the campaign."""

    workers: PositiveInt = Field(
        default=1,
        description="Trainings at the same time, where there are several: those that "
        "learning_rate: auto compares, and the members of a committee. They share model.threads.",
    )


SamplingExecution = Annotated[
    ThisMachine | SlurmExecution | ParslExecution,
    Field(discriminator="name"),
    _local_by_default(ThisMachine),
]
TrainingExecution = Annotated[
    LocalTrainings | SlurmExecution | ParslExecution,
    Field(discriminator="name"),
    _local_by_default(LocalTrainings),
]
