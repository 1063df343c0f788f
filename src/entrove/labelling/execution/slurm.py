"""Parsl's Slurm, looked after as often as the configuration says."""

from typing import Any

from parsl.providers import SlurmProvider


class PolledSlurm(SlurmProvider):
    """Slurm jobs whose state is asked for every `poll_s` seconds (Parsl itself: every minute)."""

    def __init__(self, poll_s: int, **settings: Any):
        super().__init__(**settings)
        self.poll_s = poll_s

    def __repr__(self) -> str:
        return f"PolledSlurm(poll_s={self.poll_s}, partition={self.partition!r}, walltime={self.walltime!r})"

    @property
    def status_polling_interval(self) -> int:
        """Seconds between two looks at the queue."""
        return self.poll_s
