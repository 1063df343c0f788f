"""The machine: cores, threads, load, memory, GPU, disk, file locks, terminal."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from entrove.doctor.findings import Finding, State
from entrove.doctor.programs import ask, first_line
from entrove.threads import usable_threads

SECTION = "machine"

GIB = 1024**3
LEAST_MEMORY_GIB = 4.0
LEAST_DISK_GIB = 5.0
LEAST_TEMPORARY_GIB = 1.0
NARROWEST = 60
"""Columns from which on tables are not broken."""

QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
"""Limit of processor time of a container, in microseconds of each period."""


def examine_machine(folder: Path) -> Iterator[Finding]:
    """Examine this machine, and the folder in which campaigns would be.

    Args:
        folder: An existing folder; a file is created in it and removed again.
    """
    yield from _cores()
    yield from _threads()
    yield _memory()
    yield _gpu()
    yield from _disk(folder)
    yield _locks(folder)
    yield from _terminal()


def _cores() -> Iterator[Finding]:
    cores, in_all = usable_threads(0), os.cpu_count() or 1
    of = f" of {in_all}" if cores < in_all else ""
    yield Finding(SECTION, "cores", State.WORKS, f"{cores}{of} usable by this process")
    quota = cpu_quota(QUOTA_FILE)
    if quota is not None and quota < cores:
        threads = max(1, int(quota))
        yield Finding(
            SECTION,
            "processor time",
            State.WARNING,
            f"this container gets the time of {quota:g} cores, and sees {cores}",
            f"set model.threads: {threads} and labelling.executor.workers accordingly",
        )
    load = os.getloadavg()[0]
    if load > cores / 2:
        yield Finding(
            SECTION,
            "load",
            State.WARNING,
            f"other programs use {load:.1f} of {cores} cores; threads that wait for a core spin, "
            "and both programs crawl",
            "wait for them, or set model.threads to the number of cores that are free",
        )


def cpu_quota(path: Path) -> float | None:
    """Return how many cores' time a container gets; None without a limit.

    Args:
        path: The file `cpu.max` of its control group.
    """
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _threads() -> Iterator[Finding]:
    cores = usable_threads(0)
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    first = wanted.partition(",")[0]
    if first.isdigit() and int(first) > cores:
        yield Finding(
            SECTION,
            "OMP_NUM_THREADS",
            State.WARNING,
            f"is {wanted}, more than the {cores} cores: threads get in each other's way",
            "unset OMP_NUM_THREADS; model.threads and cores_per_worker set threads where needed",
        )
    elif wanted:
        yield Finding(
            SECTION,
            "OMP_NUM_THREADS",
            State.WORKS,
            f"is {wanted}; campaigns set their own threads (model.threads, cores_per_worker)",
        )
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "active":
        yield Finding(
            SECTION,
            "OMP_WAIT_POLICY",
            State.WARNING,
            "is active: threads that wait keep their cores busy",
            "unset OMP_WAIT_POLICY",
        )


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    available, total = memory.available / GIB, memory.total / GIB
    small = available < LEAST_MEMORY_GIB
    return Finding(
        SECTION,
        "memory",
        State.WARNING if small else State.WORKS,
        f"{available:.1f} of {total:.1f} GiB available",
        "use small cells and a small training.batch_size, or another machine" if small else "",
    )


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        devices = [
            torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())
        ]
        names = ", ".join(f"{one.name} ({one.total_memory / GIB:.0f} GiB)" for one in devices)
        return Finding(SECTION, "GPU", State.WORKS, f"{names}; torch {torch.__version__}")
    program = shutil.which("nvidia-smi")
    if program is not None:
        status, answer = ask([program, "--query-gpu=name,driver_version", "--format=csv,noheader"])
        if status == 0 and answer.strip():
            return Finding(
                SECTION,
                "GPU",
                State.WARNING,
                f"{first_line(answer)} is there, and torch {torch.__version__} does not see it",
                "install a torch whose CUDA version the driver supports (pytorch.org says which)",
            )
    return Finding(
        SECTION, "GPU", State.ABSENT, f"no CUDA device; models run on the CPU "
        f"(torch {torch.__version__})"
    )  # fmt: skip


def _disk(folder: Path) -> Iterator[Finding]:
    places = (
        ("disk", folder, LEAST_DISK_GIB, "'entrove plan' says what labels keep"),
        ("temporary files", Path(tempfile.gettempdir()), LEAST_TEMPORARY_GIB, ""),
    )
    for name, place, least, note in places:
        free = shutil.disk_usage(place).free / GIB
        small = free < least
        yield Finding(
            SECTION,
            name,
            State.WARNING if small else State.WORKS,
            f"{free:.1f} GiB free in {place}" + (f"; {note}" if note else ""),
            f"free space, or choose another folder{' (TMPDIR)' if not note else ''}"
            if small
            else "",
        )


def _locks(folder: Path) -> Finding:
    """Campaigns lock their folder, and SQLite its files: some network file systems cannot."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".entrove-doctor-") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding(
            SECTION,
            "folder",
            State.PROBLEM,
            f"{folder} cannot hold a campaign: {error.strerror or error}",
            "give a folder that you may write to, on a file system with locks (entrove doctor "
            "--folder FOLDER)",
        )
    return Finding(SECTION, "folder", State.WORKS, f"{folder}: files can be written and locked")


def _terminal() -> Iterator[Finding]:
    encoding = (sys.stdout.encoding or "ascii").lower()
    if not encoding.startswith("utf"):
        yield Finding(
            SECTION,
            "terminal",
            State.WARNING,
            f"its encoding is {encoding}: characters that it lacks are shown as '?'",
            "export PYTHONUTF8=1, or a locale such as LC_ALL=C.UTF-8",
        )
    else:
        yield Finding(SECTION, "terminal", State.WORKS, f"its encoding is {encoding}")
    columns = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and columns < NARROWEST:
        yield Finding(
            SECTION,
            "width",
            State.WARNING,
            f"{columns} columns: tables are broken",
            f"make the terminal at least {NARROWEST} columns wide",
        )
