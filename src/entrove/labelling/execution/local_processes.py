"""Parsl's view of this machine: worker pools as child processes, ended together with the campaign."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers.base import ExecutionProvider
from parsl.utils import RepresentationMixin


class LocalProcesses(ExecutionProvider, RepresentationMixin):
    """Start worker pools on this machine, with `environment` added to theirs.

    Parsl's own local provider starts them through shell scripts: they survive a killed campaign, a
    folder with a blank in its name stops them, and ending them takes seconds.
    """

    def __init__(self, environment: dict[str, str], max_blocks: int = 1):
        self.environment = environment
        self.nodes_per_block = 1
        self.init_blocks = 1
        # Idle workers stay until the executor stops: taking them away and bringing them back costs seconds.
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
                tethered(["/bin/sh", "-c", command]),
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


def tethered(command: Sequence[str]) -> list[str]:
    """The command that runs `command` and ends it when this process is gone."""
    return [sys.executable, "-m", "entrove.labelling.execution.tether", str(os.getpid()), *command]


def _status_of(process: subprocess.Popen) -> JobStatus:
    code = process.poll()
    if code is None:
        return JobStatus(JobState.RUNNING)
    return JobStatus(JobState.COMPLETED if code == 0 else JobState.FAILED, exit_code=code)
