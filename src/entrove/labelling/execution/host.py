"""What kind of machine a label was computed on."""

import functools
import os
import platform
from pathlib import Path


@functools.cache
def describe_host() -> str:
    """Architecture, processor model and number of processors: 'x86_64, Xeon Gold 6230, 40 processors'."""
    model = platform.processor() or "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = (
            line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        )
        model = next(names, model).rpartition(":")[2].strip()
    return f"{platform.machine()}, {model}, {os.cpu_count()} processors"
