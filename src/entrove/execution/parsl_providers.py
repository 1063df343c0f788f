"""Where Parsl starts its worker pools: as child processes on this machine, or as Slurm jobs."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import SlurmProvider
from parsl.providers.base import ExecutionProvider
from parsl.utils import RepresentationMixin

from entrove.execution.watchdog import with_watchdog


class LocalProcesses(ExecutionProvider, RepresentationMixin):
    """Start worker pools on this machine, with `environment` added to theirs.

    Parsl's own local provider starts them through shell scripts: they survive a killed campaign, a
    folder with a blank in its name stops them, and ending them takes seconds.
    """

    def __init__(self, environment: dict[str, str], max_blocks: int = 1):
        self.environment = environment
        self.nodes_per_block = 1
        self.init_blocks = 1
        # Idle workers stay until the executor stops: stopping and starting them costs seconds.
        self.min_blocks = 1
        self.max_blocks = max_blocks
        self.parallelism = 1.0
        self.script_dir = None
        self.cores_per_node = None
        self.mem_per_node = None
        self.resources: dict[object, Any] = {}

    @property
    def label(self) -> str:
        """Name of this provider in Parsl's logs."""
        return "local"

    @property
    def status_polling_interval(self) -> int:
        """Seconds between two looks at the processes."""
        return 1

    def submit(self, command: str, tasks_per_node: int, job_name: str = "workers") -> object:  # noqa: ARG002
        """Start one worker pool; `script_dir` gets what it prints."""
        log = Path(self.script_dir or ".") / f"workers-{len(self.resources)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                with_watchdog(["/bin/sh", "-c", command]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | self.environment,
                start_new_session=True,
            )
        self.resources[process.pid] = process
        return process.pid

    def status(self, job_ids: Sequence[object]) -> Sequence[JobStatus]:
        """Whether each pool still runs."""
        return [_status_of(self.resources[job]) for job in job_ids]

    def cancel(self, job_ids: Sequence[object]) -> Sequence[bool]:
        """End worker pools and every engine that they run."""
        for job in job_ids:
            self.resources[job].terminate()
        for job in job_ids:
            self.resources[job].wait()
        return [True for _ in job_ids]


class PolledSlurm(SlurmProvider):
    """Slurm jobs whose state is asked for every `poll_s` seconds (Parsl itself: every minute)."""

    def __init__(self, poll_s: int, **settings: Any):
        super().__init__(**settings)
        self.poll_s = poll_s

    def __repr__(self) -> str:
        return (
            f"PolledSlurm(poll_s={self.poll_s}, partition={self.partition!r}, "
            f"walltime={self.walltime!r})"
        )

    @property
    def status_polling_interval(self) -> int:
        """Seconds between two looks at the queue."""
        return self.poll_s


def _status_of(process: subprocess.Popen) -> JobStatus:
    code = process.poll()
    if code is None:
        return JobStatus(JobState.RUNNING)
    return JobStatus(JobState.COMPLETED if code == 0 else JobState.FAILED, exit_code=code)
