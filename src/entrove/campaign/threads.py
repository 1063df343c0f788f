"""How many CPU threads a campaign may use."""

import os


def usable_threads(wanted: int) -> int:
    """Return `wanted`, or for 0 the number of cores that this process is allowed to use."""
    return wanted or len(os.sched_getaffinity(0))
